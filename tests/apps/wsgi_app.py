"""Plain WSGI without a framework: one route for each rule of PEP 3333, and misbehaviour on demand.

A file `version.py` beside it is imported with it and makes a new version of the code: VERSION, and IMPORT_SECONDS for an import that
takes its time.
"""

import contextvars
import hashlib
import json
import os
import signal
import sys
import threading
import time
from wsgiref.validate import validator

try:
    from version import IMPORT_SECONDS, VERSION
except ModuleNotFoundError:
    IMPORT_SECONDS, VERSION = 0.0, "v0"

time.sleep(IMPORT_SECONDS)

TEXT = [("Content-Type", "text/plain")]
LEFT_OVER = contextvars.ContextVar("LEFT_OVER", default="nothing")
CLOSED = []


class Body:
    """An iterable whose close() is noted, with the thread that called it."""

    def __init__(self, name, parts):
        self.name, self.parts, self.thread = name, iter(parts), threading.get_ident()

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.parts)

    def close(self):
        CLOSED.append(self.name if self.thread == threading.get_ident() else "on another thread")


def app(environ, start_response):
    route = ROUTES.get(environ["PATH_INFO"], identity)
    environ["query"] = dict(part.split("=", 1) for part in environ["QUERY_STRING"].split("&") if "=" in part)
    return route(environ, start_response)


def text(start_response, value):
    body = (value if isinstance(value, str) else json.dumps(value)).encode()
    start_response("200 OK", [*TEXT, ("Content-Length", str(len(body)))])
    return [body]


def identity(environ, start_response):
    """The request's id, the version of the code, the process."""
    return text(start_response, f"{environ.get('HTTP_X_REQUEST_ID', '-')} {VERSION} {os.getpid()}\n")


def tell_environ(environ, start_response):
    kinds = {key: type(value).__name__ for key, value in environ.items() if key.isupper()}
    values = {key: value for key, value in environ.items() if isinstance(value, (str, bool))}
    return text(start_response, {"values": values, "kinds": sorted(set(kinds.values()))})


def digest(environ, start_response):
    body = environ["wsgi.input"].read()
    rest = environ["wsgi.input"].read(), environ["wsgi.input"].readline(), list(environ["wsgi.input"])
    told = {"length": len(body), "sha256": hashlib.sha256(body).hexdigest(), "rest": len(b"".join((*rest[:2], *rest[2])))}
    return text(start_response, {**told, "announced": environ.get("CONTENT_LENGTH")})


def pieces(environ, start_response):
    stream = environ["wsgi.input"]
    told = [stream.read(0), stream.read(3), stream.readline(), stream.readline(2), stream.readline()]
    told += [stream.readlines(1), next(stream), stream.read(None)]
    stream.close()
    return text(start_response, repr(told))


def first_bytes(environ, start_response):
    """Answers after the first bytes of a body, and leaves the rest unread."""
    return text(start_response, environ["wsgi.input"].read(int(environ["query"].get("bytes", 1))).decode())


def reads_until_error(environ, start_response):
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        CLOSED.append(type(error).__name__)
        raise
    return text(start_response, "whole")


def writes(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"one ")
    write(b"")
    write(b"two ")
    return [b"three"]


def generator(environ, start_response):
    start_response("200 OK", TEXT)
    yield b""
    yield b"in the first "
    yield b""
    yield b"step"


def replaced(environ, start_response):
    start_response("200 OK", [("X-First", "yes")])
    yield b""
    try:
        raise ValueError("found out late")
    except ValueError:
        start_response("503 Service Unavailable", [("X-Second", "yes")], sys.exc_info())
    yield b"sorry"


