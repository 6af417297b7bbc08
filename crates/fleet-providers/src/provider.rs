//! What a provider is, and how its messages are parsed.

use jiff::SignedDuration;

use crate::auth::AuthScheme;
use crate::error::ParseError;
use crate::event::VehicleEvent;
use crate::fields::Item;
use crate::items::Items;
use crate::json::event::event;
use crate::mapped_event::MappedEvent;
use crate::message::{Limits, Message, StoredEvent};
use crate::{form, time};

/// One vehicle provider.
#[derive(Debug)]
pub struct Provider {
    /// Name in routes, keys, labels and rows: lower-case letters.
    pub slug: &'static str,
    /// Display name.
    pub name: &'static str,
    /// How the provider authenticates unless configured otherwise.
    pub default_auth: fn() -> AuthScheme,
    /// The body of the response that the provider takes as success.
    pub success: SuccessBody,
    /// Finds the events of a message.
    pub(crate) split: for<'a> fn(&Message<'a>, &Limits) -> Result<Items<'a>, ParseError>,
    /// Maps one event.
    pub(crate) map: Map,
}

type Map = for<'a> fn(Item<'a>, &Message<'_>, &Limits) -> MappedEvent<'a>;

/// The body of a 200 response.
#[derive(Clone, Copy, Debug)]
pub struct SuccessBody {
    /// Media type; absent for an empty body.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: &'static str,
}

impl Provider {
    /// Parses one message into its events, in the order of the body.
    ///
    /// # Errors
    ///
    /// The outer error is about the whole message, an inner one about one event.
    pub fn parse<'a>(
        &self,
        message: &Message<'a>,
        limits: &Limits,
    ) -> Result<Vec<Result<VehicleEvent<'a>, ParseError>>, ParseError> {
        Ok(self.events(message, limits)?.collect())
    }

    /// As [`Provider::parse`], but parses each event when it is requested. A message may have ten thousand events, and parsing
    /// one needs more memory than the event itself.
    ///
    /// # Errors
    ///
    /// Why the whole message cannot be parsed.
    pub fn events<'a>(&self, message: &Message<'a>, limits: &Limits) -> Result<Events<'a>, ParseError> {
        let items = (self.split)(message, limits)?;
        Ok(Events { slug: self.slug, map: self.map, items, message: *message, limits: *limits, place: 0 })
    }

    /// Parses one event again from telemetry. If the parser has not changed, the result is the event that [`Provider::parse`]
    /// found in the message, with the same ids. Only the note that a text was repaired is lost.
    ///
    /// # Errors
    ///
    /// Why the event can no longer be parsed: the parser or the limits have changed.
    pub fn reparse<'a>(
        &self,
        stored: &StoredEvent<'a>,
        limits: &Limits,
    ) -> Result<VehicleEvent<'a>, ParseError> {
        let StoredEvent { topic, received_at, raw, event_id } = *stored;
        let message = Message { topic, content_type: None, received_at, body: raw.as_bytes() };
        let event = self.event(event(raw.as_bytes(), limits)?, &message, limits)?;
        if event.event_id == event_id {
            return Ok(event);
        }
        // Telemetry does not record whether the event came as JSON or as a form. Both have the same meaning, but the id covers
        // the time as it was written: with or without quotation marks.
        match form::kept(raw, limits) {
            Some(item) => self.event(item, &message, limits),
            None => Ok(event),
        }
    }

    fn event<'a>(
        &self,
        item: Item<'a>,
        message: &Message<'_>,
        limits: &Limits,
    ) -> Result<VehicleEvent<'a>, ParseError> {
        (self.map)(item, message, limits).finish(self.slug)
    }
}

/// The events of one message, in the order of the body; see [`Provider::events`].
#[derive(Clone, Debug)]
pub struct Events<'a> {
    slug: &'static str,
    map: Map,
    items: Items<'a>,
    message: Message<'a>,
    limits: Limits,
    /// The place of the next event in the message.
    place: i64,
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<VehicleEvent<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.items.next(&self.limits)?;
        let received_at = time::to_millisecond(self.message.received_at);
        let received_at = received_at.checked_add(SignedDuration::from_micros(self.place));
        self.place += 1;
        let received_at = received_at.unwrap_or(self.message.received_at);
        let message = Message { received_at, ..self.message };
        Some(item.and_then(|item| (self.map)(item, &message, &self.limits).finish(self.slug)))
    }

    /// A defect of an array may be one more item.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.items.len();
        (left, left.checked_add(1))
    }
}
