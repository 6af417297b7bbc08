//! Reads `application/x-www-form-urlencoded` bodies. Invalid UTF-8 is refused, because a signature covers the decoded values.
//! U+0000 is replaced after the signature was checked.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2};
use percent_encoding::percent_decode_str;

use crate::body;
use crate::error::ParseError;
use crate::fields::{Fields, Item, Value};
use crate::items::Items;
use crate::json::event::event;
use crate::message::Limits;

/// Replaces U+0000, which PostgreSQL cannot store.
const REPLACEMENT: &str = "\u{fffd}";
/// The media type of JSON.
const JSON: &str = "application/json";

/// Most parameters for which memory is reserved in advance: an unauthenticated client may send a form of `&` only.
const USUAL_PAIRS: usize = 64;

/// A decoded parameter.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Whether to read the body as a form. A body that begins with a bracket is JSON, whatever its media type is. A body with a
/// parameter is a form. For any other body the media type decides.
pub(crate) fn is_form(content_type: Option<&str>, body: &[u8]) -> bool {
    if body::is_json(body) {
        return false;
    }
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    memchr(b'=', body).is_some() || !media_type.eq_ignore_ascii_case(JSON)
}

/// The event of a form. Its raw text is a JSON object of the decoded strings in the order received, with U+FFFD in place of
/// U+0000, which PostgreSQL cannot store.
pub(crate) fn items<'a>(body: &'a [u8], limits: &Limits) -> Result<Items<'a>, ParseError> {
    if limits.max_events == 0 {
        return Err(ParseError::TooManyEvents(1));
    }
    let mut pairs = pairs(body)?;
    if pairs.is_empty() {
        return Err(ParseError::Unparsable("the form is empty".to_owned()));
    }
    // Without an escape or a U+0000 in the body, there is no U+0000 in the decoded parameters.
    let is_repaired = memchr2(b'%', b'\0', body).is_some() && repair(&mut pairs);
    let raw = Cow::Owned(json_text(&pairs)?);
    let fields = Fields(pairs.into_iter().map(|(name, value)| (name, Value::Text(value))).collect());
    Ok(Items::alone(Item { raw, fields, is_repaired }))
}

/// Replaces U+0000, which PostgreSQL cannot store. Returns whether there was any.
fn repair(pairs: &mut [Pair<'_>]) -> bool {
    let mut is_repaired = false;
    for text in pairs.iter_mut().flat_map(|(name, value)| [name, value]) {
        if text.contains('\0') {
            *text = Cow::Owned(text.replace('\0', REPLACEMENT));
            is_repaired = true;
        }
    }
    is_repaired
}

/// The event of which [`items`] made this JSON text. `None` if one of its values is not a string: then it was not a form.
pub(crate) fn kept<'a>(raw: &'a str, limits: &Limits) -> Option<Item<'a>> {
    let Item { raw, fields: Fields(members), is_repaired } = event(raw.as_bytes(), limits).ok()?;
    let text = |(name, value): (_, Value<'a>)| {
        let is_string = !matches!(value, Value::Json(ref json) if !json.starts_with('"'));
        is_string.then(|| value.text()).flatten().map(|text| (name, Value::Text(text)))
    };
    let pairs: Option<_> = members.into_iter().map(text).collect();
    Some(Item { raw, fields: Fields(pairs?), is_repaired })
}

/// The form's parameters in the order received, repeated names included.
pub(crate) fn pairs(body: &[u8]) -> Result<Vec<Pair<'_>>, ParseError> {
    let body = body::trimmed(body);
    let text = std::str::from_utf8(body).map_err(|_| ParseError::InvalidUtf8)?;
    let is_plain = memchr2(b'+', b'%', body).is_none();
    let mut pairs = Vec::with_capacity(USUAL_PAIRS.min(1 + memchr_iter(b'&', body).count()));
    let mut start = 0;
    for end in memchr_iter(b'&', body).chain([body.len()]) {
        // Both ends are at ASCII characters.
        let pair = text.get(start..end).unwrap_or_default();
        start = end + 1;
        let (name, value) = match memchr(b'=', pair.as_bytes()) {
            Some(middle) => (&pair[..middle], &pair[middle + 1..]),
            None if pair.is_empty() => continue,
            None => (pair, ""),
        };
        pairs.push(if is_plain {
            (Cow::Borrowed(name), Cow::Borrowed(value))
        } else {
            (decode(name)?, decode(value)?)
        });
    }
    Ok(pairs)
}

/// Whether the form has at most so many parameters, empty ones included. Decodes nothing.
pub(crate) fn has_at_most(body: &[u8], parameters: usize) -> bool {
    memchr_iter(b'&', body).nth(parameters.saturating_sub(1)).is_none()
}

/// Decodes `+` and `%XX`. A `%` that begins no escape stays, as in browsers.
fn decode(text: &str) -> Result<Cow<'_, str>, ParseError> {
    if memchr(b'+', text.as_bytes()).is_none() {
        return percent_decode_str(text).decode_utf8().map_err(|_| ParseError::InvalidUtf8);
    }
    // Replace `+` first: an escape may stand for one.
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| ParseError::InvalidUtf8)?;
    Ok(Cow::Owned(decoded.into_owned()))
}

/// A JSON object of strings.
fn json_text(pairs: &[Pair<'_>]) -> Result<String, ParseError> {
    use serde::ser::{SerializeMap, Serializer};

    let mut text = Vec::with_capacity(512);
    let mut serializer = serde_json::Serializer::new(&mut text);
    let written = serializer.serialize_map(Some(pairs.len())).and_then(|mut map| {
        pairs.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    });
    written.map_err(|error| ParseError::Unparsable(error.to_string()))?;
    String::from_utf8(text).map_err(|_| ParseError::InvalidUtf8)
}
