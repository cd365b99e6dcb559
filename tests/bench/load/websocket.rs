//! WebSocket for the load client: the opening handshake, one masked message, and the bytes of its echo. The key and the mask are
//! fixed, because nobody is to be protected from this client.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use super::{Exchange, Expected};

const MASK: [u8; 4] = [0x1f, 0x2e, 0x3d, 0x4c];
/// A reply to the handshake that is longer than this is none.
const LONGEST_REPLY_BYTES: usize = 16 * 1024;

/// The exchange of one binary message of so many bytes, after a handshake with `plain`'s path and host.
pub(crate) fn echo(plain: Exchange, message_bytes: usize) -> Exchange {
    let head = String::from_utf8_lossy(&plain.request);
    let opening = head.replacen(
        "\r\n\r\n",
        "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        1,
    );
    let payload: Vec<u8> = (b'a'..=b'z').cycle().take(message_bytes).collect();
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    let mut request = frame_head(message_bytes, 0x80);
    request.extend(MASK);
    request.extend(masked);
    let mut reply = frame_head(message_bytes, 0);
    reply.extend(&payload);
    Exchange { opening: Some(opening.into_bytes()), request, expected: Expected::Bytes(reply), ..plain }
}

/// The head of a binary message in one frame (RFC 6455 section 5.2); `mask_bit` is 0x80 for a client.
fn frame_head(length: usize, mask_bit: u8) -> Vec<u8> {
    const FINAL_BINARY: u8 = 0x82;
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => vec![FINAL_BINARY, mask_bit | short],
        (_, Ok(medium)) => {
            let [high, low] = medium.to_be_bytes();
            vec![FINAL_BINARY, mask_bit | 126, high, low]
        }
        (_, Err(_)) => {
            let mut head = vec![FINAL_BINARY, mask_bit | 127];
            head.extend((length as u64).to_be_bytes());
            head
        }
    }
}

/// Opens the WebSocket on a blocking stream.
pub(super) fn open(stream: &mut TcpStream, opening: &[u8]) -> io::Result<()> {
    stream.write_all(opening)?;
    let mut reply = Vec::new();
    // Byte by byte: what follows the head belongs to the first message.
    while !reply.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        reply.push(byte[0]);
        if reply.len() > LONGEST_REPLY_BYTES {
            break;
        }
    }
    if reply.starts_with(b"HTTP/1.1 101 ") {
        return Ok(());
    }
    Err(io::Error::other(format!("no WebSocket: {:?}", String::from_utf8_lossy(&reply))))
}
