#!/usr/bin/env python3
"""A WSGI application under CGI, with the validator of the standard library between the two."""
from wsgiref.handlers import CGIHandler
from wsgiref.validate import validator


@validator
def application(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length)
    text = f"{environ['REQUEST_METHOD']} {environ['SCRIPT_NAME']} {environ.get('PATH_INFO', '')} {len(body)}\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text.encode()]


CGIHandler().run(application)
