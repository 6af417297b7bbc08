//! The list of providers.

use jiff::SignedDuration;

use crate::fields::{Item, Items};
use crate::invers::INVERS;
use crate::niu::NIU;
use crate::report::Report;
use crate::segway::SEGWAY;
use crate::{AuthScheme, Limits, Message, ParseError, StoredEvent, VehicleEvent, form, json, time};

/// Every provider there is. A fourth one is a module, a line here and a folder of fixtures.
pub static PROVIDERS: &[Provider] = &[NIU, SEGWAY, INVERS];

/// One vehicle provider: a value, not a trait.
#[derive(Debug)]
pub struct Provider {
    /// Name in routes, keys, labels and rows: lower-case letters.
    pub slug: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// How the provider authenticates unless configured otherwise.
    pub default_auth: fn() -> AuthScheme,
    /// The answer the provider takes as success.
    pub accepted: Accepted,
    /// Finds the events in a message.
    pub(crate) split: for<'a> fn(&Message<'a>, &Limits) -> Result<Items<'a>, ParseError>,
    /// Says what one of them means.
    pub(crate) map: for<'a> fn(Item<'a>, &Message<'_>, &Limits) -> Report<'a>,
}

/// The body of a 200 answer.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// Media type; absent for an empty body.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: &'static str,
}

impl Provider {
    /// Parses one message into its events, in the order in which they stand in the body.
    ///
    /// # Errors
    ///
    /// The outer error sinks the whole message; an inner one only that event.
    pub fn parse<'a>(
        &self,
        message: &Message<'a>,
        limits: &Limits,
    ) -> Result<Vec<Result<VehicleEvent<'a>, ParseError>>, ParseError> {
        let items = (self.split)(message, limits)?;
        let received_at = time::to_millisecond(message.received_at);
        let event = |(item, place): (Result<Item<'a>, ParseError>, i64)| {
            let received_at = received_at.checked_add(SignedDuration::from_micros(place));
            let message = Message { received_at: received_at.unwrap_or(message.received_at), ..*message };
            self.event(item?, &message, limits)
        };
        Ok(items.into_iter().zip(0..).map(event).collect())
    }

    /// Parses one event again from what telemetry keeps of it. As long as the parser has not changed, the result is the
    /// event that [`Provider::parse`] found in the message, ids included; only the note that a text was repaired is gone.
    ///
    /// # Errors
    ///
    /// Why the event cannot be parsed any more: the parser or the limits have changed.
    pub fn reparse<'a>(
        &self,
        stored: &StoredEvent<'a>,
        limits: &Limits,
    ) -> Result<VehicleEvent<'a>, ParseError> {
        let StoredEvent { topic, received_at, raw, event_id } = *stored;
        let message = Message { topic, content_type: None, received_at, body: raw.as_bytes() };
        let event = self.event(json::event(raw.as_bytes(), limits)?, &message, limits)?;
        if event.event_id == event_id {
            return Ok(event);
        }
        // Nothing says whether it came as JSON or as a form. Both mean the same, but the id covers the time as it was
        // written: with its quotes, or without any.
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

/// The provider with this slug.
pub fn provider(slug: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.slug == slug)
}
