//! Values that are present and not used. They show that a provider has changed its format.

use std::borrow::Cow;

use crate::attributes::Attribute;
use crate::drop_reason::DropReason;

/// A value in an event that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedValue<'a> {
    /// The attribute that it belongs to.
    pub attribute: Attribute,
    /// Why it is not used.
    pub reason: DropReason,
    /// The value as the sender wrote it, without quotation marks.
    pub written: Cow<'a, str>,
}
