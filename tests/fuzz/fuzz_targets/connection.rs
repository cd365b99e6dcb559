//! A whole connection with the test site behind it: never a panic, always rest, and the client reads the same however its bytes
//! were cut into reads. The first byte says how they are cut.
#![no_main]

#[path = "../../../worker/server/tests/support/mod.rs"]
mod support;

use support::{Rig, apps};

fn play<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let mut rig = Rig::new(apps::site());
    for piece in pieces {
        rig.send(piece);
    }
    rig.received()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let whole = play(std::iter::once(bytes));
    let cut = play(bytes.chunks(usize::from(cut) + 1));
    assert_eq!(whole, cut, "{}", bytes.escape_ascii());
});
