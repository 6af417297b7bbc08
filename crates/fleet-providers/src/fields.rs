//! Named values of a body, and the lenient readers that every mapping uses.
//!
//! A reader distinguishes an absent value (missing, `null` or blank) from one that is present and not understood. In both cases
//! the attribute is absent and the rest of the event applies, but only the second case is counted.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::drop_reason::DropReason;
use crate::error::ParseError;
use crate::reading::Reading;
use crate::time;

/// One event of a message, before it is mapped.
#[derive(Clone, Debug)]
pub(crate) struct Item<'a> {
    /// The event as JSON text.
    pub(crate) raw: Cow<'a, str>,
    /// Its members.
    pub(crate) fields: Fields<'a>,
    /// Whether a character could not be stored and was replaced with U+FFFD.
    pub(crate) is_repaired: bool,
}

/// The members of an object or of a form, in the order received, repeated names included.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fields<'a>(pub(crate) Vec<(Cow<'a, str>, Value<'a>)>);

/// A value that is not interpreted yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// The text of one JSON value, without surrounding white space.
    Json(Cow<'a, str>),
    /// A decoded form value.
    Text(Cow<'a, str>),
}

/// A range check: the value in the unit of its column, or why it is not used.
pub(crate) type Check<T> = fn(f64) -> Result<T, DropReason>;

impl<'a> Fields<'a> {
    /// The members of a JSON object, repeated names included.
    ///
    /// # Errors
    ///
    /// [`ParseError::Unparsable`].
    pub(crate) fn from_json(text: &'a str) -> Result<Self, ParseError> {
        if !text.starts_with('{') {
            return Err(ParseError::Unparsable("not a JSON object".to_owned()));
        }
        // Only syntax errors are possible here, and their text quotes nothing from the body.
        serde_json::from_str(text).map_err(|error| ParseError::Unparsable(error.to_string()))
    }

    /// The member of that name. Of a repeated name, the last one, as in most JSON parsers.
    pub(crate) fn find(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The member's text; a number as written. `None` if it is blank.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.find(name)?.text().filter(|text| !text.trim().is_empty())
    }

    /// The member as a number that passes a check.
    pub(crate) fn number<T>(&self, name: &str, check: Check<T>) -> Reading<'a, T> {
        self.find(name).map_or(Reading::Absent, |value| value.number(check))
    }

    /// The member as a flag.
    pub(crate) fn flag(&self, name: &str) -> Reading<'a, bool> {
        self.find(name).map_or(Reading::Absent, Value::flag)
    }

    /// The member as one of two words.
    pub(crate) fn word(&self, name: &str, yes: &str, no: &str) -> Reading<'a, bool> {
        self.find(name).map_or(Reading::Absent, |value| value.word(yes, no))
    }

    /// The member as an object.
    pub(crate) fn object(&self, name: &str) -> Reading<'a, Self> {
        self.find(name).map_or(Reading::Absent, Value::object)
    }

    /// The same, with owned texts.
    pub(crate) fn into_owned<'b>(self) -> Fields<'b> {
        let owned = |(name, value): (Cow<'a, str>, Value<'a>)| {
            let value = match value {
                Value::Json(text) => Value::Json(Cow::Owned(text.into_owned())),
                Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            };
            (Cow::Owned(name.into_owned()), value)
        };
        Fields(self.0.into_iter().map(owned).collect())
    }
}

