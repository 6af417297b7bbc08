//! The result of reading a value: absent, known, or present and not used.

use std::borrow::Cow;

use crate::drop_reason::DropReason;

/// The result of reading one value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reading<'a, T> {
    /// It is missing, `null` or blank.
    Absent,
    /// Its meaning.
    Known(T),
    /// It is present and not used. Contains the value as written.
    Dropped(DropReason, Cow<'a, str>),
}

impl<'a, T> Reading<'a, T> {
    /// `other`, if this one is not known. But if this one is dropped and `other` is not known either, this one.
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

    /// Applies `next` to a known value.
    pub(crate) fn then<U>(self, next: impl FnOnce(T) -> Reading<'a, U>) -> Reading<'a, U> {
        match self {
            Self::Absent => Reading::Absent,
            Self::Known(value) => next(value),
            Self::Dropped(reason, written) => Reading::Dropped(reason, written),
        }
    }

    /// The value, if it is known.
    pub(crate) fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Dropped(..) => None,
        }
    }
}
