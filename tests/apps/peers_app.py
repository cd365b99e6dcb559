"""The same small answer over ASGI and WSGI, for servers that are compared: which request it was and how long its body."""


def answer(method, path, length):
    text = f"{method} {path} {length}".encode("latin-1", "replace")
    return text, [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]


async def asgi(scope, receive, send):
    length = 0
    while True:
        message = await receive()
        length += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    text, headers = answer(scope["method"], scope["path"], length)
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def wsgi(environ, start_response):
    length = len(environ["wsgi.input"].read())
    text, headers = answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], length)
    start_response("200 OK", [(name.decode(), value.decode()) for name, value in headers])
    return [text]
