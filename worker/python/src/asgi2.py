"""An ASGI 2 application, app(scope) -> instance, instance(receive, send), as one of ASGI 3."""


def single_callable(application):
    async def app(scope, receive, send):
        await application(scope)(receive, send)

    return app
