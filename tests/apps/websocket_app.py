"""Plain ASGI over WebSocket: echoes, closes, denies, raises and returns by path, and tells what it was told."""

import asyncio
import json

# What the application was told at the end of each WebSocket, by its path.
endings = {}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        await http(scope, receive, send)
    else:
        assert await receive() == {"type": "websocket.connect"}
        await BEHAVIOURS[scope["path"]](scope, receive, send)


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def http(scope, receive, send):
    if scope["path"] == "/saw-the-first-part":
        endings["saw-the-first-part"] = True
    body = json.dumps(endings).encode() if scope["path"] == "/endings" else b"plain"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def echo(scope, receive, send):
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            endings[scope["query_string"].decode()] = [message["code"], message["reason"]]
            return
        await send({**message, "type": "websocket.send"})


async def tell(scope, receive, send):
    shown = {key: value for key, value in scope.items() if key not in ("headers", "state", "asgi", "client", "server")}
    shown["raw_path"] = scope["raw_path"].decode()
    shown["query_string"] = scope["query_string"].decode()
    await send(
        {
            "type": "websocket.accept",
            "subprotocol": scope["subprotocols"][-1] if scope["subprotocols"] else None,
            "headers": [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")],
        }
    )
    await send({"type": "websocket.send", "text": json.dumps(shown)})
    await send({"type": "websocket.close", "code": 4001, "reason": "rsn"})
    assert await receive() == {"type": "websocket.disconnect", "code": 4001, "reason": "rsn"}


async def reject(scope, receive, send):
    await send({"type": "websocket.close"})
    endings["reject"] = await receive()


async def deny(scope, receive, send):
    assert "websocket.http.response" in scope["extensions"]
    await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-a", b"b")]})
    await send({"type": "websocket.http.response.body", "body": b"no ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"entry"})


async def deny_in_parts(scope, receive, send):
    """The second part goes out when somebody saw the first."""
    await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-a", b"b")]})
    await send({"type": "websocket.http.response.body", "body": b"no ", "more_body": True})
    while "saw-the-first-part" not in endings:
        await asyncio.sleep(0.01)
    await send({"type": "websocket.http.response.body", "body": b"entry"})


async def unoffered(scope, receive, send):
    try:
        await send({"type": "websocket.accept", "subprotocol": "nobody-offers-this"})
    except ValueError as error:
        endings["unoffered"] = str(error)
        raise


async def raise_before(scope, receive, send):
    raise RuntimeError("before the accept")


async def return_before(scope, receive, send):
    pass


async def raise_after(scope, receive, send):
    await send({"type": "websocket.accept"})
    await receive()
    raise RuntimeError("after the accept")


async def return_after(scope, receive, send):
    await send({"type": "websocket.accept"})


async def send_late(scope, receive, send):
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass
    try:
        await send({"type": "websocket.send", "text": "late"})
    except OSError as error:
        endings["late"] = type(error).__name__
        raise


async def wrong(scope, receive, send):
    refused = []
    for message in (
        {"type": "websocket.send", "text": "early"},
        {"type": "websocket.accept", "headers": [(b"sec-websocket-protocol", b"x")]},
        {"type": "websocket.accept", "subprotocol": b"bytes"},
        {"type": "websocket.nonsense"},
        {"type": "websocket.accept"},
        {"type": "websocket.accept"},
        {"type": "websocket.send"},
        {"type": "websocket.send", "text": "a", "bytes": b"b"},
        {"type": "websocket.send", "text": b"bytes"},
        {"type": "websocket.send", "bytes": "text"},
        {"type": "websocket.send", "text": "\ud800"},
        {"type": "websocket.close", "code": 1006},
        {"type": "websocket.close", "reason": "x" * 124},
        {"type": "websocket.http.response.start", "status": 200},
        {"type": "websocket.send", "text": None, "bytes": b"b"},
    ):
        try:
            await send(message)
            refused.append(None)
        except Exception as error:
            refused.append(type(error).__name__)
    await send({"type": "websocket.send", "text": json.dumps(refused)})
    await send({"type": "websocket.close"})
    try:
        await send({"type": "websocket.send", "text": "late"})
    except RuntimeError:
        endings["wrong"] = "RuntimeError"


async def flood(scope, receive, send):
    """Sends more than a socket holds, and counts how far it comes before the client reads."""
    await send({"type": "websocket.accept"})
    endings["flood"] = 0
    for _ in range(512):
        await send({"type": "websocket.send", "bytes": bytes(65536)})
        endings["flood"] += 1
    await send({"type": "websocket.close"})


async def farewell(scope, receive, send):
    """Uses its chance when the worker leaves."""
    await send({"type": "websocket.accept"})
    message = await receive()
    await send({"type": "websocket.send", "text": f"farewell {message['code']}"})


async def deaf(scope, receive, send):
    """Speaks without ever listening."""
    await send({"type": "websocket.accept"})
    while True:
        await send({"type": "websocket.send", "text": "tick"})
        await asyncio.sleep(0.2)


BEHAVIOURS = {
    "/echo": echo,
    "/tell": tell,
    "/reject": reject,
    "/deny": deny,
    "/deny-in-parts": deny_in_parts,
    "/unoffered": unoffered,
    "/raise-before": raise_before,
    "/return-before": return_before,
    "/raise-after": raise_after,
    "/return-after": return_after,
    "/send-late": send_late,
    "/wrong": wrong,
    "/flood": flood,
    "/farewell": farewell,
    "/deaf": deaf,
}
