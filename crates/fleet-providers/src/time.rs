//! Times, as senders write them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The size of an epoch tells its unit: below these bounds it is in seconds, milliseconds or microseconds, above the last one in
/// nanoseconds. In the finer unit each bound is in March 1973, in the coarser one in the year 5138.
const UNITS: [(i128, i128); 3] =
    [(100_000_000_000, 1), (100_000_000_000_000, 1_000), (100_000_000_000_000_000, 1_000_000)];

/// Nanoseconds in a second.
const NANOS: i128 = 1_000_000_000;

/// Times that senders use for "no time": the epoch, and the first moment of .NET's and Go's calendars.
const NO_TIMES: [i64; 2] = [0, -62_135_596_800];

/// The same as numbers, the second one in seconds and in milliseconds; and −1.
const NO_EPOCHS: [i128; 4] = [0, -1, -62_135_596_800, -62_135_596_800_000];

/// MySQL's notation for "no date".
const ZERO_DATE: &str = "0000-00-00";

/// Reads an epoch (seconds, milliseconds, microseconds or nanoseconds, a fraction allowed) or an ISO 8601 time, truncated
/// to microseconds, the precision of PostgreSQL. The outer option is `None` if the text cannot be parsed, the inner one
/// if it stands for "no time": 0, −1, or the first moment of a calendar.
///
/// A number beyond the calendar becomes the first or last possible time, which is implausible as any other time so far away.
pub(crate) fn read(text: &str) -> Option<Option<Timestamp>> {
    match text.as_bytes().first()? {
        b'-' | b'0'..=b'9' => {}
        _ => return None,
    }
    if let Some(epoch) = decimal_epoch(text).or_else(|| float_epoch(text)) {
        return Some(epoch.map(truncated));
    }
    iso(text).map(|time| time.map(truncated))
}

/// Truncates to milliseconds, as an envelope does. The digits below are used for an event's place in its message.
pub(crate) fn to_millisecond(time: Timestamp) -> Timestamp {
    let micros = time.as_microsecond();
    Timestamp::from_microsecond(micros - micros.rem_euclid(1_000)).unwrap_or(time)
}

/// Truncates to microseconds.
fn truncated(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// `1718000000123` or `1718000000.123`, exactly.
fn decimal_epoch(text: &str) -> Option<Option<Timestamp>> {
    let (whole_text, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i128 = whole_text.parse::<i64>().ok()?.into();
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    if NO_EPOCHS.contains(&whole) && fraction.bytes().all(|digit| digit == b'0') {
        return Some(None);
    }
    let per_second = units_per_second(whole.unsigned_abs());
    let per_unit = NANOS / per_second;
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let billionths = digits.fold(0, |sum, digit| sum * 10 + i128::from(digit - b'0'));
    let fraction = billionths * per_unit / NANOS;
    let nanos = whole * per_unit + if text.starts_with('-') { -fraction } else { fraction };
    Some(Some(at(nanos)))
}

/// `1.718e12`, or a number with more digits than an integer can hold.
fn float_epoch(text: &str) -> Option<Option<Timestamp>> {
    let number: f64 = text.parse().ok()?;
    if !number.is_finite() {
        return None;
    }
    if number == 0.0 {
        return Some(None);
    }
    #[expect(clippy::cast_possible_truncation, reason = "what is too large becomes the largest")]
    let whole = number as i128;
    let per_second = units_per_second(whole.unsigned_abs());
    #[expect(clippy::cast_precision_loss, reason = "a power of ten")]
    let seconds = number / per_second as f64;
    let time = SignedDuration::try_from_secs_f64(seconds).ok().and_then(|d| Timestamp::from_duration(d).ok());
    Some(Some(time.unwrap_or_else(|| extreme(number > 0.0))))
}

fn units_per_second(number: u128) -> i128 {
    let unit = UNITS.into_iter().find(|(bound, _)| number < bound.unsigned_abs());
    unit.map_or(NANOS, |(_, per_second)| per_second)
}

fn at(nanos: i128) -> Timestamp {
    Timestamp::from_nanosecond(nanos).unwrap_or_else(|_| extreme(nanos > 0))
}

/// The first or last time of the calendar.
fn extreme(future: bool) -> Timestamp {
    if future { Timestamp::MAX } else { Timestamp::MIN }
}

/// `2024-06-10T06:13:20.000Z`, also in lower case, or with white space instead of the `T` or before the offset. Without an
/// offset it is UTC.
fn iso(text: &str) -> Option<Option<Timestamp>> {
    if text.starts_with(ZERO_DATE) {
        return Some(None);
    }
    if !text.contains(['T', 't', ' ']) {
        return None;
    }
    let time = strict_iso(text).or_else(|| strict_iso(&usual_notation(text)))?;
    Some((!NO_TIMES.contains(&time.as_second()) || time.subsec_nanosecond() != 0).then_some(time))
}

fn strict_iso(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let local: DateTime = text.parse().ok()?;
    TimeZone::UTC.to_timestamp(local).ok()
}

/// The text in upper case, with `Z` for `UTC` and `GMT`, and without white space before the offset.
fn usual_notation(text: &str) -> String {
    let mut text = text.to_ascii_uppercase();
    for name in ["UTC", "GMT"] {
        if let Some(clock) = text.strip_suffix(name) {
            text = format!("{}Z", clock.trim_end());
        }
    }
    match text.rsplit_once(' ') {
        Some((clock, offset)) if offset.starts_with(['+', '-', 'Z']) => format!("{clock}{offset}"),
        Some(_) | None => text,
    }
}
