//! Times: how they are written, and how they are judged against the moment of reception.

use std::borrow::Cow;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::fields::Value;
use crate::{Limits, Message, Timed};

/// Epochs below this are seconds: as milliseconds it would be March 1973, as seconds it is the year 5138.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;

/// Reads an epoch (seconds or milliseconds, a fraction allowed) or an ISO 8601 time, truncated to microseconds,
/// the precision of PostgreSQL.
///
/// A number that no calendar holds becomes the first or last time there is, so that it is judged like any other
/// that lies too far away.
pub(crate) fn read(text: &str) -> Option<Timestamp> {
    match text.as_bytes().first()? {
        b'-' | b'0'..=b'9' => {}
        _ => return None,
    }
    decimal_epoch(text).or_else(|| iso(text)).or_else(|| float_epoch(text)).map(truncated)
}

/// Drops what is finer than a microsecond.
fn truncated(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// `1718000000123` or `1718000000.123`, exactly.
fn decimal_epoch(text: &str) -> Option<Timestamp> {
    let (whole_text, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole_text.parse().ok()?;
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let places = if whole.abs_diff(0) < FIRST_MILLISECONDS.abs_diff(0) { 6 } else { 3 };
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(places);
    let fraction = digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let fraction = if text.starts_with('-') { -fraction } else { fraction };
    let unit = if places == 6 { 1_000_000 } else { 1_000 };
    let micros = whole.saturating_mul(unit).saturating_add(fraction);
    Some(Timestamp::from_microsecond(micros).unwrap_or_else(|_| extreme(whole > 0)))
}

/// `1.718e12`, or more digits than an integer holds.
fn float_epoch(text: &str) -> Option<Timestamp> {
    let number: f64 = text.parse().ok()?;
    if !number.is_finite() {
        return None;
    }
    let seconds = if number.abs() < 1e11 { number } else { number / 1000.0 };
    let time = SignedDuration::try_from_secs_f64(seconds).ok().and_then(|d| Timestamp::from_duration(d).ok());
    Some(time.unwrap_or_else(|| extreme(number > 0.0)))
}

/// The end of the calendar on that side.
fn extreme(future: bool) -> Timestamp {
    if future { Timestamp::MAX } else { Timestamp::MIN }
}

/// `2024-06-10T06:13:20.000Z`; one without an offset is taken for UTC.
fn iso(text: &str) -> Option<Timestamp> {
    if !text.contains('T') && !text.contains(' ') {
        return None;
    }
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let local: DateTime = text.parse().ok()?;
    TimeZone::UTC.to_timestamp(local).ok()
}

/// The times of one event, judged against the moment at which its message was received. Never against now, so
/// that a redelivery or a replay decides the same.
pub(crate) struct Clock<'a> {
    /// The observation's time as the provider wrote it; empty if there is no usable one.
    pub(crate) written: Cow<'a, str>,
    /// When the event was observed.
    pub(crate) observed_at: Timestamp,
    /// Some time was replaced because it lies too far in the future.
    pub(crate) skewed: bool,
    received_at: Timestamp,
    latest: Timestamp,
}

impl<'a> Clock<'a> {
    /// A clock that takes the first usable one of these values for the time of observation, and the moment of
    /// reception if there is none.
    pub(crate) fn new<'v>(
        message: &Message<'_>,
        limits: &Limits,
        candidates: impl IntoIterator<Item = Option<&'v Value<'a>>>,
    ) -> Self
    where
        'a: 'v,
    {
        let received_at = truncated(message.received_at);
        let latest = received_at.checked_add(limits.max_clock_skew).unwrap_or(Timestamp::MAX);
        let mut clock =
            Self { written: Cow::Borrowed(""), observed_at: received_at, skewed: false, received_at, latest };
        let mut usable = candidates.into_iter().flatten().filter_map(|value| Some((value, value.time()?)));
        if let Some((value, time)) = usable.next() {
            clock.written = value.written();
            clock.observed_at = clock.judged(time);
        }
        clock
    }

    /// The value at its own time, or at the event's if it has none. Its age is its own affair: only the event's
    /// time can sink an event.
    pub(crate) fn timed<T>(&mut self, value: Option<T>, at: Option<Timestamp>) -> Option<Timed<T>> {
        let value = value?;
        let at = at.map_or(self.observed_at, |at| self.judged(at));
        Some(Timed { value, at })
    }

    /// Whether the event was observed before everything that is kept.
    pub(crate) fn too_old(&self, limits: &Limits) -> bool {
        let oldest = self.received_at.checked_sub(limits.max_age).unwrap_or(Timestamp::MIN);
        self.observed_at < oldest
    }

    /// One future-dated fix must not freeze a vehicle until that future comes; and PostgreSQL's calendar begins later
    /// than the one times are read with, so that what lies before the epoch counts as the epoch.
    fn judged(&mut self, time: Timestamp) -> Timestamp {
        if time <= self.latest {
            return time.max(Timestamp::UNIX_EPOCH);
        }
        self.skewed = true;
        self.received_at
    }
}
