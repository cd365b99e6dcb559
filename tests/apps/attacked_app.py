"""Plain ASGI under attack: says who answered, takes uploads, and sends more than any socket holds, over HTTP and WebSocket."""

import os

# 64 MiB in all: many times what the server, the kernel and a client that does not read hold.
PART, PARTS = bytes(65536), 1024


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await flood(receive, send)
    elif scope["path"] == "/large":
        await large(send)
    else:
        await echo(scope, receive, send)


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def echo(scope, receive, send):
    """Reads the whole body; answers with the request's id, a version and the process."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
    request_id = dict(scope["headers"]).get(b"x-request-id", b"-").decode()
    body = f"{request_id} v0 {os.getpid()}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def large(send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(PARTS):
        await send({"type": "http.response.body", "body": PART, "more_body": True})
    await send({"type": "http.response.body"})


async def flood(receive, send):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    for _ in range(PARTS):
        await send({"type": "websocket.send", "bytes": PART})
    await send({"type": "websocket.close"})
