//! Values that are there and are not used: how one notices that a provider has changed what it sends.

use std::borrow::Cow;

use crate::attributes::Attribute;
use crate::drop_reason::DropReason;

/// A value that an event carries and that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedValue<'a> {
    /// What it would have been about.
    pub attribute: Attribute,
    /// Why it is not used.
    pub reason: DropReason,
    /// The value as its sender wrote it, without quotation marks.
    pub written: Cow<'a, str>,
}
