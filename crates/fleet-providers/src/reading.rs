//! What a value in a body says: nothing, something, or something that is not understood.

use std::borrow::Cow;

use crate::drop_reason::DropReason;

/// What one value says about what is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reading<'a, T> {
    /// Nothing: it is missing, `null` or blank.
    Absent,
    /// This.
    Known(T),
    /// Something that is not used; as it was written.
    Dropped(DropReason, Cow<'a, str>),
}

impl<'a, T> Reading<'a, T> {
    /// What `other` says, if this says nothing that can be used; but this one's loss, if `other` says no more.
    pub(crate) fn or(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Known(_) => self,
            Self::Absent => other(),
            Self::Dropped(..) => match other() {
                known @ Self::Known(_) => known,
                Self::Absent | Self::Dropped(..) => self,
            },
        }
    }

    /// What `next` reads from the value.
    pub(crate) fn then<U>(self, next: impl FnOnce(T) -> Reading<'a, U>) -> Reading<'a, U> {
        match self {
            Self::Absent => Reading::Absent,
            Self::Known(value) => next(value),
            Self::Dropped(reason, written) => Reading::Dropped(reason, written),
        }
    }

    /// The value, whatever became of another one.
    pub(crate) fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Dropped(..) => None,
        }
    }
}
