//! The list of providers.

use crate::fields::{Item, Items};
use crate::invers::INVERS;
use crate::niu::NIU;
use crate::report::Report;
use crate::segway::SEGWAY;
use crate::{AuthScheme, Limits, Message, ParseError, VehicleEvent};

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
        let event = |item| (self.map)(item, message, limits).finish(self.slug, limits);
        Ok(items.into_iter().map(|item| item.and_then(event)).collect())
    }
}

/// The provider with this slug.
pub fn provider(slug: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.slug == slug)
}
