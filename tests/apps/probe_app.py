"""Plain ASGI that shows what a server does with it, one behaviour a path: what the application saw is in the reply, or in the notes
at `/notes` where the client was gone by then.
"""

import asyncio
import json
import os
import tempfile

from starlette.responses import FileResponse

NOTES = []


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    route = ROUTES.get(scope["path"].strip("/").split("/")[0], show)
    await route(scope, receive, send)


async def lifespan(scope, receive, send):
    while True:
        message = await receive()
        scope["state"].update(shared=[], plain="first")
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def start(send, status=200, headers=(), **more):
    await send({"type": "http.response.start", "status": status, "headers": list(headers), **more})


async def body(send, content=b"", more=False):
    await send({"type": "http.response.body", "body": content, "more_body": more})


async def reply(send, content, status=200, headers=()):
    if isinstance(content, str):
        content = content.encode()
    await start(send, status, [(b"content-length", str(len(content)).encode()), *headers])
    await body(send, content)


async def whole_body(receive):
    content = b""
    while True:
        message = await receive()
        content += message.get("body", b"")
        if not message.get("more_body"):
            return content


def argument(scope, default=""):
    """What follows the first part of the path."""
    _, _, rest = scope["path"].strip("/").partition("/")
    return rest or default


async def show(scope, receive, send):
    """The scope and the body, as JSON."""
    content = await whole_body(receive)
    text = lambda value: value.decode("latin-1")
    await reply(
        send,
        json.dumps(
            {
                "method": scope["method"],
                "path": scope["path"],
                "raw_path": text(scope["raw_path"]),
                "query": text(scope["query_string"]),
                "version": scope["http_version"],
                "headers": [[text(name), text(value)] for name, value in scope["headers"]],
                "extensions": sorted(scope["extensions"]),
                "body": text(content),
            },
            sort_keys=True,
        ),
    )


async def notes(scope, receive, send):
    await reply(send, "".join(note + "\n" for note in NOTES))


async def with_status(scope, receive, send):
    """That status, with a body whether or not it may have one."""
    await start(send, int(argument(scope, "200")))
    await body(send, b"BBB")


async def without_length(scope, receive, send):
    await start(send)
    for part in (b"one", b"", b"two"):
        await body(send, part, more=True)
    await body(send)


async def announced(scope, receive, send):
    """Announces a length and sends 5 bytes."""
    await start(send, headers=[(b"content-length", argument(scope).encode())])
    try:
        await body(send, b"12345")
    except Exception as error:
        NOTES.append(f"announced {argument(scope)}: {type(error).__name__}")
        raise


async def announced_in_parts(scope, receive, send):
    """Announces a length and sends 2 and 3 bytes, the first of which are on their way by then."""
    await start(send, headers=[(b"content-length", argument(scope).encode())])
    await body(send, b"12", more=True)
    try:
        await body(send, b"345")
    except Exception as error:
        NOTES.append(f"announced in parts {argument(scope)}: {type(error).__name__}")
        raise


async def own_framing(scope, receive, send):
    headers = [(b"transfer-encoding", b"chunked"), (b"content-length", b"2"), (b"server", b"mine"), (b"date", b"today")]
    await start(send, headers=headers)
    await body(send, b"ok")


async def bad_header(scope, receive, send):
    bad = {
        "crlf": (b"x-a", b"b\r\nx-injected: c"),
        "text": ("x-a", "b"),
        "name": (b"x a", b"b"),
        "vertical_tab": (b"x-a", b"b\x0bc"),
    }
    await start(send, headers=[bad[argument(scope)]])
    await body(send, b"not reached")


async def misbehave(scope, receive, send):
    how = argument(scope)
    if how == "raise":
        raise ValueError("on purpose")
    if how != "nothing":
        await start(send)
    if how == "raise_after_start":
        raise ValueError("on purpose")
    if how == "raise_in_body":
        await body(send, b"part", more=True)
        raise ValueError("on purpose")
    if how == "unknown_message":
        try:
            await send({"type": "http.response.nonsense"})
        except Exception as error:
            await body(send, type(error).__name__.encode())
    if how == "return_in_body":
        await body(send, b"part", more=True)


async def after_the_end(scope, receive, send):
    await receive()
    await reply(send, "whole")
    seen = [(await receive())["type"], (await receive())["type"]]
    try:
        await body(send, b"late")
        seen.append("ignored")
    except Exception as error:
        seen.append(type(error).__name__)
    NOTES.append("after the end: " + " ".join(seen))