def too_late(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun"
    try:
        raise ValueError("found out too late")
    except ValueError:
        start_response("503 Service Unavailable", [], sys.exc_info())
    yield b"never sent"


def twice(environ, start_response):
    start_response("200 OK", [])
    start_response("200 OK", [])
    return [b"never sent"]


def heads(environ, start_response):
    """Heads that must be refused, each by an exception where it is given."""
    wrong = {
        "status": lambda: start_response("OK", []),
        "interim": lambda: start_response("100 Continue", []),
        "bytes": lambda: start_response(b"200 OK", []),
        "tuple": lambda: start_response("200 OK", (("A", "b"),)),
        "name": lambda: start_response("200 OK", [("A b", "c")]),
        "newline": lambda: start_response("200 OK", [("A", "b\r\nC: d")]),
        "wide": lambda: start_response("200 OK", [("A", "\u20ac")]),
        "hop": lambda: start_response("200 OK", [("Connection", "close")]),
        "length": lambda: start_response("200 OK", [("Content-Length", "ten")]),
        "pair": lambda: start_response("200 OK", [["A", "b"]]),
    }
    refused = {}
    for name, attempt in wrong.items():
        try:
            attempt()
        except (TypeError, ValueError) as error:
            refused[name] = type(error).__name__
    return text(start_response, refused)


def latin(environ, start_response):
    start_response("200 Fine", [("X-Name", "caf\xe9"), ("Content-Length", "0")])
    return []


def overrun(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return Body("overrun", (b"part" for _ in range(1_000_000_000)))


def underrun(environ, start_response):
    start_response("200 OK", [("Content-Length", "50")])
    return Body("underrun", [b"short"])


def fails_before(environ, start_response):
    raise RuntimeError("this application fails at once")


def fails_in_body(environ, start_response):
    def parts():
        yield b"begun"
        raise RuntimeError("this application fails in the middle")

    start_response("200 OK", TEXT)
    return Body("fails", parts())


def no_start(environ, start_response):
    return [b"a body without a head"]


def single_string(environ, start_response):
    start_response("200 OK", TEXT)
    return b"not a list"


def strings(environ, start_response):
    start_response("200 OK", TEXT)
    return ["text", "parts"]


def stream(environ, start_response):
    """So many parts of 64 KiB, without a length."""
    start_response("200 OK", TEXT)
    return Body("stream", (b"x" * 65536 for _ in range(int(environ["query"]["parts"]))))


def file(environ, start_response):
    handle = open(environ["query"]["name"], "rb")
    handle.read(int(environ["query"].get("skip", 0)))
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return environ["wsgi.file_wrapper"](handle, 1000)


def context(environ, start_response):
    found = LEFT_OVER.get()
    LEFT_OVER.set("something")
    return text(start_response, found)


def thread(environ, start_response):
    current = threading.current_thread()
    return text(start_response, f"{current.name} {threading.main_thread() is current}")


def sleep(environ, start_response):
    time.sleep(int(environ["query"]["ms"]) / 1000)
    return identity(environ, start_response)


def block_for_ever(environ, start_response):
    while True:
        time.sleep(3600)


def errors(environ, start_response):
    environ["wsgi.errors"].write("said to wsgi.errors\n")
    environ["wsgi.errors"].writelines(["and ", "more\n"])
    environ["wsgi.errors"].flush()
    return text(start_response, "said")


def closed(environ, start_response):
    """What was closed since this was last asked."""
    told = list(CLOSED)
    CLOSED.clear()
    return text(start_response, told)


def subprocesses(environ, start_response):
    """A child's view of signals: none may be blocked."""
    import subprocess

    code = "import signal; print(len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
    told = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    return text(start_response, f"{told} {len(signal.pthread_sigmask(signal.SIG_BLOCK, []))}")


ROUTES = {
    "/environ": tell_environ,
    "/caf\xc3\xa9 bar": tell_environ,
    "/digest": digest,
    "/pieces": pieces,
    "/first": first_bytes,
    "/read": reads_until_error,
    "/writes": writes,
    "/generator": generator,
    "/replaced": replaced,
    "/too-late": too_late,
    "/twice": twice,
    "/heads": heads,
    "/latin": latin,
    "/overrun": overrun,
    "/underrun": underrun,
    "/fails-before": fails_before,
    "/fails": fails_in_body,
    "/no-start": no_start,
    "/single-string": single_string,
    "/strings": strings,
    "/stream": stream,
    "/file": file,
    "/context": context,
    "/thread": thread,
    "/sleep": sleep,
    "/block": block_for_ever,
    "/errors": errors,
    "/closed": closed,
    "/subprocess": subprocesses,
}


@validator
def checked(environ, start_response):
    """The standard library's own check of both sides."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.errors"].write("")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"checked"]
