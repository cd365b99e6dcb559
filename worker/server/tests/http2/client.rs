//! A client on the glass box that writes frames by hand and reads what comes back.

use std::time::Duration;

use worker_server::{App, Limits};

use super::{
    frames::{self, CONTINUATION, DATA, END_STREAM, Frame, GOAWAY, HEADERS, RST_STREAM},
    support::{Rig, limits},
};

pub struct Client<A: App> {
    pub rig: Rig<A>,
    decoder: hpack::Decoder,
    /// All that the server has sent.
    pub frames: Vec<Frame>,
}

/// What came back on one stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    pub is_complete: bool,
    pub reset: Option<u32>,
}

impl Reply {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl<A: App> Client<A> {
    /// A client that has sent its preface and acknowledged the server's SETTINGS.
    pub fn new(app: A) -> Self {
        Self::with_limits(app, limits())
    }

    pub fn with_limits(app: A, limits: Limits) -> Self {
        let mut client = Self::silent(app, limits);
        client.send(frames::hello());
        client.send(frames::settings_ack());
        client
    }

    /// A client that has sent nothing.
    pub fn silent(app: A, limits: Limits) -> Self {
        Self { rig: Rig::with_limits(app, limits), decoder: hpack::Decoder::default(), frames: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.rig.send(bytes);
        self.look()
    }

    pub fn pass(&mut self, duration: Duration) -> &mut Self {
        self.rig.pass(duration);
        self.look()
    }

    /// Runs the connection and takes in what it has written.
    pub fn look(&mut self) -> &mut Self {
        self.rig.run();
        let bytes = self.rig.wire.take_output();
        self.frames.extend(frames::parse(&bytes));
        self
    }

    /// What came back on a stream so far.
    pub fn reply(&mut self, stream: u32) -> Reply {
        let mut reply = Reply::default();
        let mut block = Vec::new();
        // Blocks are decoded in the order of the wire, whichever stream they are for: they share a table.
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.reset();
        for frame in &self.frames {
            match frame.kind {
                HEADERS | CONTINUATION => {
                    block.extend_from_slice(&frame.payload);
                    if !frame.has(frames::END_HEADERS) {
                        continue;
                    }
                    let fields = decoder.decode(&std::mem::take(&mut block));
                    if frame.stream == stream {
                        reply.take_fields(fields);
                    }
                }
                DATA if frame.stream == stream => reply.body.extend_from_slice(&frame.payload),
                RST_STREAM if frame.stream == stream => reply.reset = Some(frame.code()),
                _ => {}
            }
            if frame.stream == stream && matches!(frame.kind, HEADERS | DATA) && frame.has(END_STREAM) {
                reply.is_complete = true;
            }
        }
        self.decoder = decoder;
        reply
    }

    /// The error code of the last GOAWAY.
    pub fn goaway(&self) -> Option<u32> {
        self.frames.iter().rfind(|frame| frame.kind == GOAWAY).map(Frame::code)
    }

    /// The error code with which a stream was reset.
    pub fn reset(&self, stream: u32) -> Option<u32> {
        self.frames.iter().find(|frame| frame.kind == RST_STREAM && frame.stream == stream).map(Frame::code)
    }

    pub fn count(&self, kind: u8) -> usize {
        self.frames.iter().filter(|frame| frame.kind == kind).count()
    }
}

impl Reply {
    fn take_fields(&mut self, fields: Vec<(String, String)>) {
        if self.status != 0 {
            self.trailers = fields;
            return;
        }
        for (name, value) in fields {
            if name == ":status" {
                self.status = value.parse().unwrap_or(0);
            } else {
                self.fields.push((name, value));
            }
        }
    }
}

pub mod hpack {
    //! As much of RFC 7541 as h2's encoder uses.

    use super::super::huffman;

    #[derive(Debug, Default)]
    pub struct Decoder {
        /// The newest entry first.
        table: Vec<(String, String)>,
    }

    const STATIC: [(&str, &str); 61] = [
        (":authority", ""),
        (":method", "GET"),
        (":method", "POST"),
        (":path", "/"),
        (":path", "/index.html"),
        (":scheme", "http"),
        (":scheme", "https"),
        (":status", "200"),
        (":status", "204"),
        (":status", "206"),
        (":status", "304"),
        (":status", "400"),
        (":status", "404"),
        (":status", "500"),
        ("accept-charset", ""),
        ("accept-encoding", "gzip, deflate"),
        ("accept-language", ""),
        ("accept-ranges", ""),
        ("accept", ""),
        ("access-control-allow-origin", ""),
        ("age", ""),
        ("allow", ""),
        ("authorization", ""),
        ("cache-control", ""),
        ("content-disposition", ""),
        ("content-encoding", ""),
        ("content-language", ""),
        ("content-length", ""),
        ("content-location", ""),
        ("content-range", ""),
        ("content-type", ""),
        ("cookie", ""),
        ("date", ""),
        ("etag", ""),
        ("expect", ""),
        ("expires", ""),
        ("from", ""),
        ("host", ""),
        ("if-match", ""),
        ("if-modified-since", ""),
        ("if-none-match", ""),
        ("if-range", ""),
        ("if-unmodified-since", ""),
        ("last-modified", ""),
        ("link", ""),
        ("location", ""),
        ("max-forwards", ""),
        ("proxy-authenticate", ""),
        ("proxy-authorization", ""),
        ("range", ""),
        ("referer", ""),
        ("refresh", ""),
        ("retry-after", ""),
        ("server", ""),
        ("set-cookie", ""),
        ("strict-transport-security", ""),
        ("transfer-encoding", ""),
        ("user-agent", ""),
        ("vary", ""),
        ("via", ""),
        ("www-authenticate", ""),
    ];

    impl Decoder {
        pub fn reset(&mut self) {
            self.table.clear();
        }

        pub fn decode(&mut self, mut block: &[u8]) -> Vec<(String, String)> {
            let mut fields = Vec::new();
            while let Some(&first) = block.first() {
                let (prefix, is_kept) = match first {
                    0x80.. => {
                        let index = integer(&mut block, 7);
                        fields.push(self.entry(index));
                        continue;
                    }
                    0x40.. => (6, true),
                    0x20.. => {
                        integer(&mut block, 5);
                        continue;
                    }
                    _ => (4, false),
                };
                let index = integer(&mut block, prefix);
                let name = if index == 0 { string(&mut block) } else { self.entry(index).0 };
                let field = (name, string(&mut block));
                if is_kept {
                    self.table.insert(0, field.clone());
                }
                fields.push(field);
            }
            fields
        }

        fn entry(&self, index: usize) -> (String, String) {
            match STATIC.get(index - 1) {
                Some((name, value)) => ((*name).to_owned(), (*value).to_owned()),
                None => self.table[index - 1 - STATIC.len()].clone(),
            }
        }
    }

    fn integer(block: &mut &[u8], prefix: u32) -> usize {
        let most = (1_usize << prefix) - 1;
        let mut value = take(block) as usize & most;
        if value == most {
            let mut shift = 0;
            loop {
                let byte = take(block);
                value += (byte as usize & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        value
    }

    fn string(block: &mut &[u8]) -> String {
        let is_huffman = block[0] & 0x80 != 0;
        let length = integer(block, 7);
        let (bytes, rest) = block.split_at(length);
        *block = rest;
        let bytes = if is_huffman { huffman::decode(bytes) } else { bytes.to_vec() };
        bytes.iter().map(|&byte| char::from(byte)).collect()
    }

    fn take(block: &mut &[u8]) -> u8 {
        let first = block[0];
        *block = &block[1..];
        first
    }
}
