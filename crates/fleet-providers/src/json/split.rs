//! Finds where the elements of an array and the members of an object begin and end, in text that may not be valid JSON.
//!
//! Only strings and brackets are read, so that an error inside one element does not affect the others. After an unbalanced
//! bracket or quotation mark it is unknown where the element should have ended; the next `},{` is taken for its end.

use memchr::{memchr, memchr2};

/// Most guesses about missing brackets or quotation marks in one array, so that the time stays linear in the text's length. So
/// many bad events of one message are isolated as dead letters.
const MOST_GUESSES: usize = 8;

/// The pieces of an array.
pub(crate) struct Elements<'a> {
    /// The text of each element, without surrounding white space; at most as many as requested.
    pub(crate) pieces: Vec<&'a [u8]>,
    /// How many elements there are in all.
    pub(crate) count: usize,
    /// What is wrong with the array itself.
    pub(crate) defect: Option<Defect>,
}

/// A defect of the array itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// The text ends before the array does.
    BreaksOff,
    /// There is more text after the array.
    Trailing,
}

/// Splits the array at the start of `text`, and keeps its first `most` elements.
pub(super) fn elements(text: &[u8], most: usize) -> Elements<'_> {
    let mut brackets = Brackets::default();
    let mut found = Elements { pieces: Vec::new(), count: 0, defect: None };
    let (mut start, mut guesses) = (1, 0);
    loop {
        let mut end = brackets.value_end(text, start, b']');
        // An element must not reach the end of the text.
        if end == text.len()
            && guesses < MOST_GUESSES
            && let Some(guessed) = next_object(text, start)
        {
            guesses += 1;
            end = guessed;
        }
        let piece = text.get(start..end).unwrap_or_default().trim_ascii();
        // If a comma follows, the bracket closes the array too early.
        let is_early = text.get(end) == Some(&b']') && comma_behind(text, end + 1).is_some();
        if is_early && guesses < MOST_GUESSES {
            guesses += 1;
            found.defect = Some(Defect::Trailing);
            if !piece.is_empty() {
                found.add(piece, most);
            }
            start = comma_behind(text, end + 1).map_or(text.len(), |comma| comma + 1);
            continue;
        }
        let ends_array = text.get(end) != Some(&b',');
        // An empty array has no element, and neither has a comma after the last element.
        if !(piece.is_empty() && ends_array) {
            found.add(piece, most);
        }
        if ends_array {
            match text.get(end + 1..) {
                None => found.defect = Some(Defect::BreaksOff),
                Some(rest) if !rest.trim_ascii().is_empty() => found.defect = Some(Defect::Trailing),
                Some(_nothing) => {}
            }
            return found;
        }
        start = end + 1;
    }
}

impl<'a> Elements<'a> {
    fn add(&mut self, piece: &'a [u8], most: usize) {
        self.count += 1;
        if self.count <= most {
            self.pieces.push(piece);
        }
    }
}

/// The index of the first comma after `start` that is between two objects.
fn next_object(text: &[u8], start: usize) -> Option<usize> {
    let mut index = start;
    loop {
        index += memchr(b'}', text.get(index..)?)? + 1;
        if let Some(comma) = comma_behind(text, index) {
            let next = comma + 1 + blanks(text.get(comma + 1..)?);
            if text.get(next) == Some(&b'{') {
                return Some(comma);
            }
        }
    }
}

/// The index of the next comma, if only white space precedes it.
fn comma_behind(text: &[u8], index: usize) -> Option<usize> {
    let comma = index + blanks(text.get(index..)?);
    (text.get(comma) == Some(&b',')).then_some(comma)
}

/// The members of the object at the start of `text`: each name as written between its quotation marks, and the text of the
/// value. Ends with the object, or at the first malformed member.
pub(super) fn members(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut brackets = Brackets::default();
    let mut next = Some(1);
    std::iter::from_fn(move || {
        let start = next?;
        let name_start = start + blanks(text.get(start..)?);
        if text.get(name_start) != Some(&b'"') {
            return None;
        }
        let name_end = string_end(text, name_start + 1);
        let colon = name_end + blanks(text.get(name_end..)?);
        if text.get(colon) != Some(&b':') {
            return None;
        }
        let end = brackets.value_end(text, colon + 1, b'}');
        next = (text.get(end) == Some(&b',')).then_some(end + 1);
        let name = text.get(name_start + 1..name_end - 1)?;
        Some((name, text.get(colon + 1..end)?.trim_ascii()))
    })
}

/// The number of white space bytes at the start of `text`.
fn blanks(text: &[u8]) -> usize {
    text.len() - text.trim_ascii_start().len()
}

/// The expected closing brackets. It is reused, so that a scan allocates once.
#[derive(Default)]
struct Brackets {
    awaited: Vec<u8>,
    /// How many of them are curly.
    curly: usize,
}

impl Brackets {
    /// The index after the value at `start`: that of the next comma, of the bracket `closing` of the surrounding array or
    /// object, or the end of the text.
    fn value_end(&mut self, text: &[u8], start: usize, closing: u8) -> usize {
        self.awaited.clear();
        self.curly = 0;
        let mut index = start;
        while let Some(&byte) = text.get(index) {
            index += 1;
            match byte {
                b'"' => index = string_end(text, index),
                b'{' => self.open(b'}'),
                b'[' => self.open(b']'),
                b',' if self.awaited.is_empty() => return index - 1,
                b'}' | b']' if self.awaited.is_empty() && byte == closing => return index - 1,
                b'}' | b']' => self.close(byte),
                _ => {}
            }
        }
        text.len()
    }

    fn open(&mut self, closing: u8) {
        self.awaited.push(closing);
        self.curly += usize::from(closing == b'}');
    }

    /// Closes the bracket that `byte` belongs to, and any open bracket inside it. A bracket that closes nothing is a part of the
    /// value.
    fn close(&mut self, byte: u8) {
        let same = if byte == b'}' { self.curly } else { self.awaited.len() - self.curly };
        while same > 0
            && let Some(closed) = self.awaited.pop()
        {
            self.curly -= usize::from(closed == b'}');
            if closed == byte {
                return;
            }
        }
    }
}

/// The index after the closing quotation mark of the string whose first character is at `index`.
fn string_end(text: &[u8], mut index: usize) -> usize {
    while let Some(found) = text.get(index..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        index += found;
        if text[index] == b'"' {
            return index + 1;
        }
        index += 2;
    }
    text.len()
}
