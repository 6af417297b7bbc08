//! Reads JSON bodies into events: where they begin and end is looked for first, and then each is judged alone.
//!
//! Nothing is turned into a tree: a value stays the slice of the body it is until it is asked for as a number,
//! a flag or a time, so that a value nobody asks for can be as odd as it likes.

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

/// The member that holds the events of an answer's envelope.
const DATA: &str = "data";

/// How events stand in a member `data` of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrapper {
    /// Members that only an event has: an object with one of them is no wrapper.
    pub(crate) event_members: &'static [&'static str],
    /// What the text of `data` begins with.
    pub(crate) data_begins_with: &'static [u8],
}

/// Splits a body that is one event or an array of events.
///
/// # Errors
///
/// What makes the whole body one thing that cannot be stored: the only event is bad, it is no JSON, or there are too many
/// events.
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
        // Most bodies are one good event, which needs no second look.
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

    /// The text of `data`, if the object `text` is a wrapper. It need not be good JSON: one bad event in an array must not
    /// hide the others.
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

/// Splits text without white space around it: an object is one event, an array as many as it has elements.
fn split<'a>(text: &'a [u8], limits: &Limits) -> Result<Items<'a>, ParseError> {
    match text.first() {
        Some(b'{') => event(text, limits).map(Items::alone),
        Some(b'[') => array(text, limits),
        Some(_) => Err(ParseError::Unparsable("neither a JSON object nor an array".to_owned())),
        None => Err(ParseError::Unparsable("the body is empty".to_owned())),
    }
}

/// The events of an array, each good or bad by itself. If the array has a defect, that is one more bad event.
fn array<'a>(text: &'a [u8], limits: &Limits) -> Result<Items<'a>, ParseError> {
    let found = elements(text, limits.max_events);
    if found.count > limits.max_events {
        return Err(ParseError::TooManyEvents(found.count));
    }
    Ok(Items::array(found))
}

/// Whether the text of an object has at most so many members. None of them is judged.
pub(crate) fn has_at_most(text: &[u8], most: usize) -> bool {
    members(text).nth(most).is_none()
}
