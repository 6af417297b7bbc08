//! Parses JSON bodies into events: finds where each event begins and ends, and then parses each of them alone.
//!
//! There is no tree of values. A value stays a slice of the body until a mapping reads it as a number, a flag or a time. A
//! malformed value that no mapping reads does no harm.

pub(crate) mod event;
mod repair;
pub(crate) mod split;

use self::event::event;
use self::split::{elements, members};
use crate::body;
use crate::error::ParseError;
use crate::fields::{Fields, Value};
use crate::items::Items;
use crate::message::Limits;

/// The member of a wrapper that contains the events.
const DATA: &str = "data";

/// How events are wrapped in the member `data` of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrapper {
    /// Members that only an event has. An object with one of them is not a wrapper.
    pub(crate) event_members: &'static [&'static str],
    /// The possible first characters of `data`.
    pub(crate) data_begins_with: &'static [u8],
}

/// Splits a body that is one event or an array of events.
///
/// # Errors
///
/// The whole body cannot be stored: its only event is bad, it is not JSON, or it has too many events.
pub(crate) fn items<'a>(body: &'a [u8], limits: &Limits) -> Result<Items<'a>, ParseError> {
    split(body::trimmed(body), limits)
}

/// The same for a body that may be a wrapper.
///
/// # Errors
///
/// As [`items`].
pub(crate) fn unwrapped_items<'a>(
    body: &'a [u8],
    wrapper: Wrapper,
    limits: &Limits,
) -> Result<Items<'a>, ParseError> {
    let text = body::trimmed(body);
    if text.first() != Some(&b'{') {
        return split(text, limits);
    }
    let item = match event(text, limits) {
        // Most bodies are one good event, which is parsed only once.
        Ok(item) if !wrapper.may_be(&item.fields) => return Ok(Items::alone(item)),
        item => item,
    };
    match wrapper.data(text) {
        Some(data) => split(data, limits),
        None => item.map(Items::alone),
    }
}

impl Wrapper {
    /// Whether an object with these members may be a wrapper.
    fn may_be(self, members: &Fields<'_>) -> bool {
        let data = members.find(DATA).map(Value::written);
        data.is_some_and(|data| self.holds_events(data.as_bytes()))
    }

    fn holds_events(self, data: &[u8]) -> bool {
        data.first().is_some_and(|first| self.data_begins_with.contains(first))
    }

    /// The text of `data`, if the object `text` is a wrapper. It need not be valid JSON, because one bad event in an array must
    /// not affect the others.
    fn data(self, text: &[u8]) -> Option<&[u8]> {
        let mut data = None;
        for (name, value) in members(text) {
            if self.event_members.iter().any(|member| member.as_bytes() == name) && !is_blank(value) {
                return None;
            }
            if name == DATA.as_bytes() {
                data = Some(value);
            }
        }
        data.filter(|data| self.holds_events(data))
    }
}

/// Whether the text of a value is `null` or an empty string.
fn is_blank(value: &[u8]) -> bool {
    let text = value.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
    value == b"null" || text.is_some_and(|text| text.trim_ascii().is_empty())
}

/// Splits text without surrounding white space. An object is one event; an array has one event for each element.
fn split<'a>(text: &'a [u8], limits: &Limits) -> Result<Items<'a>, ParseError> {
    match text.first() {
        Some(b'{') => event(text, limits).map(Items::alone),
        Some(b'[') => array(text, limits),
        Some(_) => Err(ParseError::Unparsable("neither a JSON object nor an array".to_owned())),
        None => Err(ParseError::Unparsable("the body is empty".to_owned())),
    }
}

/// The events of an array, each good or bad by itself. A defect of the array itself is one more bad event.
fn array<'a>(text: &'a [u8], limits: &Limits) -> Result<Items<'a>, ParseError> {
    let found = elements(text, limits.max_events);
    if found.count > limits.max_events {
        return Err(ParseError::TooManyEvents(found.count));
    }
    Ok(Items::array(found))
}

/// Whether the text of an object has at most so many members. Does not validate them.
pub(crate) fn has_at_most(text: &[u8], most: usize) -> bool {
    members(text).nth(most).is_none()
}
