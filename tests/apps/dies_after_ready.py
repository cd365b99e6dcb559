"""Serves well, but in the slot that the file `deadly_slot` names it dies 300 ms after its start-up, for ever."""

import os
import pathlib
import threading
import time

DEADLY_SLOT = pathlib.Path(__file__).with_name("deadly_slot")
SLOT = os.environ.get("SUPERVISE_SLOT")


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
            if DEADLY_SLOT.exists() and DEADLY_SLOT.read_text().strip() == SLOT:
                threading.Thread(target=die_soon, daemon=True).start()
    request_id = dict(scope["headers"]).get(b"x-request-id", b"-").decode()
    body = f"{request_id} slot{SLOT} {os.getpid()}\n".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
