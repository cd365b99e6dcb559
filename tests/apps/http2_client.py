"""Plays one scenario over HTTP/2 against a server and says "it holds". Usage: http2_client.py SCENARIO http[s]://HOST:PORT [CA]"""

import asyncio
import hashlib
import ssl
import sys

import httpx

MANY = 200
UPLOAD = bytes(range(256)) * (40 << 10)


def check(reply, status=200):
    assert (reply.http_version, reply.status_code) == ("HTTP/2", status), (reply.http_version, reply.status_code)
    return reply


async def pieces():
    for start in range(0, len(UPLOAD), 100_000):
        yield UPLOAD[start : start + 100_000]


async def many_at_once(client, path="/"):
    """Each reply is that of its own request, and one connection is enough for all."""

    async def ask(number):
        return check(await client.get(path, headers={"x-request-id": str(number)})).text.split()[0]

    assert await asyncio.gather(*map(ask, range(MANY))) == [str(number) for number in range(MANY)]


async def asgi(client):
    await many_at_once(client)
    head = check(await client.head("/"))
    assert head.content == b"" and int(head.headers["content-length"]) > 0
    told = f"{len(UPLOAD)} {hashlib.sha256(UPLOAD).hexdigest()}\n"
    # One after the other: an upload that waits for its window reads on in httpcore 1.0.9 even when another request of the connection
    # has read the update meanwhile (_wait_for_outgoing_flow looks at the window after the read only), and may then wait for ever.
    for content in (UPLOAD, pieces()):
        assert check(await client.post("/upload", content=content)).text == told
    seen = b""
    async with client.stream("GET", "/stream?parts=20&ms=5") as reply:
        check(reply)
        async for piece in reply.aiter_raw():
            seen += piece
    assert seen == b"".join(b"%09d\n" % number for number in range(20))
    check(await client.get("/fail"), 500)


async def wsgi(client):
    await many_at_once(client)
    told = {"length": len(UPLOAD), "sha256": hashlib.sha256(UPLOAD).hexdigest(), "rest": 0}
    known = check(await client.post("/digest", content=UPLOAD)).json()
    assert known == {**told, "announced": str(len(UPLOAD))}, known
    unknown = check(await client.post("/digest", content=pieces())).json()
    assert unknown["sha256"] == told["sha256"], unknown
    assert check(await client.get("/writes")).text == "one two three"
    assert check(await client.get("/generator")).text == "in the first step"
    values = check(await client.get("/environ")).json()["values"]
    assert (values["SERVER_PROTOCOL"], values["HTTP_HOST"]) == ("HTTP/2.0", client.base_url.netloc.decode()), values


async def native(client):
    assert check(await client.get("/")).text == "hello from axum\n"
    assert check(await client.post("/echo", content=UPLOAD)).content == UPLOAD
    uploaded = check(await client.post("/upload", content=pieces())).json()
    assert uploaded["bytes"] == len(UPLOAD), uploaded
    downloads = [client.get("/download?bytes=5000000") for _ in range(4)]
    for reply in await asyncio.gather(*downloads):
        assert check(reply).content == b"x" * 5_000_000
    check(await client.get("/nowhere"), 404)


async def main():
    _, scenario, base, *authority = sys.argv
    verify = ssl.create_default_context(cafile=authority[0]) if authority else True
    async with asyncio.timeout(120):
        async with httpx.AsyncClient(http1=False, http2=True, base_url=base, verify=verify, timeout=60) as client:
            await globals()[scenario](client)
    print("it holds")


asyncio.run(main())
