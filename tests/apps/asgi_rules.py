"""Keeps to one rule of ASGI after the other, and notes what the server did."""

import asyncio
import contextvars
import json

MARK = contextvars.ContextVar("mark", default="none")
NOTES = []
MARK.set("of the import")


async def lifespan(receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    # An early return is valid: there is no shutdown then.


async def reply(send, body):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def waits(receive):
    """Never asks whether its client is still there."""
    NOTES.append("begun")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        NOTES.append("cancelled")
        raise


async def sends_too_late(receive, send):
    NOTES.append("begun")
    await receive()
    await receive()
    try:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        NOTES.append("silent")
    except OSError:
        NOTES.append("OSError")
        raise


async def sends_for_ever(send):
    NOTES.append("begun")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        while True:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
    finally:
        NOTES.append("ended")


async def http(scope, receive, send):
    route = scope["path"].rsplit("/", 1)[1]
    if route == "waits":
        return await waits(receive)
    if route == "late":
        return await sends_too_late(receive, send)
    if route == "endless":
        return await sends_for_ever(send)
    if route == "notes":
        notes = list(NOTES)
        NOTES.clear()
        return await reply(send, notes)
    keys = ("path", "root_path", "scheme", "asgi", "server", "client", "state", "extensions")
    seen = {key: scope[key] for key in keys if key in scope}
    await reply(send, {**seen, "raw_path": scope["raw_path"].decode(), "mark": MARK.get()})


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    await http(scope, receive, send)


class Two:
    """ASGI 2: made with the scope, called with the channels."""

    def __init__(self, scope):
        self.scope = scope

    async def __call__(self, receive, send):
        await app(self.scope, receive, send)


def own_loop():
    return asyncio.SelectorEventLoop()
