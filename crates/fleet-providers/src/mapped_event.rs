//! An event after its provider's mapping, and the checks that are the same for all providers.

use std::borrow::Cow;

use crate::attributes::{Attribute, Attributes};
use crate::drop_reason::DropReason;
use crate::dropped::DroppedValue;
use crate::error::ParseError;
use crate::event::VehicleEvent;
use crate::fields::Item;
use crate::identity;
use crate::reader::EventReader;

/// Most bytes of a vehicle id. Real ones have at most 20.
const MAX_VEHICLE_ID_BYTES: usize = 128;
/// Most bytes of a provider's event id. A longer one, or one with control characters, is ignored, and the event's raw text
/// identifies the event.
const MAX_EVENT_ID_BYTES: usize = 128;
/// Most characters of a kind; a longer one is shortened.
const MAX_KIND_CHARS: usize = 64;

/// One event as a provider's mapping reads it.
pub(crate) struct MappedEvent<'a> {
    /// The vehicle's id, as sent.
    pub(crate) vehicle: Option<Cow<'a, str>>,
    /// The event's type, as sent.
    pub(crate) kind: Option<Cow<'a, str>>,
    /// The kind of an event without a type.
    pub(crate) default_kind: &'static str,
    /// The provider's id of the event.
    pub(crate) event_id: Option<Cow<'a, str>>,
    /// The event's time and dropped values, after every attribute was read.
    pub(crate) reader: EventReader<'a>,
    /// The vehicle's attributes.
    pub(crate) attributes: Attributes,
    /// The event as JSON text.
    pub(crate) raw: Cow<'a, str>,
}

impl<'a> MappedEvent<'a> {
    /// A report about nothing yet.
    pub(crate) fn new(item: Item<'a>, mut reader: EventReader<'a>, attributes: Attributes) -> Self {
        if item.is_repaired {
            reader.dropped.push(DroppedValue {
                attribute: Attribute::Raw,
                reason: DropReason::InvalidCharacter,
                written: Cow::Borrowed("a text"),
            });
        }
        Self {
            vehicle: None,
            kind: None,
            default_kind: "status",
            event_id: None,
            reader,
            attributes,
            raw: item.raw,
        }
    }

    /// The event, if it names a vehicle and is recent enough to be kept.
    pub(crate) fn finish(self, slug: &str) -> Result<VehicleEvent<'a>, ParseError> {
        let vehicle = self.vehicle.and_then(filled).ok_or(ParseError::MissingVehicleId)?;
        if vehicle.len() > MAX_VEHICLE_ID_BYTES {
            return Err(ParseError::Unparsable("the vehicle id is too long".to_owned()));
        }
        if !is_plain(&vehicle) {
            return Err(ParseError::InvalidCharacter);
        }
        if self.reader.is_too_old() {
            return Err(ParseError::TooOld);
        }
        let EventReader { written, observed_at, is_skewed, dropped, received_at, .. } = self.reader;
        let vehicle_id = identity::vehicle_id(slug, &vehicle);
        let kind = self.kind.and_then(filled).map_or(Cow::Borrowed(self.default_kind), shortened);
        let usable = |id: &Cow<'_, str>| id.len() <= MAX_EVENT_ID_BYTES && is_plain(id);
        let event_id = self.event_id.and_then(filled).filter(usable);
        let content = event_id.as_deref().map_or(identity::Content::Raw(&self.raw), identity::Content::Id);
        Ok(VehicleEvent {
            vehicle_id,
            event_id: identity::event_id(vehicle_id, &kind, &written, content),
            provider_vehicle_id: vehicle,
            kind,
            provider_event_id: event_id,
            observed_at,
            received_at,
            clock_skewed: is_skewed,
            attributes: self.attributes,
            dropped,
            raw: self.raw,
        })
    }
}

/// Whether an id has neither control characters, which terminals, logs and queries do not show, nor U+FFFD, which stands for a
/// lost character.
fn is_plain(id: &str) -> bool {
    !id.contains(|letter: char| letter.is_control() || letter == char::REPLACEMENT_CHARACTER)
}

/// The text without surrounding white space. `None` if it is blank.
fn filled(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    };
    (!text.is_empty()).then_some(text)
}

/// The first [`MAX_KIND_CHARS`] characters.
fn shortened(text: Cow<'_, str>) -> Cow<'_, str> {
    match (text.char_indices().nth(MAX_KIND_CHARS), text) {
        (None, text) => text,
        (Some((end, _)), Cow::Borrowed(text)) => Cow::Borrowed(text.get(..end).unwrap_or(text)),
        (Some((end, _)), Cow::Owned(mut text)) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}
