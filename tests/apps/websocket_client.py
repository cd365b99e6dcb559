"""Plays one scenario against a server and says "it holds". Usage: websocket_client.py SCENARIO ws://HOST:PORT"""

import asyncio
import json
import socket
import sys
import urllib.parse
import urllib.request

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def endings(base):
    def get():
        with urllib.request.urlopen(base.replace("ws", "http", 1) + "/endings") as reply:
            return json.load(reply)

    return await asyncio.to_thread(get)


async def ending(base, name):
    """How a WebSocket ended for the application, once it has."""
    for _ in range(400):
        told = await endings(base)
        if name in told:
            return told[name]
        await asyncio.sleep(0.01)
    raise AssertionError(f"the application never told of {name}")


async def close_of(base, path, **options):
    """Code and reason that the server closes with."""
    async with connect(base + path, **options) as websocket:
        try:
            while True:
                await websocket.recv()
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else None


async def status_of(base, path):
    """Status and body of a handshake that is refused."""
    try:
        async with connect(base + path):
            raise AssertionError(f"{path} was accepted")
    except InvalidStatus as refused:
        return refused.response.status_code, refused.response.body


def raw(base, *parts):
    """Sends bytes and reads to the end."""
    address = urllib.parse.urlsplit(base)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def denial_in_parts(base):
    """A denial is no message that is kept until it is whole."""
    address = urllib.parse.urlsplit(base)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(handshake("/deny-in-parts"))
        received = b""
        while b"no " not in received.partition(b"\r\n\r\n")[2]:
            piece = connection.recv(65536)
            assert piece, received
            received += piece
        assert received.startswith(b"HTTP/1.1 401 ") and b"\r\nx-a: b\r\n" in received, received
        assert b"entry" not in received, received
        urllib.request.urlopen(base.replace("ws", "http", 1) + "/saw-the-first-part").close()
        while b"entry" not in received:
            piece = connection.recv(65536)
            assert piece, received
            received += piece


def handshake(path, version=13):
    return HANDSHAKE.format(path=path, version=version).encode()


async def messages(base):
    async with connect(base + "/echo", max_size=None) as websocket:
        for message in ("", b"", "text", b"bytes", "κόσμε 😀", "x" * 70000, bytes(1 << 20)):
            await websocket.send(message)
            assert await websocket.recv() == message
        await websocket.send(["frag", "men", "ts"])
        assert await websocket.recv() == "fragments"
        await (await websocket.ping(b"are you there"))
        for number in range(1000):
            await websocket.send(str(number))
        for number in range(1000):
            assert await websocket.recv() == str(number)


async def scope(base):
    async with connect(base + "/tell?a=%20b", subprotocols=["one", "two"], compression=None) as websocket:
        assert websocket.subprotocol == "two"
        assert websocket.response.headers.get_all("set-cookie") == ["a=1", "b=2"]
        assert json.loads(await websocket.recv()) == {
            "type": "websocket",
            "scheme": "ws",
            "http_version": "1.1",
            "path": "/tell",
            "raw_path": "/tell",
            "query_string": "a=%20b",
            "root_path": "",
            "subprotocols": ["one", "two"],
            "extensions": {"websocket.http.response": {}},
        }
        await websocket.wait_closed()
        assert (websocket.close_code, websocket.close_reason) == (4001, "rsn")


async def refusals(base):
    assert (await status_of(base, "/reject"))[0] == 403
    assert await ending(base, "reject") == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
    assert await status_of(base, "/deny") == (401, b"no entry")
    await asyncio.to_thread(denial_in_parts, base)
    assert (await status_of(base, "/unoffered"))[0] == 500
    assert "nobody-offers-this" in await ending(base, "unoffered")
    assert (await status_of(base, "/raise-before"))[0] == 500
    assert (await status_of(base, "/return-before"))[0] == 500
    reply = raw(base, handshake("/echo", version=12))
    assert reply.startswith(b"HTTP/1.1 426 ") and b"\r\nsec-websocket-version: 13\r\n" in reply, reply
    assert raw(base, handshake("/echo").replace(b"Q==", b"")).startswith(b"HTTP/1.1 400 ")


async def ends(base):
    async with connect(base + "/raise-after") as websocket:
        await websocket.send("go on")
        await websocket.wait_closed()
        assert websocket.close_code == 1011
    assert await close_of(base, "/return-after") == (1000, "")
    async with connect(base + "/echo?polite") as websocket:
        await websocket.close(3001, "bye")
    assert await ending(base, "polite") == [3001, "bye"]
    masked_close = b"\x88\x80\0\0\0\0"
    assert raw(base, handshake("/echo?silent"), masked_close).endswith(b"\x88\x00")
    assert await ending(base, "silent") == [1005, ""]
    lost = await connect(base + "/echo?lost")
    lost.transport.abort()
    assert await ending(base, "lost") == [1006, ""]
    left = await connect(base + "/echo?left")
    left.transport.close()
    assert await ending(base, "left") == [1006, ""]
    async with connect(base + "/send-late") as websocket:
        pass
    assert await ending(base, "late") == "ClientDisconnected"


