//! PROXY headers of both versions: whole, cut anywhere, and wrong in every part.

use super::{Parsed, Source, Versions, parse};
use crate::Peer;

/// Reads as a connection does: never more than the parser says, and then compares how much was taken.
fn read(bytes: &[u8], versions: Versions) -> (Parsed, usize) {
    let mut taken = 0;
    loop {
        match parse(&bytes[..taken], versions) {
            Parsed::Incomplete(missing) if taken + missing <= bytes.len() => {
                assert!(missing > 0, "the reader would wait for nothing");
                taken += missing;
            }
            parsed => return (parsed, taken),
        }
    }
}

/// "peer local", or the word for what became of it. What follows the header must be left alone.
fn source(header: &[u8], versions: Versions) -> String {
    let bytes = [header, b"GET / HTTP/1.1\r\n\r\n"].concat();
    match read(&bytes, versions) {
        (Parsed::Complete(source), taken) => {
            assert_eq!(taken, header.len(), "{}", header.escape_ascii());
            match source {
                Source::Own => "own".to_owned(),
                Source::Relayed { peer: Peer::Tcp(peer), local: Peer::Tcp(local) } => {
                    format!("{peer} {local}")
                }
                Source::Relayed { peer, local } => format!("{peer:?} {local:?}"),
            }
        }
        (Parsed::Malformed, _) => "malformed".to_owned(),
        (Parsed::Incomplete(_), _) => "incomplete".to_owned(),
    }
}

fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend_from_slice(&[command, family]);
    bytes.extend_from_slice(&u16::try_from(rest.len()).expect("a short header").to_be_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

#[test]
fn lines_are_read() {
    for (line, expected) in [
        ("PROXY TCP4 1.2.3.4 10.0.0.1 5678 443\r\n", "1.2.3.4:5678 10.0.0.1:443"),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0 0.0.0.0:0"),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            "255.255.255.255:65535 255.255.255.255:65535",
        ),
        ("PROXY TCP6 :: :: 1 2\r\n", "[::]:1 [::]:2"),
        ("PROXY TCP6 2001:db8::1 2001:db8:0:1:2:3:4:5 1 2\r\n", "[2001:db8::1]:1 [2001:db8:0:1:2:3:4:5]:2"),
        ("PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n", "1.2.3.4:1 [::1]:2"),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 [ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        ),
        ("PROXY UNKNOWN\r\n", "own"),
        ("PROXY UNKNOWN whatever stands here\r\n", "own"),
    ] {
        assert_eq!(source(line.as_bytes(), Versions::Both), expected, "{line}");
        assert_eq!(source(line.as_bytes(), Versions::One), expected, "{line}");
        assert_eq!(source(line.as_bytes(), Versions::Two), "malformed", "{line}");
    }
}

#[test]
fn lines_that_are_none_are_refused() {
    let overlong = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    for line in [
        "GET / HTTP/1.1\r\n\r\n",
        "proxy TCP4 1.2.3.4 10.0.0.1 5678 443\r\n",
        "PROXY  TCP4 1.2.3.4 10.0.0.1 5678 443\r\n",
        "PROXY TCP4  1.2.3.4 10.0.0.1 5678 443\r\n",
        "PROXY TCP4 1.2.3.4 10.0.0.1 5678 443 \r\n",
        "PROXY TCP4 1.2.3.4 10.0.0.1 5678 443 9\r\n",
        "PROXY TCP4 1.2.3.4 10.0.0.1 5678\r\n        \r\n",
        "PROXY TCP4 1.2.3.4 10.0.0.1 5678 443\n",
        "PROXY TCP4 1.2.3.4 10.0.0.1 5678 65536\r\n",
        "PROXY TCP4 1.2.3.4 10.0.0.1 05678 443\r\n",
        "PROXY TCP4 1.2.3.4 10.0.0.1 -1 443\r\n",
        "PROXY TCP4 ::1 ::1 5678 443\r\n",
        "PROXY TCP6 1.2.3.4 10.0.0.1 5678 443\r\n",
        "PROXY TCP4 1.2.3.04 10.0.0.1 5678 443\r\n",
        "PROXY UDP4 1.2.3.4 10.0.0.1 5678 443\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY TCP4\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
        &overlong,
        "\r\nPROXY TCP4 1.2.3.4 10.0.0.1 5678 443\r\n",
    ] {
        assert_eq!(source(line.as_bytes(), Versions::Both), "malformed", "{line}");
    }
}

#[test]
fn binary_headers_are_read() {
    let four = [&[1, 2, 3, 4, 10, 0, 0, 1][..], &5678_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat();
    let six = [&[0x20; 16][..], &[0x30; 16], &[0, 1, 0, 2]].concat();
    let tlvs = [&four[..], &[0x04, 0, 3, 1, 2, 3, 0x20, 0xff, 0xff]].concat();
    let path = |text: &str| [text.as_bytes(), &vec![0; 108 - text.len()]].concat();
    let unix = [path("/a"), path("")].concat();
    for (header, expected) in [
        (binary(0x21, 0x11, &four), "1.2.3.4:5678 10.0.0.1:443"),
        (binary(0x21, 0x11, &tlvs), "1.2.3.4:5678 10.0.0.1:443"),
        (
            binary(0x21, 0x21, &six),
            "[2020:2020:2020:2020:2020:2020:2020:2020]:1 [3030:3030:3030:3030:3030:3030:3030:3030]:2",
        ),
        (binary(0x21, 0x31, &unix), "Unix(Some(\"/a\")) Unix(None)"),
        (binary(0x20, 0x00, &[]), "own"),
        (binary(0x20, 0x11, &four), "own"),
        (binary(0x21, 0x00, b"anything"), "own"),
        (binary(0x21, 0x12, &four), "own"),
    ] {
        assert_eq!(source(&header, Versions::Both), expected, "{}", header.escape_ascii());
        assert_eq!(source(&header, Versions::Two), expected, "{}", header.escape_ascii());
        assert_eq!(source(&header, Versions::One), "malformed", "{}", header.escape_ascii());
    }
}

#[test]
fn binary_headers_that_are_none_are_refused() {
    let four = [0; 12];
    for header in [
        binary(0x11, 0x11, &four),
        binary(0x22, 0x11, &four),
        binary(0x21, 0x41, &four),
        binary(0x21, 0x13, &four),
        binary(0x21, 0x11, &four[..11]),
        binary(0x21, 0x21, &[0; 35]),
        binary(0x21, 0x31, &[0; 215]),
        binary(0x20, 0x00, &[0; 4097]),
        b"\r\n\r\n\0\r\nQUIX\n\x21\x11\0\0".to_vec(),
        b"\r\n\r\nGET / HTTP/1.1".to_vec(),
    ] {
        assert_eq!(source(&header, Versions::Both), "malformed", "{}", header.escape_ascii());
    }
}

#[test]
fn a_header_that_is_cut_short_is_waited_for() {
    let line = b"PROXY TCP4 1.2.3.4 10.0.0.1 5678 443\r\n";
    let header = binary(0x21, 0x11, &[0; 12]);
    for whole in [&line[..], &header] {
        for length in 0..whole.len() {
            let (parsed, _) = read(&whole[..length], Versions::Both);
            assert!(matches!(parsed, Parsed::Incomplete(_)), "{}", whole[..length].escape_ascii());
        }
    }
}
