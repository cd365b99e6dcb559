"""Tells what it is told of TLS."""

import json
import os


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("only http")
    told = {
        "scheme": scope["scheme"],
        "tls": scope["extensions"].get("tls"),
        "password": os.environ.get("SUPERVISE_KEYFILE_PASSWORD"),
        "credentials": os.environ.get("SUPERVISE_CREDENTIALS"),
    }
    body = json.dumps(told).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})
