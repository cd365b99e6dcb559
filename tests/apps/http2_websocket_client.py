"""A WebSocket over HTTP/2 (RFC 8441) as the library h2 speaks it: echoed, beside a plain request, and closed by both; then says "it
holds". (The library takes a GOAWAY for the end, so a stop is not played here.) Usage: http2_websocket_client.py HOST PORT"""

import socket
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings

MASK = b"\x01\x02\x03\x04"


def masked(opcode, payload):
    assert len(payload) < 126
    covered = bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + MASK + covered


class Client:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=15)
        self.http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.http2.initiate_connection()
        self.replies, self.data, self.ended = {}, {}, set()
        self.flush()

    def flush(self):
        self.socket.sendall(self.http2.data_to_send())

    def until(self, holds):
        while not holds():
            received = self.socket.recv(65536)
            assert received, "the connection ended"
            for event in self.http2.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    self.replies[event.stream_id] = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
                    self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    self.ended.add(event.stream_id)
            self.flush()

    def open(self, stream, pseudo, plain=(), end=False):
        fields = [*pseudo, (":scheme", "http"), (":authority", "a"), *plain]
        self.http2.send_headers(stream, fields, end_stream=end)
        self.flush()
        self.until(lambda: stream in self.replies)
        return self.replies[stream]

    def send(self, stream, data, end=False):
        self.http2.send_data(stream, data, end_stream=end)
        self.flush()

    def await_data(self, stream, wanted):
        self.until(lambda: len(self.data.get(stream, b"")) >= len(wanted))
        assert self.data.pop(stream) == wanted, wanted


def main(host, port):
    client = Client(host, int(port))
    enables = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL
    client.until(lambda: client.http2.remote_settings.get(enables) == 1)
    asked = [(":method", "CONNECT"), (":protocol", "websocket"), (":path", "/echo?one")]
    reply = client.open(1, asked, [("sec-websocket-version", "13")])
    assert reply[":status"] == "200", reply
    client.send(1, masked(1, b"hello"))
    client.await_data(1, b"\x81\x05hello")
    # Other streams go on beside it.
    assert client.open(3, [(":method", "GET"), (":path", "/")], end=True)[":status"] == "200"
    client.until(lambda: 3 in client.ended)
    assert client.data.pop(3) == b"plain"
    client.send(1, masked(9, b"ping"))
    client.await_data(1, b"\x8a\x04ping")
    client.send(1, masked(8, b"\x03\xe8"))
    client.await_data(1, b"\x88\x02\x03\xe8")
    client.until(lambda: 1 in client.ended)
    print("it holds")


main(*sys.argv[1:])
