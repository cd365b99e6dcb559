"""Echoes WebSocket messages; answers HTTP with a word, for whoever asks whether it is there."""

READY = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"5")],
}
BODY = {"type": "http.response.body", "body": b"ready"}


async def app(scope, receive, send):
    if scope["type"] == "http":
        await send(READY)
        await send(BODY)
        return
    if scope["type"] != "websocket":
        raise NotImplementedError(scope["type"])
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "bytes": message["bytes"]})
