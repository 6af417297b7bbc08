//! Reads JSON bodies into events, in one pass for what the database could not hold and one per level for what
//! the mapping asks for.
//!
//! Nothing is turned into a tree: a value stays the slice of the body it is until it is asked for as a number,
//! a flag or a time, so that a value nobody asks for can be as odd as it likes.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::fields::{Fields, Item, Items, Value};
use crate::{Limits, ParseError};

/// White space between JSON tokens.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// Splits a body that is one event or an array of events.
pub(crate) fn items<'a>(body: &'a [u8], limits: &Limits) -> Result<Items<'a>, ParseError> {
    let text = std::str::from_utf8(body).map_err(|_| ParseError::InvalidUtf8)?;
    scan(text, limits.max_depth)?;
    split(trimmed(text), limits)
}

/// Reads text that is one event, and never looks for events inside of it.
pub(crate) fn event<'a>(text: &'a str, limits: &Limits) -> Result<Item<'a>, ParseError> {
    scan(text, limits.max_depth)?;
    Ok(Item { raw: Cow::Borrowed(text), fields: object(text)? })
}

/// The text without white space around it.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches(BLANKS)
}

/// Splits JSON text that has been scanned: an object is one event, an array as many as it has elements.
pub(crate) fn split<'a>(text: &'a str, limits: &Limits) -> Result<Items<'a>, ParseError> {
    match text.as_bytes().first() {
        Some(b'{') => Ok(vec![Ok(Item { raw: Cow::Borrowed(text), fields: object(text)? })]),
        Some(b'[') => {
            let (elements, count) = elements(text, limits.max_events).map_err(|error| unparsable(&error))?;
            if count > limits.max_events {
                return Err(ParseError::TooManyEvents(count));
            }
            Ok(elements.into_iter().map(element).collect())
        }
        Some(_) => Err(ParseError::Unparsable("neither a JSON object nor an array".to_owned())),
        None => Err(ParseError::Unparsable("the body is empty".to_owned())),
    }
}

/// The first `most` elements of an array, and how many it has. What is refused anyway takes no memory.
fn elements(text: &str, most: usize) -> serde_json::Result<(Vec<&RawValue>, usize)> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = deserializer.deserialize_seq(Elements { most })?;
    deserializer.end()?;
    Ok(found)
}

/// Collects an array's first elements and counts the others.
struct Elements {
    most: usize,
}

impl<'de> Visitor<'de> for Elements {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < self.most {
            let Some(element) = array.next_element()? else {
                let count = elements.len();
                return Ok((elements, count));
            };
            elements.push(element);
        }
        let mut count = elements.len();
        while array.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((elements, count))
    }
}

/// One element of an array: whatever it is, it does not sink its neighbours.
fn element(raw: &RawValue) -> Result<Item<'_>, ParseError> {
    let text = raw.get();
    if !text.starts_with('{') {
        return Err(ParseError::Unparsable("the event is not a JSON object".to_owned()));
    }
    Ok(Item { raw: Cow::Borrowed(text), fields: object(text)? })
}

/// The members of a JSON object, repeated names included.
pub(crate) fn object(text: &str) -> Result<Fields<'_>, ParseError> {
    if !text.starts_with('{') {
        return Err(ParseError::Unparsable("not a JSON object".to_owned()));
    }
    serde_json::from_str(text).map_err(|error| unparsable(&error))
}

/// Only syntax errors get here, and their text quotes nothing of the body.
fn unparsable(error: &serde_json::Error) -> ParseError {
    ParseError::Unparsable(error.to_string())
}

/// Refuses what would be harmful even where no mapping ever looks: deep nesting, and the two escapes that
/// PostgreSQL's `json` stores but cannot read back.
fn scan(text: &str, max_depth: usize) -> Result<(), ParseError> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        index += 1;
        match byte {
            b'"' => index = string_end(bytes, index)?,
            b'{' | b'[' => {
                depth += 1;
                if depth > max_depth {
                    return Err(ParseError::TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// The index behind the closing quote of the string whose first character is at `index`.
fn string_end(bytes: &[u8], mut index: usize) -> Result<usize, ParseError> {
    while let Some(byte) = bytes.get(index) {
        match byte {
            b'"' => return Ok(index + 1),
            b'\\' => index = escape_end(bytes, index + 1)?,
            _ => index += 1,
        }
    }
    Ok(index)
}

/// The index behind the escape whose backslash is just before `index`. A malformed one is left to the parser.
fn escape_end(bytes: &[u8], index: usize) -> Result<usize, ParseError> {
    if bytes.get(index) != Some(&b'u') {
        return Ok(index + 1);
    }
    match code_unit(bytes, index + 1) {
        None => Ok(index + 1),
        Some(0 | 0xDC00..=0xDFFF) => Err(ParseError::InvalidCharacter),
        Some(0xD800..=0xDBFF) => {
            let low = bytes.get(index + 5..index + 7).filter(|next| *next == b"\\u");
            match low.and_then(|_| code_unit(bytes, index + 7)) {
                Some(0xDC00..=0xDFFF) => Ok(index + 11),
                Some(_) | None => Err(ParseError::InvalidCharacter),
            }
        }
        Some(_) => Ok(index + 5),
    }
}

/// The four hexadecimal digits at `index`.
fn code_unit(bytes: &[u8], index: usize) -> Option<u32> {
    let digits = bytes.get(index..index + 4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

/// A member's name; borrowed unless it is written with escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

/// Collects an object's members without judging them.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Fields<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(16);
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            members.push((name, Value::Json(value.get())));
        }
        Ok(Fields(members))
    }
}
