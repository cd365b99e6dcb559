//! RFC 7541: header compression.

use super::{
    super::{frames::*, huffman},
    Case,
    Expect::{self, Connection, Holds, Reply},
    case,
};

/// The end of the connection. RFC 9113 §4.3 names COMPRESSION_ERROR; h2 tells of PROTOCOL_ERROR, as it does of a name or a value with a
/// forbidden character, where that is right: only who decodes each block a second time could tell them apart.
const BROKEN: Expect = Connection(&[COMPRESSION_ERROR, PROTOCOL_ERROR]);

pub fn all() -> Vec<Case> {
    [indices(), sizes(), integers(), strings()].into_iter().flatten().collect()
}

/// A GET whose block goes on with these bytes.
fn then(bytes: &[u8]) -> Vec<u8> {
    on(1, bytes)
}

fn on(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &[&block(&request("GET", "/")), bytes].concat())
}

/// A whole request by the static table alone.
const STATIC_GET: [u8; 3] = [0x82, 0x86, 0x84];

fn indices() -> Vec<Case> {
    let whole = [&STATIC_GET[..], &literal(b":authority", b"a")].concat();
    let kept = [on(1, &indexed_literal(b"x-a", b"kept")), on(3, &[0xbe])].concat();
    let evicted = [
        on(3, &[integer(0x20, 5, 40), indexed_literal(b"x-a", b"1"), indexed_literal(b"x-b", b"2")].concat()),
        on(5, &[0xbf]),
    ]
    .concat();
    vec![
        case(
            "7541 §6.1",
            "the static table",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &whole),
            Reply(200),
        ),
        case("7541 §6.1", "index 0", then(&[0x80]), BROKEN),
        case("7541 §2.3.3", "an index beyond both tables", then(&[0xbe]), BROKEN),
        case("7541 §2.3.3", "a far index", then(&[0xff, 0xff, 0x7f]), BROKEN),
        case("7541 §6.2", "a name by an index beyond both tables", then(&[0x7e, 1, b'x']), BROKEN),
        case(
            "7541 §6.2.1",
            "what is kept can be used",
            [kept, get(5, "/")].concat(),
            Holds(|seen| {
                seen.frames.iter().any(|it| {
                    it.kind == DATA && it.stream == 3 && it.payload.ends_with(b"x-a=kept]")
                        || it.payload.ends_with(b"x-a=kept] ")
                })
            }),
        ),
        case("7541 §4.4", "what was evicted cannot", [get(1, "/"), evicted].concat(), BROKEN),
        case(
            "7541 §6.2.2",
            "a literal that is not kept",
            [then(&literal(b"x-a", b"b")), on(3, &[0xbe])].concat(),
            BROKEN,
        ),
        case(
            "7541 §6.2.3",
            "a literal that is never kept",
            then(&[&[0x10, 3][..], b"x-a", &[1, b'b']].concat()),
            Holds(|seen| seen.text.contains("x-a=b")),
        ),
        case(
            "7541 §6.2.3",
            "and cannot be used later",
            [then(&[&[0x10, 3][..], b"x-a", &[1, b'b']].concat()), on(3, &[0xbe])].concat(),
            BROKEN,
        ),
        case(
            "7541 §6.2.1",
            "a name by its index",
            then(&[&integer(0x40, 6, 58)[..], &[1, b'z']].concat()),
            Holds(|seen| seen.text.contains("user-agent=z")),
        ),
        case(
            "7541 §4.4",
            "an entry larger than the table empties it",
            [
                on(1, &indexed_literal(b"x-a", b"kept")),
                on(3, &[indexed_literal(b"x-b", &[b'b'; 5_000]), vec![0xbe]].concat()),
            ]
            .concat(),
            BROKEN,
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let update = |size| integer(0x20, 5, size);
    let first = |bytes: Vec<u8>| {
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[bytes, block(&request("GET", "/"))].concat())
    };
    vec![
        case("7541 §6.3", "a smaller table", first(update(100)), Reply(200)),
        case("7541 §6.3", "no table", first(update(0)), Reply(200)),
        case("7541 §6.3", "the greatest table", first(update(4_096)), Reply(200)),
        case("7541 §6.3", "a table beyond what the server allows", first(update(4_097)), BROKEN),
        case(
            "7541 §4.2",
            "two changes at the beginning",
            first([update(0), update(4_096)].concat()),
            Reply(200),
        ),
        case("7541 §4.2", "a change after a field", then(&update(100)), BROKEN),
        case(
            "7541 §4.2",
            "a change between fields",
            then(&[literal(b"x", b"y"), update(100), literal(b"x", b"z")].concat()),
            BROKEN,
        ),
    ]
}

fn integers() -> Vec<Case> {
    vec![
        case(
            "7541 §5.1",
            "an integer that does not end",
            then(&[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80]),
            BROKEN,
        ),
        case(
            "7541 §5.1",
            "an integer beyond every bound",
            then(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            BROKEN,
        ),
        case("7541 §5.1", "an integer that is cut off", then(&[0xff]), BROKEN),
        case(
            "7541 §5.1",
            "an integer with a needless byte",
            then(&[&[0x00, 0x7f, 0x80, 0x00][..], &[b'a'; 127], &[1, b'b']].concat()),
            Holds(|seen| seen.text.contains("a=b")),
        ),
    ]
}

fn strings() -> Vec<Case> {
    let coded = |bytes: &[u8]| {
        let mut string = integer(0x80, 7, bytes.len());
        string.extend(bytes);
        string
    };
    let valued = |string: Vec<u8>| then(&[&[0x00, 3][..], b"x-a", &string].concat());
    let mut padded = huffman::encode(b"0");
    padded.push(0xff);
    vec![
        case(
            "7541 §5.2",
            "a string in Huffman's code",
            valued(coded(&huffman::encode(b"www.example.com~{}<>"))),
            Holds(|seen| seen.text.contains("x-a=www.example.com~{}<>")),
        ),
        case(
            "7541 §5.2",
            "a name in Huffman's code",
            then(&[&[0x00][..], &coded(&huffman::encode(b"x-coded")), &[1, b'b']].concat()),
            Holds(|seen| seen.text.contains("x-coded=b")),
        ),
        case(
            "7541 §5.2",
            "all bytes that a value may have",
            valued(coded(&huffman::encode(&(0x21..=0xff).filter(|&it| it != 0x7f).collect::<Vec<u8>>()))),
            Reply(200),
        ),
        case("7541 §5.2", "padding of a byte and more", valued(coded(&padded)), BROKEN),
        case("7541 §5.2", "padding that is not EOS", valued(coded(&[0x00])), BROKEN),
        case("7541 §5.2", "EOS in a string", valued(coded(&[0xff, 0xff, 0xff, 0xff])), BROKEN),
        case(
            "7541 §5.2",
            "a string longer than its block",
            then(&[0x00, 3, b'x', b'-', b'a', 9, b'b']),
            BROKEN,
        ),
        case("7541 §5.2", "a string that is cut off", then(&[0x00, 3, b'x']), BROKEN),
        case("7541 §5.2", "a literal without a value", then(&[0x00, 3, b'x', b'-', b'a']), BROKEN),
    ]
}
