//! Connections made of requests by a grammar, one of them broken in a known way or by noise. Everything follows from the seed.

/// One connection's bytes.
pub(crate) struct Sample {
    /// As they are read: cut at random places.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// What was broken, in words.
    pub(crate) mutation: &'static str,
    broken: Option<Broken>,
}

/// Which request was broken, and which rules that may break.
#[derive(Debug, Clone, Copy)]
struct Broken {
    request: usize,
    rules: Rules,
}

#[derive(Debug, Clone, Copy)]
enum Rules {
    These(&'static [&'static str]),
    /// Noise can break anything.
    Any,
}

impl Sample {
    /// Whether the `request`-th request may be refused by this rule. What follows a broken request may be read as anything.
    pub(crate) fn may_break(&self, request: usize, rule: &str) -> bool {
        self.broken.is_some_and(|broken| match broken.rules {
            Rules::These(rules) if request == broken.request => rules.contains(&rule),
            Rules::These(_) | Rules::Any => request >= broken.request,
        })
    }
}

/// A request in parts that a mutation can get hold of.
struct Request {
    method: Vec<u8>,
    target: Vec<u8>,
    version: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    line_end: &'static [u8],
    body: Vec<u8>,
    framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    None,
    Length,
    Chunked,
}

impl Request {
    fn add(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.fields.push((name.as_bytes().to_vec(), value.into()));
    }

    fn replace(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        let value = value.into();
        self.fields.retain(|(it, _)| !it.eq_ignore_ascii_case(name.as_bytes()));
        self.add(name, value);
    }

