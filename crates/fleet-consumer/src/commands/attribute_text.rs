//! Attributes as text.

use fleet_providers::{Attribute, Attributes, Timed};
use jiff::Timestamp;

/// One attribute's value as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttributeText {
    pub(crate) value: String,
    pub(crate) at: Timestamp,
    pub(crate) received_at: Timestamp,
}

impl AttributeText {
    /// When it was received. Values that were stored before receipts were recorded have none.
    pub(crate) fn receipt(&self) -> Option<Timestamp> {
        (self.received_at != Timestamp::MIN).then_some(self.received_at)
    }
}

impl From<Timed<String>> for AttributeText {
    fn from(text: Timed<String>) -> Self {
        let Timed { value, at, received_at } = text;
        Self { value, at: at.into(), received_at: received_at.into() }
    }
}

/// Every attribute, in the order of the table's columns.
pub(crate) fn attribute_texts(
    attributes: &Attributes,
) -> [(Attribute, Option<AttributeText>); Attributes::COUNT] {
    attributes.texts().map(|(attribute, text)| (attribute, text.map(AttributeText::from)))
}
