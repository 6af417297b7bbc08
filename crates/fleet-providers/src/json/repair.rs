//! Replaces U+0000 and unpaired surrogates with U+FFFD. PostgreSQL's `json` stores them, but cannot read them back.

use crate::error::ParseError;

/// Whether a text needs a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// It needs none.
    Sound,
    /// It has an escape that must be replaced.
    Damaged,
}

/// Replaces such an escape, and has the same length.
const REPLACEMENT: &str = "\\ufffd";

/// Checks the whole text, including values that no mapping reads. Leaves syntax errors to the parser.
///
/// # Errors
///
/// [`ParseError::TooDeep`].
pub(super) fn examine(text: &str, max_depth: usize) -> Result<Condition, ParseError> {
    let bytes = text.as_bytes();
    let mut condition = Condition::Sound;
    let mut depth = 0_usize;
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        index += 1;
        match byte {
            b'"' => {
                let (end, found) = string_end(bytes, index);
                index = end;
                if found == Condition::Damaged {
                    condition = found;
                }
            }
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
    Ok(condition)
}

/// The text with such escapes replaced.
pub(super) fn repaired(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut repaired = String::with_capacity(text.len());
    let (mut copied, mut index) = (0, 0);
    while let Some(found) = memchr::memchr(b'\\', bytes.get(index..).unwrap_or_default()) {
        let escape = escape(bytes, index + found + 1);
        if escape.condition == Condition::Damaged {
            // Both ends are at ASCII characters.
            repaired.push_str(text.get(copied..index + found).unwrap_or_default());
            repaired.push_str(REPLACEMENT);
            copied = escape.end;
        }
        index = escape.end;
    }
    repaired.push_str(text.get(copied..).unwrap_or_default());
    repaired
}

/// The index after the closing quotation mark of the string whose first character is at `index`, and the string's condition.
fn string_end(bytes: &[u8], mut index: usize) -> (usize, Condition) {
    let mut condition = Condition::Sound;
    while let Some(byte) = bytes.get(index) {
        match byte {
            b'"' => return (index + 1, condition),
            b'\\' => {
                let escape = escape(bytes, index + 1);
                index = escape.end;
                if escape.condition == Condition::Damaged {
                    condition = Condition::Damaged;
                }
            }
            _ => index += 1,
        }
    }
    (index, condition)
}

struct Escape {
    /// The index after it.
    end: usize,
    condition: Condition,
}

/// The escape whose backslash is just before `index`. Leaves a malformed one to the parser.
fn escape(bytes: &[u8], index: usize) -> Escape {
    let sound = |end| Escape { end, condition: Condition::Sound };
    if bytes.get(index) != Some(&b'u') {
        return sound(index + 1);
    }
    let single = index + 5;
    match code_unit(bytes, index + 1) {
        None => sound(index + 1),
        Some(0 | 0xDC00..=0xDFFF) => Escape { end: single, condition: Condition::Damaged },
        Some(0xD800..=0xDBFF) => {
            let low = bytes.get(single..single + 2).filter(|next| *next == b"\\u");
            match low.and_then(|_| code_unit(bytes, single + 2)) {
                Some(0xDC00..=0xDFFF) => sound(single + 6),
                Some(_) | None => Escape { end: single, condition: Condition::Damaged },
            }
        }
        Some(_) => sound(single),
    }
}

/// The four hexadecimal digits at `index`.
fn code_unit(bytes: &[u8], index: usize) -> Option<u32> {
    let digits = bytes.get(index..index + 4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}
