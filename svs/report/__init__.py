"""The report: a web page of all results that opens from disk and asks for nothing from anywhere.

`content` gathers tables and parameters, `listening` makes the audio and the
pictures of a track, `page` makes the HTML, and `build` puts them into a folder.
"""
