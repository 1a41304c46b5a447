"""The report: a web page of all results that opens from disk and loads nothing from elsewhere.

`content` gathers tables and parameters, `listening` makes the audio and the
pictures of a track, `page` makes the HTML, and `build` puts them into a folder.
"""
