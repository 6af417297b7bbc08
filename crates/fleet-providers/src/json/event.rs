//! Reads one event.

use std::borrow::Cow;

use super::repair::{Condition, examine, repaired};
use crate::error::ParseError;
use crate::fields::{Fields, Item};
use crate::message::Limits;

/// Parses text that is one event, without searching for events inside it. Replaces a character that cannot be stored with
/// U+FFFD.
///
/// # Errors
///
/// [`ParseError::Unparsable`] or [`ParseError::TooDeep`].
pub(crate) fn event<'a>(text: &'a [u8], limits: &Limits) -> Result<Item<'a>, ParseError> {
    let text = std::str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed);
    let text = match examine(&text, limits.max_depth)? {
        Condition::Sound => text,
        Condition::Damaged => Cow::Owned(repaired(&text)),
    };
    match text {
        Cow::Borrowed(text) => {
            Ok(Item { raw: Cow::Borrowed(text), fields: Fields::from_json(text)?, is_repaired: false })
        }
        Cow::Owned(text) => {
            let fields = Fields::from_json(&text)?.into_owned();
            Ok(Item { raw: Cow::Owned(text), fields, is_repaired: true })
        }
    }
}
