"""Tells what it is told of TLS."""

import json
import os


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("only http")
    told = {
        "scheme": scope["scheme"],
        "tls": scope["extensions"].get("tls"),
        "extensions": sorted(scope["extensions"]),
        "password": os.environ.get("SUPERVISE_KEYFILE_PASSWORD"),
        "credentials": os.environ.get("SUPERVISE_CREDENTIALS"),
    }
    body = json.dumps(told).encode()
    if scope["path"] == "/spoil":
        scope["extensions"]["tls"] = "spoiled"
        scope["extensions"]["added"] = {}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})
