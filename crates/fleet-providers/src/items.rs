//! The events of a message, each read when it is asked for: ten thousand of them at once would take far more memory than
//! their text.

use crate::error::ParseError;
use crate::fields::Item;
use crate::json::event::event;
use crate::json::split::{Defect, Elements};
use crate::message::Limits;

/// What is left of a message's events; one that cannot be read does not sink the others.
#[derive(Clone, Debug)]
pub(crate) struct Items<'a> {
    /// The only event, which is no element of an array.
    alone: Option<Item<'a>>,
    pieces: std::vec::IntoIter<&'a [u8]>,
    defect: Option<Defect>,
    /// A bad event at the end stands for the rest of an array that breaks off.
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

    /// Reads the next event.
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

    /// How many are left, but for what is wrong with the array.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.alone.is_some()) + self.pieces.len()
    }
}