    fn remove(&mut self, name: &str) {
        self.fields.retain(|(it, _)| !it.eq_ignore_ascii_case(name.as_bytes()));
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&self.method[..], b" ", &self.target, b" ", &self.version, self.line_end].concat();
        for (name, value) in &self.fields {
            bytes.extend([&name[..], b":", value, self.line_end].concat());
        }
        bytes.extend_from_slice(self.line_end);
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// What may be done to a request: a name, the rules it may break, and how.
type Mutation = (&'static str, &'static [&'static str], fn(&mut Generator, &mut Request));

const LENGTH: &str = "invalid Content-Length";
const LENGTHS: &str = "more than one Content-Length header field";
const BOTH: &str = "Content-Length together with Transfer-Encoding";
const ENCODING: &str = "Transfer-Encoding other than chunked";
const CHUNK: &str = "malformed chunk";
const TRAILER: &str = "malformed or forbidden trailer field";
const HOST: &str = "invalid Host";
const TARGET: &str = "malformed request target";
const TARGET_BYTES: &str = "character not allowed in the request target";
const LINE: &str = "malformed request line";
const LINE_FEED: &str = "line ends in LF without CR";

const MUTATIONS: [Mutation; 29] = [
    ("no Host", &["Host header field missing"], |_, request| {
        request.remove("host");
        request.version = b"HTTP/1.1".to_vec();
    }),
    ("two Hosts", &["more than one Host header field"], |_, request| request.add("Host", "again")),
    ("invalid Host", &[HOST], |random, request| {
        let host =
            random.pick(&["", "a b", "a,b", "u@h", "a/b", "h:x", "h:99999", "[::1", "http://h", "h?q"]);
        request.replace("Host", host);
    }),
    ("length and encoding", &[BOTH, LENGTHS, ENCODING], |random, request| {
        request.replace("Content-Length", random.pick(&["0", "3", "5"]).as_bytes());
        request.replace("Transfer-Encoding", "chunked");
    }),
    ("odd length", &[LENGTH, BOTH], |random, request| {
        let lengths =
            ["+3", "-3", "03", "00", "3, 3", "3,4", "0x3", "3 3", "", "3_0", "99999999999999999999999"];
        request.replace("Content-Length", random.pick(&lengths).as_bytes());
    }),
    ("length twice", &[LENGTHS, BOTH], |random, request| {
        let length = request.body.len().to_string();
        request.replace("Content-Length", length.clone());
        let again = if random.one_in(2) { length } else { "7".into() };
        request.add("content-length", again);
    }),
    ("odd encoding", &[ENCODING, BOTH], |random, request| {
        let encodings = [
            "xchunked",
            "gzip, chunked",
            "chunked, gzip",
            "identity",
            "chunked,chunked",
            "\"chunked\"",
            "",
            "chunked;a=b",
            "gzip",
        ];
        request.replace("Transfer-Encoding", random.pick(&encodings).as_bytes());
    }),
    ("encoding twice", &[ENCODING, BOTH], |_, request| {
        request.replace("Transfer-Encoding", "chunked");
        request.add("transfer-encoding", "chunked");
    }),
    ("encoding in HTTP/1.0", &[], |_, request| {
        request.remove("content-length");
        request.replace("Transfer-Encoding", "chunked");
        request.version = b"HTTP/1.0".to_vec();
    }),
    ("another version", &[], |random, request| {
        request.version = random
            .pick(&["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/1", "http/1.1", "HTTP/11", ""])
            .as_bytes()
            .to_vec();
    }),
    ("bare LF", &[LINE_FEED], |_, request| request.line_end = b"\n"),
    ("one bare LF", &[LINE_FEED], |_, request| request.add("X", "y\nX-After: z")),
    ("bare CR", &[], |_, request| request.add("X", "y\rz")),
    ("folded line", &[], |_, request| request.add("X", "y\r\n z")),
    ("space before colon", &[], |_, request| request.add("X ", "y")),
    ("control character", &[], |random, request| {
        let byte = random.pick(&[0_u8, 1, 8, 0xb, 0xc, 0x1c, 0x1d, 0x1e, 0x1f, 0x7f]);
        request.add("X", vec![b'a', byte, b'b']);
    }),
    ("fragment", &[TARGET_BYTES], |_, request| request.target.extend_from_slice(b"#part")),
    ("bytes beyond ASCII in the target", &[TARGET_BYTES], |_, request| {
        request.target.extend_from_slice("\u{e9}".as_bytes());
    }),
    ("odd bytes in the target", &[], |random, request| {
        let byte = random.pick(crate::ODD_TARGET_BYTES);
        request.target.push(byte);
    }),
    ("odd target", &[TARGET, HOST], |random, request| {
        let target =
            random.pick(&["*", "a", "a:80", "ftp://h/", "http://", "http://u@h/", "//", "?q", "http:/a"]);
        request.target = target.as_bytes().to_vec();
    }),
    ("CONNECT", &["CONNECT is not supported"], |_, request| {
        request.method = b"CONNECT".to_vec();
        request.target = b"a:80".to_vec();
    }),
    ("an upgrade that nobody serves", &[], |_, request| {
        request.add("Upgrade", "foo, WebSocket");
        request.version = b"HTTP/1.1".to_vec();
    }),
    ("odd expectation", &["unknown expectation"], |_, request| request.replace("Expect", "a-pony")),
    ("long line", &["request line too long"], |_, request| request.target.extend_from_slice(&[b'a'; 9000])),
    ("many fields", &[], |_, request| {
        for _ in 0..110 {
            request.add("X", "y");
        }
    }),
    ("odd line", &[LINE, LINE_FEED], |random, request| {
        let prefix = random.pick(&["\n", "\r", " ", "\r\n\n", "\t"]);
        request.method.splice(0..0, prefix.bytes());
    }),
    ("odd chunk", &[CHUNK], |random, request| {
        let chunks = [
            "5 \r\nhello\r\n0\r\n\r\n",
            "5;\r\nhello\r\n0\r\n\r\n",
            "5; a\r\nhello\r\n0\r\n\r\n",
            "5;a=\r\nhello\r\n0\r\n\r\n",
            "5;a b\r\nhello\r\n0\r\n\r\n",
            "5;a=\"\r\nhello\r\n0\r\n\r\n",
            "5;[\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
            "\r\n",
            "00000000000000000005\r\nhello\r\n0\r\n\r\n",
            "fffffffffffffffff\r\nhello",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
        ];
        let chunks = random.pick(&chunks).as_bytes().to_vec();
        request.chunk(chunks);
    }),
    ("odd trailer", &[TRAILER], |random, request| {
        let trailers = [
            "0\r\nHost: a\r\n\r\n",
            "0\r\nContent-Length: 5\r\n\r\n",
            "0\r\ntransfer-encoding: x\r\n\r\n",
            "0\r\nx : y\r\n\r\n",
            "0\r\nx: y\n\r\n",
            "0\r\nx\r\n\r\n",
            "0\r\n x: y\r\n\r\n",
            "0\r\n: y\r\n\r\n",
            "0\r\nx: \u{1}\r\n\r\n",
        ];
        let trailers = random.pick(&trailers).as_bytes().to_vec();
        request.chunk(trailers);
    }),
    ("body cut short", &[CHUNK, TRAILER], |_, request| _ = request.body.pop()),
];

impl Request {
    fn chunk(&mut self, body: Vec<u8>) {
        self.version = b"HTTP/1.1".to_vec();
        self.remove("content-length");
        self.replace("Transfer-Encoding", "chunked");
        self.body = body;
    }
}

/// A source of connections.
pub(crate) struct Generator {
    state: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d }
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }

    fn pick<V: Copy>(&mut self, values: &[V]) -> V {
        values[self.below(values.len())]
    }

    /// Bytes drawn from an alphabet.
    fn word(&mut self, alphabet: &[u8], least: usize, most: usize) -> Vec<u8> {
        let length = least + self.below(most - least + 1);
        (0..length).map(|_| self.pick(alphabet)).collect()
    }

    /// One to three requests; in every second connection one of them is broken.
    pub(crate) fn connection(&mut self) -> Sample {
        let requests = 1 + self.below(3);
        let broken = self.one_in(2).then(|| self.below(requests));
        let mut sample = Sample { pieces: Vec::new(), mutation: "none", broken: None };
        let mut bytes = Vec::new();
        for index in 0..requests {
            let mut request = self.request();
            if broken == Some(index) && !self.one_in(3) {
                let (mutation, rules, apply) = self.pick(&MUTATIONS);
                sample.mutation = mutation;
                sample.broken = Some(Broken { request: index, rules: Rules::These(rules) });
                apply(self, &mut request);
            }
            let mut request = request.bytes();
            if broken == Some(index) && sample.broken.is_none() {
                sample.mutation = "noise";
                sample.broken = Some(Broken { request: index, rules: Rules::Any });
                self.disturb(&mut request);
            }
            bytes.extend(request);
        }
        // Empty lines, which both ignore between requests, end whatever noise has left open: the engine judges whole lines.
        bytes.extend_from_slice(b"\r\n\r\n");
        sample.pieces = self.cut(bytes);
        sample
    }

    fn request(&mut self) -> Request {
        let mut request = Request {
            method: self.method(),
            target: Vec::new(),
            version: if self.one_in(10) { b"HTTP/1.0".to_vec() } else { b"HTTP/1.1".to_vec() },
            fields: Vec::new(),
            line_end: b"\r\n",
            body: Vec::new(),
            framing: Framing::None,
        };
        request.target = self.target();
        let host = self
            .pick(&["h", "example.org", "a:80", "a:", "127.0.0.1:8000", "[::1]", "[2001:db8::1]:8", "x_y"])
            .as_bytes();
        request.add(
            self.pick(&["Host", "host", "HOST"]),
            [self.pick(&[" ", "", "\t ", "  "]).as_bytes(), host].concat(),
        );
        for _ in 0..self.below(8) {
            let name = [b"x".to_vec(), self.word(b"abcXYZ019-_!#$%&'*+.^`|~", 0, 12)].concat();
            let value = self.word(b"abc XYZ\t09,;=\"\\()<>@/[]?{}\xe9\xff\x80:", 0, 24);
            let at = self.below(request.fields.len() + 1);
            request.fields.insert(at, (name, value));
        }
        if self.one_in(4) {
            let options = [
                "close",
                "keep-alive",
                "Keep-Alive",
                "CLOSE",
                "x",
                "x, keep-alive",
                "keep-alive, x",
                "x,close",
            ];
            request.add("Connection", self.pick(&options));
        }
        self.add_body(&mut request);
        request
    }

    fn method(&mut self) -> Vec<u8> {
        let methods = [
            "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "get", "M-SEARCH", "FOO",
            "a",
        ];
        self.pick(&methods).as_bytes().to_vec()
    }

    fn target(&mut self) -> Vec<u8> {
        let mut target = match self.below(12) {
            0 => b"http://example.org".to_vec(),
            1 => b"HTTP://h:8000".to_vec(),
            2 => b"https://[::1]:443".to_vec(),
            _ => Vec::new(),
        };
        if target.is_empty() || !self.one_in(4) {
            target.push(b'/');
            target.extend(self.word(b"abz/.~-_%41:@!$&'()*+,;=9", 0, 20));
        }
        if self.one_in(3) {
            target.push(b'?');
            target.extend(self.word(b"abz/.~-_%41:@!$&'()*+,;=9?", 0, 20));
        }
        target
    }

    fn add_body(&mut self, request: &mut Request) {
        request.framing = match (self.below(4), request.version.ends_with(b"0")) {
            (0, _) => Framing::Length,
            (1, false) => Framing::Chunked,
            _ => return,
        };
        let expects = self.one_in(8) && request.version.ends_with(b"1.1");
        if expects {
            request.add("Expect", "100-continue");
        }
        let data = self.word(b"abc\r\n0 GET", 0, 60);
        if request.framing == Framing::Length {
            request.add("Content-Length", data.len().to_string());
            request.body = data;
            return;
        }
        request.add("Transfer-Encoding", self.pick(&["chunked", "Chunked", "CHUNKED"]));
        let mut rest = &data[..];
        while !rest.is_empty() {
            let (chunk, others) = rest.split_at(1 + self.below(rest.len()));
            rest = others;
            let size =
                if self.one_in(2) { format!("{:x}", chunk.len()) } else { format!("0{:X}", chunk.len()) };
            let extension = self.pick(&["", "", "", ";a", ";a=b", ";a=\"b c\";d", ";a-b=1;c=2"]);
            request.body.extend([size.as_bytes(), extension.as_bytes(), b"\r\n", chunk, b"\r\n"].concat());
        }
        request.body.extend_from_slice(b"0\r\n");
        if self.one_in(4) {
            request.body.extend_from_slice(self.pick(&[
                b"X-T: a\r\n".as_slice(),
                b"a:b\r\nc:\r\n",
                b"x-t:\t\xe9\r\n",
            ]));
        }
        request.body.extend_from_slice(b"\r\n");
    }

    /// Breaks a few bytes.
    fn disturb(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let noise = self.pick(b"\0\r\n \t:;,0159aAzZ/?#\"%\x7f\xff\x0b+-_");
            match self.below(3) {
                0 => bytes[at] = noise,
                1 => bytes.insert(at, noise),
                _ if bytes.len() > 1 => _ = bytes.remove(at),
                _ => {}
            }
        }
    }

    /// Cuts the bytes into reads: in most cases one, or a few.
    fn cut(&mut self, mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        for _ in 0..self.pick(&[0, 0, 1, 2, 5]) {
            let at = self.below(bytes.len() + 1);
            let rest = bytes.split_off(at);
            pieces.push(std::mem::replace(&mut bytes, rest));
        }
        pieces.push(bytes);
        pieces
    }
}
