//! Attributes as an operator reads them.

use fleet_providers::{Attribute, Attributes, Timed};
use jiff::Timestamp;

/// One attribute's value as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) value: String,
    pub(crate) at: Timestamp,
    pub(crate) received_at: Timestamp,
}

impl Shown {
    /// When it was received. Values that were stored before receipts were recorded have none.
    pub(crate) fn receipt(&self) -> Option<Timestamp> {
        (self.received_at != Timestamp::MIN).then_some(self.received_at)
    }
}

impl From<Timed<String>> for Shown {
    fn from(text: Timed<String>) -> Self {
        let Timed { value, at, received_at } = text;
        Self { value, at, received_at }
    }
}

/// Every attribute, in the order of the table's columns.
pub(crate) fn shown(attributes: &Attributes) -> [(Attribute, Option<Shown>); Attributes::COUNT] {
    attributes.texts().map(|(attribute, text)| (attribute, text.map(Shown::from)))
}
