"""Tells in what surroundings it runs: what the options of the command line made of them."""

import asyncio
import json
import logging
import os
import sys

IMPORTED = {
    "cwd": os.getcwd(),
    "first_path": sys.path[0],
    "greeting": os.environ.get("GREETING"),
    "from_file": os.environ.get("FROM_FILE"),
    "made_by": "the module",
    "started": False,
}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        IMPORTED["started"] = True
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return await send({"type": "lifespan.shutdown.complete"})
    while (await receive()).get("more_body"):
        pass
    logging.getLogger("tells").warning("a request for %s", scope["path"])
    loop = type(asyncio.get_running_loop()).__module__
    body = json.dumps({**IMPORTED, "loop": loop}).encode()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": body})


def with_defaults(scope=None, receive=None, send=None):
    """ASGI, but looks like a factory."""
    return app(scope, receive, send)


def make():
    IMPORTED["made_by"] = "the factory"
    return app
