//! Times on the command line.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Reads RFC 3339, or a date, which means its first moment in UTC.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let midnight = || text.parse::<Date>().and_then(|date| date.to_zoned(TimeZone::UTC));
    // Tell a date by its length: the parser of dates would also accept a time, and ignore its hours.
    let date = text.len() == "2026-01-31".len();
    let time = if date { midnight().map(|midnight| midnight.timestamp()) } else { text.parse() };
    time.map_err(|error| {
        format!("{error}; write 2026-01-31T12:00:00Z, or 2026-01-31 for its first moment in UTC")
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn times_and_dates_are_read() {
        for (text, time) in [
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31T12:00:00.5+02:00", "2026-01-31T10:00:00.5Z"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), time);
        }
    }

    #[test]
    fn what_is_neither_says_what_to_write() {
        for text in
            ["", "yesterday", "2026-02-30", "2026-1-31", "20260131", "2026-01-31T12:00:00", "1769860800"]
        {
            let error = parse(text).unwrap_err();
            assert!(error.contains("write 2026-01-31T12:00:00Z"), "{text}: {error}");
        }
    }
}
