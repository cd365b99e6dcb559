#!/usr/bin/env python3
"""A full worker of the control channel, version 1, in another language: what any program can do in twenty lines."""
import json, os, select, socket

say = lambda **message: os.write(int(os.environ["SUPERVISE_CONTROL_OUT"]), json.dumps(message).encode() + b"\n")
orders = int(os.environ["SUPERVISE_CONTROL_IN"])
listener = socket.socket(fileno=int(os.environ["SUPERVISE_LISTENERS"].split(",")[0]))
listener.setblocking(False)
interval = json.loads(os.environ["SUPERVISE_SETTINGS"])["heartbeat_interval_ms"] / 1000
say(type="hello", version=int(os.environ.get("SPEAKS_VERSION", "2")), pid=os.getpid(), runtime="plain Python", stack_signal=None)
say(type="loaded", application="twenty lines")
say(type="ready")
while True:
    ready, _, _ = select.select([orders, listener], [], [], interval)
    if orders in ready:  # told to drain, or the supervisor is gone
        break
    if listener in ready:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            continue
        with connection:
            target = connection.recv(65536).split(b" ")[1]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")
        if target == b"/garbage":
            os.write(int(os.environ["SUPERVISE_CONTROL_OUT"]), b"this is no message\n")
    say(type="heartbeat", loop_lag_ms=0, in_flight=0, oldest_request_ms=0)
