"""New code with a mistake: imports well, but its lifespan start-up reports a failure."""


async def app(scope, receive, send):
    assert scope["type"] == "lifespan", "never served"
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the cache cannot be reached: start-up fails on purpose"})
