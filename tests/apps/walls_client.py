"""Serves HTTP/2 and TLS on the reactor of the extension, inside the loop named on the command line, and is its own client.

Usage: walls_client.py EXTENSION asyncio|uvloop
"""

import asyncio
import ssl
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec


def load(path):
    name = "worker_python_cp%d%d" % sys.version_info[:2]
    return module_from_spec(ModuleSpec(name, ExtensionFileLoader(name, path), origin=path))


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


async def get_over_h2c(port):
    """One GET by prior knowledge (RFC 9113 §3.3): status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"\x82\x86\x84\x41\x09localhost"  # GET, http, /, :authority (RFC 7541 appendix A)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(1, 0x05, 1, head))
    status, body, over = None, b"", False
    while not over:
        length, kind, flags, stream = (lambda h: (int.from_bytes(h[:3], "big"), h[3], h[4], int.from_bytes(h[5:], "big")))(
            await reader.readexactly(9)
        )
        payload = await reader.readexactly(length)
        if kind == 4 and not flags & 1:
            writer.write(frame(4, 1, 0))
        elif kind == 1 and stream == 1:
            status = payload[:1]
            over = bool(flags & 1)
        elif kind == 0 and stream == 1:
            body += payload
            over = bool(flags & 1)
        elif kind in (3, 7):
            raise AssertionError((kind, payload))
    writer.close()
    assert status == b"\x88", status  # indexed ":status: 200"
    return body


async def get_over_tls(port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
    bodies = []
    for _ in range(3):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        bodies.append(await reader.readexactly(len(b"hello over tls")))
    writer.close()
    return bodies


async def main(module):
    h2c, tls = module.wall_tests(asyncio.get_running_loop())
    bodies = await asyncio.gather(*(get_over_h2c(h2c) for _ in range(8)))
    assert bodies == [b"hello over h2c"] * 8, bodies
    replies = await asyncio.gather(*(get_over_tls(tls) for _ in range(4)))
    assert replies == [[b"hello over tls"] * 3] * 4, replies
    print("the walls hold")


extension, loop_name = sys.argv[1:]
if loop_name == "uvloop":
    import uvloop

    loop = uvloop.new_event_loop()
else:
    loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(asyncio.wait_for(main(load(extension)), 30))
