//! Named values as they stand in a body, and the lenient readers every mapping shares.
//!
//! A reader answers `None` for a value that is missing, of the wrong type or not finite: such an attribute is
//! absent, and the rest of the event applies.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::{ParseError, json, time};

/// One event of a message, before it is mapped.
pub(crate) struct Item<'a> {
    /// The event alone, as JSON text.
    pub(crate) raw: Cow<'a, str>,
    /// Its members.
    pub(crate) fields: Fields<'a>,
}

/// The events of a message; one that cannot be read does not sink the others.
pub(crate) type Items<'a> = Vec<Result<Item<'a>, ParseError>>;

/// The members of an object or of a form, in the order received, repeated names included.
#[derive(Default)]
pub(crate) struct Fields<'a>(pub(crate) Vec<(Cow<'a, str>, Value<'a>)>);

/// A value nobody has interpreted yet.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    /// The text of one JSON value, without white space around it.
    Json(&'a str),
    /// A decoded form value.
    Text(Cow<'a, str>),
}

impl<'a> Fields<'a> {
    /// The member of that name; of a repeated name the last, as most JSON readers do.
    pub(crate) fn find(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The member's text; numbers as written. A blank one is as good as none.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.find(name)?.text().filter(|text| !text.trim().is_empty())
    }

    /// The member as a finite number.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.find(name)?.number()
    }

    /// The member as a flag.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.find(name)?.flag()
    }

    /// The member as a point in time.
    pub(crate) fn time(&self, name: &str) -> Option<Timestamp> {
        self.find(name)?.time()
    }

    /// The members of the object that this member is.
    pub(crate) fn object(&self, name: &str) -> Option<Fields<'a>> {
        self.find(name)?.object()
    }
}

impl<'a> Value<'a> {
    /// The value as its sender wrote it, quotes and all.
    pub(crate) fn written(&self) -> Cow<'a, str> {
        match self {
            Self::Json(text) => Cow::Borrowed(text),
            Self::Text(text) => text.clone(),
        }
    }

    /// The text of a string, or of a number as written; flags, `null`, arrays and objects have none.
    pub(crate) fn text(&self) -> Option<Cow<'a, str>> {
        let json = match self {
            Self::Text(text) => return Some(text.clone()),
            Self::Json(json) => *json,
        };
        match json.as_bytes().first()? {
            b'"' => string(json),
            b'-' | b'0'..=b'9' => Some(Cow::Borrowed(json)),
            _ => None,
        }
    }

    /// A finite number, also one written as a string.
    pub(crate) fn number(&self) -> Option<f64> {
        let number: f64 = self.text()?.trim().parse().ok()?;
        // Adding zero turns -0.0 into 0.0, which would otherwise compare equal and still be stored differently.
        number.is_finite().then_some(number + 0.0)
    }

    /// `true`, `1`, `false` or `0`, also written as a string; anything else, such as `""`, says nothing.
    pub(crate) fn flag(&self) -> Option<bool> {
        match self {
            Self::Json("true") => return Some(true),
            Self::Json("false") => return Some(false),
            Self::Json(_) | Self::Text(_) => {}
        }
        let text = self.text()?;
        match text.trim() {
            "1" => Some(true),
            "0" => Some(false),
            word if word.eq_ignore_ascii_case("true") => Some(true),
            word if word.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// A point in time: an epoch in seconds or milliseconds, or ISO 8601; see [`time::read`].
    pub(crate) fn time(&self) -> Option<Timestamp> {
        time::read(self.text()?.trim())
    }

    /// The members of a JSON object.
    pub(crate) fn object(&self) -> Option<Fields<'a>> {
        match self {
            Self::Json(text) => json::object(text).ok(),
            Self::Text(_) => None,
        }
    }
}

/// The content of a JSON string, borrowed unless it has escapes.
fn string(json: &str) -> Option<Cow<'_, str>> {
    if json.contains('\\') {
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    json.strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed)
}
