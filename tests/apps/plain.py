"""Plain ASGI without a framework: says who answered, and misbehaves on demand.

A file `version.py` beside it is imported with it and makes a new version of the code: VERSION, and IMPORT_SECONDS for an import that
takes its time.
"""

import asyncio
import ctypes
import hashlib
import os
import subprocess
import sys
import time

try:
    from version import IMPORT_SECONDS, VERSION
except ModuleNotFoundError:
    IMPORT_SECONDS, VERSION = 0.0, "v0"

time.sleep(IMPORT_SECONDS)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    route = ROUTES.get(scope["path"], echo)
    query = dict(part.split("=", 1) for part in scope["query_string"].decode().split("&") if "=" in part)
    await route(scope, query, receive, send)


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def reply(send, body, status=200):
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def identity(scope):
    request_id = dict(scope["headers"]).get(b"x-request-id", b"-").decode()
    return f"{request_id} {VERSION} {os.getpid()}\n".encode()


async def echo(scope, query, receive, send):
    """The request's id, the version of the code, the process."""
    await reply(send, identity(scope))


async def sleep(scope, query, receive, send):
    """Answers after `ms` milliseconds."""
    await asyncio.sleep(int(query["ms"]) / 1000)
    await reply(send, identity(scope))


async def block(scope, query, receive, send):
    """An `async def` that blocks the loop for ever."""
    block_the_loop_for_ever()


def block_the_loop_for_ever():
    while True:
        time.sleep(3600)


async def hold_gil(scope, query, receive, send):
    """A C call that keeps the GIL for ever."""
    hold_the_gil_for_ever()


def hold_the_gil_for_ever():
    # PyDLL calls do not release the GIL.
    sleep_in_c = ctypes.PyDLL(None).sleep
    while True:
        sleep_in_c(3600)


HELD = []


async def hold(scope, query, receive, send):
    """Keeps `mib` MiB of memory more than before, then answers after `ms` milliseconds."""
    HELD.append(b"x" * (int(query["mib"]) << 20))
    await asyncio.sleep(int(query.get("ms", 0)) / 1000)
    await reply(send, identity(scope))


async def busy(scope, query, receive, send):
    """Blocks the loop for `ms` at a time, `times` times, and lets it breathe in between."""
    for _ in range(int(query["times"])):
        time.sleep(int(query["ms"]) / 1000)
        await asyncio.sleep(0)
    await reply(send, identity(scope))


async def exit_now(scope, query, receive, send):
    """Leaves without a word."""
    os._exit(int(query.get("code", "7")))


async def stream(scope, query, receive, send):
    """`parts` pieces of 10 bytes, one every `ms` milliseconds."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(int(query["parts"])):
        await send({"type": "http.response.body", "body": b"%09d\n" % number, "more_body": True})
        await asyncio.sleep(int(query["ms"]) / 1000)
    await send({"type": "http.response.body"})


async def upload(scope, query, receive, send):
    """Length and digest of the body."""
    digest, length = hashlib.sha256(), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        digest.update(message.get("body", b""))
        length += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await reply(send, f"{length} {digest.hexdigest()}\n".encode())


async def fail(scope, query, receive, send):
    """Raises before it answers."""
    raise RuntimeError("this route always fails")


async def shout(scope, query, receive, send):
    """Prints `lines` long lines on stdout and stderr."""
    for _ in range(int(query["lines"])):
        print("x" * 1000, flush=True)
        print("y" * 1000, file=sys.stderr, flush=True)
    await reply(send, identity(scope))


async def child(scope, query, receive, send):
    """Starts a process that inherits all that it can and outlives its parent."""
    subprocess.Popen(["sleep", "300"], close_fds=False)
    await reply(send, identity(scope))


async def orphans(scope, query, receive, send):
    """Leaves `count` processes without a parent, which end soon after."""
    for _ in range(int(query["count"])):
        subprocess.run(["sh", "-c", "sleep 0.1 &"], check=True)
    await reply(send, identity(scope))


ROUTES = {
    "/sleep": sleep,
    "/block": block,
    "/gil": hold_gil,
    "/busy": busy,
    "/hold": hold,
    "/exit": exit_now,
    "/stream": stream,
    "/upload": upload,
    "/fail": fail,
    "/shout": shout,
    "/orphans": orphans,
    "/child": child,
}
