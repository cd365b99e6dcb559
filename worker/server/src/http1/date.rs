//! The Date header's format, IMF-fixdate (RFC 9110 §5.6.7), from whole seconds since 1970.

/// Length of an IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) const DATE_BYTES: usize = 29;

const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
/// The months' names in every date of HTTP and of its logs.
pub(crate) const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Writes a moment as an IMF-fixdate; beyond the year 9999, which the format cannot name, its last second.
pub(crate) fn imf_fixdate(unix_seconds: u64) -> [u8; DATE_BYTES] {
    const LAST_SECOND: u64 = 253_402_300_799;
    let unix_seconds = unix_seconds.min(LAST_SECOND);
    let civil = CivilTime::of(unix_seconds);
    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    date[..3].copy_from_slice(WEEKDAYS[(unix_seconds / SECONDS_OF_DAY % 7) as usize]);
    two_digits(&mut date[5..7], civil.day);
    date[8..11].copy_from_slice(MONTHS[(civil.month - 1) as usize]);
    two_digits(&mut date[12..14], civil.year / 100);
    two_digits(&mut date[14..16], civil.year % 100);
    two_digits(&mut date[17..19], civil.hour);
    two_digits(&mut date[20..22], civil.minute);
    two_digits(&mut date[23..25], civil.second);
    date
}

const SECONDS_OF_DAY: u64 = 86_400;

/// A moment as calendar and clock show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CivilTime {
    pub(crate) year: u64,
    /// 1 to 12.
    pub(crate) month: u64,
    /// 1 to 31.
    pub(crate) day: u64,
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) second: u64,
}

impl CivilTime {
    /// The moment so many seconds after 1970-01-01T00:00:00.
    pub(crate) fn of(seconds: u64) -> Self {
        let (days, seconds) = (seconds / SECONDS_OF_DAY, seconds % SECONDS_OF_DAY);
        let (year, month, day) = civil_from_days(days);
        Self { year, month, day, hour: seconds / 3600, minute: seconds / 60 % 60, second: seconds % 60 }
    }
}

fn two_digits(place: &mut [u8], number: u64) {
    place[0] = b'0' + (number / 10) as u8;
    place[1] = b'0' + (number % 10) as u8;
}

/// Year, month and day of a day counted from 1970-01-01, by counting years that begin in March: the leap day is then the last
/// of its year, and the months' lengths repeat every five (153 days).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01, in eras of 400 years, which are all 146,097 days long.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let known: [(u64, &[u8; DATE_BYTES]); 6] = [
            (0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, b"Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, b"Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_164_799, b"Wed, 28 Feb 2024 23:59:59 GMT"),
            (4_107_542_400, b"Mon, 01 Mar 2100 00:00:00 GMT"),
            (u64::MAX, b"Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (seconds, date) in known {
            assert_eq!(imf_fixdate(seconds).escape_ascii().to_string(), date.escape_ascii().to_string());
        }
    }
}
