"""Serves well, but every process that is not named by the file `survivor` dies 300 ms after its start-up, for ever."""

import os
import pathlib
import threading
import time

SURVIVOR = pathlib.Path(__file__).with_name("survivor")


def die_soon():
    time.sleep(0.3)
    os._exit(5)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
            if SURVIVOR.exists() and SURVIVOR.read_text().strip() != str(os.getpid()):
                threading.Thread(target=die_soon, daemon=True).start()
    request_id = dict(scope["headers"]).get(b"x-request-id", b"-").decode()
    body = f"{request_id} v0 {os.getpid()}\n".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
