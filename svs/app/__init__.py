"""The web page of `svs app`: drop a song, choose methods, listen to the results side by side.

`work` separates and knows nothing of pages; `page` is the form in Gradio, with `static/job.html` for results;
`server` serves it on this machine.  Gradio is imported only when the page is built.
"""