async def violations(base):
    def code(*frames):
        reply = raw(base, handshake("/echo"), *frames)
        frame = reply.split(b"\r\n\r\n", 1)[1]
        assert frame[0] == 0x88, frame
        return int.from_bytes(frame[2:4], "big")

    assert code(b"\x81\x81\0\0\0\0\xff") == 1007
    assert code(b"\x81\x01a") == 1002
    assert code(b"\xb1\x80\0\0\0\0") == 1002
    assert code(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"\0\0\0\0") == 1009


async def mistakes(base):
    async with connect(base + "/wrong") as websocket:
        assert await websocket.recv() == b"b", "the one that was in order"
        refused = json.loads(await websocket.recv())
        assert refused == [
            "RuntimeError", "ValueError", "TypeError", "RuntimeError", None, "RuntimeError", "ValueError",
            "ValueError", "TypeError", "TypeError", "UnicodeEncodeError", "ValueError", "ValueError",
            "RuntimeError", None,
        ], refused
    assert await ending(base, "wrong") == "RuntimeError"


async def early_bytes(base):
    frame = Frame(Opcode.TEXT, b"early bird").serialize(mask=True)
    reply = raw(base, handshake("/echo") + frame + b"\x88\x80\0\0\0\0")
    assert reply.endswith(b"\x81\x0aearly bird\x88\x00"), reply


async def back_pressure(base):
    async with connect(base + "/flood", max_queue=1, max_size=None, compression=None) as websocket:
        for _ in range(200):
            before = (await ending(base, "flood"))
            await asyncio.sleep(0.05)
            if before and before == await ending(base, "flood"):
                break
        assert before < 200, f"{before} messages of 64 KiB went into a socket that nobody reads"
        count = 0
        try:
            while True:
                assert len(await websocket.recv()) == 65536
                count += 1
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 1000
        assert count == 512


async def deflate(base):
    text = json.dumps([{"id": number, "name": f"name {number}"} for number in range(500)])
    for bits in range(9, 16):
        for takeover in (False, True):
            factory = ClientPerMessageDeflateFactory(
                server_no_context_takeover=takeover,
                client_no_context_takeover=takeover,
                server_max_window_bits=bits,
                client_max_window_bits=bits,
            )
            async with connect(base + "/echo", extensions=[factory], compression=None) as websocket:
                assert "permessage-deflate" in websocket.response.headers["sec-websocket-extensions"]
                for message in (text, "Hello", "", text.encode(), text[:64], text * 20, text):
                    await websocket.send(message)
                    assert await websocket.recv() == message


async def plain(base):
    """The server speaks no WebSocket."""
    reply = await status_of(base, "/echo")
    assert reply == (200, b"plain"), reply


async def limits(base):
    """--ws-max-size 1000 --ws-ping-interval 200ms --ws-ping-timeout 200ms --ws-per-message-deflate false"""
    async with connect(base + "/echo") as websocket:
        assert "sec-websocket-extensions" not in websocket.response.headers
        await websocket.send("x" * 1000)
        assert len(await websocket.recv()) == 1000
        await websocket.send("x" * 1001)
        await websocket.wait_closed()
        assert websocket.close_code == 1009
    reply = await asyncio.to_thread(raw, base, handshake("/echo?unanswered"))
    frames = reply.split(b"\r\n\r\n", 1)[1]
    assert frames == b"\x89\x04\0\0\0\x01" + b"\x88\x18\x03\xf3keepalive ping timeout", frames
    assert (await ending(base, "unanswered"))[0] == 1011


async def chat(base):
    """Two members of the chat of a framework."""
    async with connect(base + "/chat/room") as ann, connect(base + "/chat/room") as bob:
        for websocket in (ann, bob):
            assert await websocket.recv() == "welcome"
        await ann.send("hello")
        for websocket in (ann, bob):
            assert await websocket.recv() == "hello"
    assert (await status_of(base, "/chat/closed"))[0] == 403


async def behind_proxy(base):
    async with connect(base + "/echo") as websocket:
        for message in ("through a proxy", bytes(300000)):
            await websocket.send(message)
            assert await websocket.recv() == message
        await websocket.close(3001, "bye")


async def drains(base):
    """Every client sees 1012 however often the server reloads; ends when standard input does."""
    stop = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    codes, echoed = [], [0]

    async def talk():
        while not stop.done():
            async with connect(base + "/echo") as websocket:
                try:
                    while not stop.done():
                        await websocket.send("message")
                        await websocket.recv()
                        echoed[0] += 1
                    return
                except ConnectionClosed as closed:
                    codes.append(closed.rcvd.code if closed.rcvd else None)

    async def idle():
        async with connect(base + "/farewell") as websocket:
            assert await websocket.recv() == "farewell 1012"
            await websocket.wait_closed()
            codes.append(websocket.close_code)

    async def ignored():
        codes.append((await close_of(base, "/deaf"))[0])

    async with asyncio.timeout(120):
        clients = [talk() for _ in range(16)] + [idle() for _ in range(8)] + [ignored() for _ in range(8)]
        group = asyncio.gather(*clients)
        print("talking", flush=True)
        await group
    print(f"{len(codes)} closed, {echoed[0]} messages", file=sys.stderr)
    assert len(codes) >= 32 and set(codes) == {1012}, codes


async def main():
    _, scenario, base = sys.argv
    for name in scenario.split(","):
        try:
            async with asyncio.timeout(150):
                await globals()[name](base)
        except Exception as error:
            error.add_note(f"in the scenario {name}")
            raise
    print("it holds")


asyncio.run(main())
