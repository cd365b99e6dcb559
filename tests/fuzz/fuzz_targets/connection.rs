//! A whole connection with an app behind it that reads every body: never a panic, always rest, and the client reads the same however
//! its bytes were cut into reads. The first byte says how they are cut. (An app that replies early may be faster than a broken body.)
//! Over HTTP/2 there is no same: window updates and answers to PING are written when there is time for them.
#![no_main]

#[path = "../../../worker/server/tests/support/mod.rs"]
mod support;

use support::{Rig, apps};

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn play<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let mut rig = Rig::new(apps::describing());
    for piece in pieces {
        rig.send(piece);
    }
    // Comes only if the body had not come yet.
    rig.received().replace("HTTP/1.1 100 Continue\r\n\r\n", "")
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let whole = play(std::iter::once(bytes));
    let cut = play(bytes.chunks(usize::from(cut) + 1));
    if !bytes.starts_with(HTTP2_PREFACE) {
        assert_eq!(whole, cut, "{}", bytes.escape_ascii());
    }
});
