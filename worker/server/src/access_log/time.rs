//! Local time as logs write it: Apache's form and RFC 3339's. Knows no clock and no time zone but the offset that it is given.

use crate::http1::date::{CivilTime, MONTHS};

/// A moment as a clock on the wall shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub unix_ms: u64,
    /// What the local clock is ahead of UTC, in seconds.
    pub utc_offset_seconds: i32,
}

/// Length of `[25/Nov/2026:19:01:39 +0000]`.
pub(super) const COMMON_LOG_BYTES: usize = 28;
/// Length of `2026-11-25T19:01:39.123+00:00`.
pub(super) const RFC_3339_BYTES: usize = 29;

impl LocalTime {
    fn civil(self) -> CivilTime {
        let seconds = (self.unix_ms / 1_000).saturating_add_signed(self.utc_offset_seconds.into());
        CivilTime::of(seconds)
    }

    /// Sign, hours and minutes of the offset.
    fn offset(self) -> (u8, u64, u64) {
        let minutes = u64::from(self.utc_offset_seconds.unsigned_abs() / 60);
        (if self.utc_offset_seconds < 0 { b'-' } else { b'+' }, minutes / 60, minutes % 60)
    }

    /// `[25/Nov/2026:19:01:39 +0000]`
    pub(super) fn append_common_log(self, out: &mut Vec<u8>) {
        let civil = self.civil();
        let (sign, hours, minutes) = self.offset();
        out.push(b'[');
        append_digits::<2>(out, civil.day);
        out.push(b'/');
        out.extend_from_slice(MONTHS[(civil.month - 1) as usize]);
        out.push(b'/');
        append_digits::<4>(out, civil.year);
        out.push(b':');
        append_clock(out, &civil);
        out.push(b' ');
        out.push(sign);
        append_digits::<2>(out, hours);
        append_digits::<2>(out, minutes);
        out.push(b']');
    }

    /// `2026-11-25T19:01:39.123+00:00`
    pub(super) fn append_rfc_3339(self, out: &mut Vec<u8>) {
        let civil = self.civil();
        let (sign, hours, minutes) = self.offset();
        append_digits::<4>(out, civil.year);
        out.push(b'-');
        append_digits::<2>(out, civil.month);
        out.push(b'-');
        append_digits::<2>(out, civil.day);
        out.push(b'T');
        append_clock(out, &civil);
        out.push(b'.');
        append_digits::<3>(out, self.unix_ms % 1_000);
        out.push(sign);
        append_digits::<2>(out, hours);
        out.push(b':');
        append_digits::<2>(out, minutes);
    }
}

fn append_clock(out: &mut Vec<u8>, civil: &CivilTime) {
    append_digits::<2>(out, civil.hour);
    out.push(b':');
    append_digits::<2>(out, civil.minute);
    out.push(b':');
    append_digits::<2>(out, civil.second);
}

/// Appends the last `N` decimal digits.
pub(super) fn append_digits<const N: usize>(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::{COMMON_LOG_BYTES, LocalTime, RFC_3339_BYTES};

    fn written(time: LocalTime) -> (String, String) {
        let (mut common, mut rfc) = (Vec::new(), Vec::new());
        time.append_common_log(&mut common);
        time.append_rfc_3339(&mut rfc);
        assert_eq!((common.len(), rfc.len()), (COMMON_LOG_BYTES, RFC_3339_BYTES));
        (String::from_utf8(common).expect("ASCII"), String::from_utf8(rfc).expect("ASCII"))
    }

    #[test]
    fn local_time_is_utc_and_its_offset() {
        for (unix_ms, utc_offset_seconds, common, rfc) in [
            (0, 0, "[01/Jan/1970:00:00:00 +0000]", "1970-01-01T00:00:00.000+00:00"),
            (784_111_777_042, 0, "[06/Nov/1994:08:49:37 +0000]", "1994-11-06T08:49:37.042+00:00"),
            (1_709_164_799_999, 3_600, "[29/Feb/2024:00:59:59 +0100]", "2024-02-29T00:59:59.999+01:00"),
            (1_709_251_200_000, -12_600, "[29/Feb/2024:20:30:00 -0330]", "2024-02-29T20:30:00.000-03:30"),
            (1_709_251_200_000, 20_700, "[01/Mar/2024:05:45:00 +0545]", "2024-03-01T05:45:00.000+05:45"),
        ] {
            let (is_common, is_rfc) = written(LocalTime { unix_ms, utc_offset_seconds });
            assert_eq!((is_common.as_str(), is_rfc.as_str()), (common, rfc));
        }
    }
}
