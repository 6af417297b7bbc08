//! The events of a message. Each is parsed when it is requested, because ten thousand parsed events need far more memory than
//! their text.

use crate::error::ParseError;
use crate::fields::Item;
use crate::json::event::event;
use crate::json::split::{Defect, Elements};
use crate::message::Limits;

/// The remaining events of a message. One that cannot be parsed does not affect the others.
#[derive(Clone, Debug)]
pub(crate) struct Items<'a> {
    /// The only event of a message that is not an array.
    alone: Option<Item<'a>>,
    pieces: std::vec::IntoIter<&'a [u8]>,
    defect: Option<Defect>,
    /// Whether the last event was good. A bad one already reports the truncated rest of an array.
    last_is_good: bool,
}

impl<'a> Items<'a> {
    /// One event.
    pub(crate) fn alone(item: Item<'a>) -> Self {
        Self { alone: Some(item), pieces: Vec::new().into_iter(), defect: None, last_is_good: true }
    }

    /// The elements of an array.
    pub(crate) fn array(found: Elements<'a>) -> Self {
        Self { alone: None, pieces: found.pieces.into_iter(), defect: found.defect, last_is_good: true }
    }

    /// Parses the next event.
    pub(crate) fn next(&mut self, limits: &Limits) -> Option<Result<Item<'a>, ParseError>> {
        if let Some(item) = self.alone.take() {
            return Some(Ok(item));
        }
        if let Some(piece) = self.pieces.next() {
            let item = event(piece, limits);
            self.last_is_good = item.is_ok();
            return Some(item);
        }
        let problem = match self.defect.take()? {
            Defect::BreaksOff if self.last_is_good => "the array breaks off",
            Defect::BreaksOff => return None,
            Defect::Trailing => "there is text behind the array",
        };
        Some(Err(ParseError::Unparsable(problem.to_owned())))
    }

    /// How many events are left, without an error about the array itself.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.alone.is_some()) + self.pieces.len()
    }
}
