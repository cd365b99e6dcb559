//! Whether text is UTF-8, told as early as its first wrong byte, however it is cut into pieces.

use std::str;

use super::close::Violation;

/// How much of a message is known to be good.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TextCheck {
    valid: usize,
}

impl TextCheck {
    /// Looks at a message that has grown; a character that is not whole yet is no error.
    pub(crate) fn grown(&mut self, message: &[u8]) -> Result<(), Violation> {
        match str::from_utf8(&message[self.valid..]) {
            Ok(_) => self.valid = message.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(Violation::Text),
        }
        Ok(())
    }

    /// Looks at a message that is whole.
    pub(crate) fn whole(self, message: &[u8]) -> Result<(), Violation> {
        match str::from_utf8(&message[self.valid..]) {
            Ok(_) => Ok(()),
            Err(_) => Err(Violation::Text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wrong_byte_is_found_whatever_the_pieces() {
        // The last is a surrogate, the one before beyond Unicode, the first overlong.
        for wrong in [&b"a\xc0\xaf"[..], b"\xce\xba\xf4\x90\x80\x80", b"ok\xed\xa0\x80"] {
            for step in 1..=wrong.len() {
                let mut check = TextCheck::default();
                let ends = (step..wrong.len()).step_by(step).chain([wrong.len()]);
                let failed = ends.into_iter().any(|end| check.grown(&wrong[..end]).is_err());
                assert!(failed, "{wrong:02x?} in steps of {step}");
            }
        }
        let right = "κόσμε 😀".as_bytes();
        for step in 1..=right.len() {
            let mut check = TextCheck::default();
            for end in (step..=right.len()).step_by(step) {
                assert_eq!(check.grown(&right[..end]), Ok(()));
            }
            assert_eq!(check.whole(right), Ok(()));
        }
        assert_eq!(TextCheck::default().whole(&right[..right.len() - 1]), Err(Violation::Text));
    }
}
