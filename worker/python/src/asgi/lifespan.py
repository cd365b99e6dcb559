"""The lifespan of an ASGI application: one task from its start-up to its shutdown."""


class Lifespan:
    def __init__(self, application, loop):
        self.application = application
        self.loop = loop
        self.state = {}
        self.startup_sent = False
        self.started = loop.create_future()  # True, or the message of startup.failed
        self.shutdown_wanted = loop.create_future()
        self.stopped = loop.create_future()  # True, or the message of shutdown.failed
        self.error = None
        self.task = None

    async def receive(self):
        if not self.startup_sent:
            self.startup_sent = True
            return {"type": "lifespan.startup"}
        await self.shutdown_wanted
        return {"type": "lifespan.shutdown"}

    async def send(self, message):
        kind = message["type"]
        if kind in ("lifespan.startup.complete", "lifespan.startup.failed"):
            self.settle(self.started, kind, message)
        elif kind in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            self.settle(self.stopped, kind, message)
        else:
            raise RuntimeError(f"unexpected ASGI message type {kind!r} in the lifespan")

    @staticmethod
    def settle(future, kind, message):
        if future.done():
            raise RuntimeError(f"{kind!r} was sent already")
        future.set_result(True if kind.endswith("complete") else message.get("message", ""))

    async def run(self):
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self.application(scope, self.receive, self.send)
        except BaseException as error:
            self.error = error
        for future in (self.started, self.stopped):
            if not future.done():
                future.set_result(None)

    async def startup(self):
        """True, the message of a failed start-up, or None when the application ended without either."""
        self.task = self.loop.create_task(self.run())
        return await self.started

    async def shutdown(self):
        """True, the message of a failed shutdown, or None when the application ended without either."""
        if not self.shutdown_wanted.done():
            self.shutdown_wanted.set_result(None)
        return await self.stopped


async def cancel_all(loop, tasks, timeout):
    """Cancels tasks and waits for their end, for at most so many seconds."""
    import asyncio

    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=timeout)