async def until_gone(scope, receive, send):
    """Waits for the client to leave, twice, and sends then."""
    await receive()
    NOTES.append("waiting")
    seen = [(await receive())["type"], (await receive())["type"]]
    try:
        await start(send)
        await body(send, b"to nobody")
        seen.append("silent")
    except OSError:
        seen.append("OSError")
    NOTES.append("gone: " + " ".join(seen))


async def slow(scope, receive, send):
    """Answers after so many milliseconds, and notes how it went."""
    NOTES.append("slow begun")
    try:
        await asyncio.sleep(int(argument(scope, "100")) / 1000)
    except asyncio.CancelledError:
        NOTES.append("slow cancelled")
        raise
    NOTES.append("slow finished")
    await reply(send, "slow")


async def flood(scope, receive, send):
    """128 MiB in pieces, and a note of how many got rid of it."""
    await start(send)
    for number in range(2048):
        await body(send, b"x" * 65536, more=True)
        if number % 16 == 0:
            NOTES.append(f"flood {number + 1}")
    await body(send)


async def unread(scope, receive, send):
    """Answers without a look at the body."""
    await reply(send, "unread")


async def state(scope, receive, send):
    """What this request finds in the state and leaves there."""
    found = {"plain": scope["state"]["plain"], "shared": len(scope["state"]["shared"])}
    scope["state"]["plain"] = "changed"
    scope["state"]["shared"].append(1)
    await reply(send, json.dumps(found, sort_keys=True))


async def hints(scope, receive, send):
    """Early hints before and after the start."""
    await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]})
    await start(send, headers=[(b"content-length", b"2")])
    await send({"type": "http.response.early_hint", "links": [b"</c.css>; rel=preload"]})
    await body(send, b"ok")


async def trailers(scope, receive, send):
    await start(send, trailers=True)
    await body(send, b"one", more=True)
    await body(send, b"two")
    await send({"type": "http.response.trailers", "headers": [(b"X-Sum", b"1")], "more_trailers": True})
    await send({"type": "http.response.trailers", "headers": [(b"x-two", b"b")]})


def content(length):
    return bytes(index % 251 for index in range(1000)) * (length // 1000)


async def path_send(scope, receive, send):
    """A file of so many bytes by its path."""
    length = int(argument(scope))
    with tempfile.NamedTemporaryFile() as file:
        file.write(content(length))
        file.flush()
        await start(send, headers=[(b"content-length", str(length).encode())])
        await send({"type": "http.response.pathsend", "path": file.name})


async def file_send(scope, receive, send):
    """Parts of a file of a million bytes by its descriptor, which is closed at once."""
    with tempfile.TemporaryFile() as file:
        file.write(content(1_000_000))
        file.flush()
        os.lseek(file.fileno(), 10, os.SEEK_SET)
        await start(send)
        zero_copy = {"type": "http.response.zerocopysend", "file": file, "more_body": True}
        await body(send, b"<", more=True)
        await send({**zero_copy, "count": 5})
        await send({**zero_copy, "count": 300_000})
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 300_015
        await send({**zero_copy, "offset": 999_990})
    await body(send, b">")


async def bad_file(scope, receive, send):
    """Names the exceptions that come of files that cannot be sent."""
    seen = []
    await start(send)
    for message in (
        {"type": "http.response.pathsend", "path": "/no/such/file"},
        {"type": "http.response.pathsend", "path": "/"},
        {"type": "http.response.pathsend"},
        {"type": "http.response.zerocopysend", "file": 1_000_000},
        {"type": "http.response.zerocopysend", "file": os.pipe()[0]},
        {"type": "http.response.zerocopysend", "file": "text"},
        {"type": "http.response.early_hint", "links": ["text"]},
        {"type": "http.response.trailers", "headers": []},
    ):
        try:
            await send(message)
            seen.append("nothing")
        except Exception as error:
            seen.append(type(error).__name__)
    await body(send, " ".join(seen).encode())


async def file_response(scope, receive, send):
    """Starlette's answer with this file; the notes tell by which messages."""

    async def noting_send(message):
        NOTES.append("file response: " + message["type"])
        await send(message)

    await FileResponse(__file__)(scope, receive, noting_send)


ROUTES = {
    "file_response": file_response,
    "notes": notes,
    "status": with_status,
    "without_length": without_length,
    "announced": announced,
    "announced_in_parts": announced_in_parts,
    "own_framing": own_framing,
    "bad_header": bad_header,
    "misbehave": misbehave,
    "after_the_end": after_the_end,
    "until_gone": until_gone,
    "slow": slow,
    "flood": flood,
    "unread": unread,
    "state": state,
    "hints": hints,
    "trailers": trailers,
    "path_send": path_send,
    "file_send": file_send,
    "bad_file": bad_file,
}
