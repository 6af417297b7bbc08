//! The list of providers.

use jiff::Timestamp;

use crate::{AuthScheme, Limits, Message, ParseError, VehicleEvent};

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
        let _: (&Message<'_>, &Limits, Timestamp) = (message, limits, message.received_at);
        Err(ParseError::MissingVehicleId)
    }
}

/// Every provider there is. A fourth one is a module, a line here and a folder of fixtures.
pub static PROVIDERS: &[Provider] = &[];

/// The provider with this slug.
pub fn provider(slug: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.slug == slug)
}
