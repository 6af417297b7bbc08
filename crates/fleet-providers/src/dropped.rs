//! Values that are present but not used. They show that a provider has changed what it sends.

use std::borrow::Cow;

use crate::attributes::Attribute;
use crate::drop_reason::DropReason;

/// A value of an event that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedValue<'a> {
    /// The attribute that it belongs to.
    pub attribute: Attribute,
    /// Why it is not used.
    pub reason: DropReason,
    /// The value as its sender wrote it, without quotation marks.
    pub written: Cow<'a, str>,
}
