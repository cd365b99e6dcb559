"""Applications whose lifespan goes wrong in one way each. Whoever gets so far answers "served"."""

import asyncio
import sys


async def serve(scope, send):
    assert scope["type"] == "http", scope["type"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    await send({"type": "http.response.body", "body": b"served"})


def application(lifespan):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        else:
            await serve(scope, send)

    return app


async def start(receive, send):
    assert await receive() == {"type": "lifespan.startup"}
    await send({"type": "lifespan.startup.complete"})


@application
async def raises_at_once(receive, send):
    raise TypeError("knows no lifespan")


@application
async def raises_in_startup(receive, send):
    await receive()
    raise LookupError("no such database")


@application
async def leaves_in_startup(receive, send):
    await receive()
    sys.exit(7)


@application
async def returns_at_once(receive, send):
    return


@application
async def hangs_in_startup(receive, send):
    await receive()
    await asyncio.Event().wait()


@application
async def returns_after_startup(receive, send):
    await start(receive, send)


@application
async def raises_in_shutdown(receive, send):
    await start(receive, send)
    await receive()
    raise LookupError("the pool is gone")


@application
async def fails_shutdown(receive, send):
    await start(receive, send)
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "the queue was not empty"})


@application
async def hangs_in_shutdown(receive, send):
    await start(receive, send)
    await receive()
    await asyncio.Event().wait()