impl<'a> Value<'a> {
    /// The value as the sender wrote it, with quotation marks.
    pub(crate) fn written(&self) -> Cow<'a, str> {
        match self {
            Self::Json(text) | Self::Text(text) => text.clone(),
        }
    }

    /// The text of a string, or a number as written. `None` for flags, `null`, arrays and objects.
    pub(crate) fn text(&self) -> Option<Cow<'a, str>> {
        let json = match self {
            Self::Text(text) => return Some(text.clone()),
            Self::Json(json) => json,
        };
        match json.as_bytes().first()? {
            b'"' => string(json),
            b'-' | b'0'..=b'9' => Some(json.clone()),
            _ => None,
        }
    }

    /// A finite number that passes a check. It may be written as a string.
    pub(crate) fn number<T>(&self, check: Check<T>) -> Reading<'a, T> {
        self.read(|text| {
            let number: f64 = text.parse().map_err(|_| DropReason::NotUnderstood)?;
            if !number.is_finite() {
                return Err(DropReason::OutOfRange);
            }
            // Adding zero turns -0.0 into 0.0. The two compare equal, but would be stored differently.
            check(number + 0.0)
        })
    }

    /// `true`, `1`, `false` or `0`. It may be written as a string.
    pub(crate) fn flag(&self) -> Reading<'a, bool> {
        match self {
            Self::Json(json) if json == "true" => return Reading::Known(true),
            Self::Json(json) if json == "false" => return Reading::Known(false),
            Self::Json(_) | Self::Text(_) => {}
        }
        self.read(|text| match text {
            "1" => Ok(true),
            "0" => Ok(false),
            word if word.eq_ignore_ascii_case("true") => Ok(true),
            word if word.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(DropReason::NotUnderstood),
        })
    }

    /// A flag written as one of two words.
    pub(crate) fn word(&self, yes: &str, no: &str) -> Reading<'a, bool> {
        self.read(|text| {
            if text.eq_ignore_ascii_case(yes) {
                return Ok(true);
            }
            if text.eq_ignore_ascii_case(no) { Ok(false) } else { Err(DropReason::NotUnderstood) }
        })
    }

    /// A point in time; see [`time::read`]. A value that stands for "no time" is absent.
    pub(crate) fn time(&self) -> Reading<'a, Timestamp> {
        let written = self.read(|text| time::read(text).ok_or(DropReason::TimeNotUnderstood));
        match written {
            Reading::Known(Some(time)) => Reading::Known(time),
            Reading::Known(None) | Reading::Absent => Reading::Absent,
            Reading::Dropped(_, written) => Reading::Dropped(DropReason::TimeNotUnderstood, written),
        }
    }

    /// The members of a JSON object.
    pub(crate) fn object(&self) -> Reading<'a, Fields<'a>> {
        let members = match self {
            Self::Json(Cow::Borrowed(text)) => Fields::from_json(text).ok(),
            Self::Json(Cow::Owned(text)) => Fields::from_json(text).ok().map(Fields::into_owned),
            Self::Text(_) => None,
        };
        match members {
            Some(members) => Reading::Known(members),
            None if self.is_blank() => Reading::Absent,
            None => self.dropped(DropReason::NotUnderstood),
        }
    }

    /// Applies `read` to the value's text without surrounding white space. A value without a text is not understood, unless it
    /// is blank.
    fn read<T>(&self, read: impl FnOnce(&str) -> Result<T, DropReason>) -> Reading<'a, T> {
        let Some(text) = self.text() else {
            return if self.is_blank() { Reading::Absent } else { self.dropped(DropReason::NotUnderstood) };
        };
        let text = text.trim();
        if text.is_empty() {
            return Reading::Absent;
        }
        match read(text) {
            Ok(value) => Reading::Known(value),
            Err(reason) => self.dropped(reason),
        }
    }

    /// Whether it is `null`, or a text of white space only.
    fn is_blank(&self) -> bool {
        match self {
            Self::Json(json) if json == "null" => true,
            Self::Json(_) | Self::Text(_) => self.text().is_some_and(|text| text.trim().is_empty()),
        }
    }

    fn dropped<T>(&self, reason: DropReason) -> Reading<'a, T> {
        Reading::Dropped(reason, self.text().unwrap_or_else(|| self.written()))
    }
}

/// The content of a JSON string. It is borrowed unless it has escapes.
fn string<'a>(json: &Cow<'a, str>) -> Option<Cow<'a, str>> {
    if json.contains('\\') {
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    match json {
        Cow::Borrowed(json) => json.strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed),
        Cow::Owned(json) => {
            let text = json.strip_prefix('"')?.strip_suffix('"')?;
            Some(Cow::Owned(text.to_owned()))
        }
    }
}

/// A member's name. It is borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

/// Collects an object's members without interpreting them.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Fields<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(16);
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            members.push((name, Value::Json(Cow::Borrowed(value.get()))));
        }
        Ok(Fields(members))
    }
}
