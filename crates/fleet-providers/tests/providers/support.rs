//! Shared by the tests of this crate.

use std::path::Path;

use fleet_providers::{Limits, Message, ParseError, Provider, Secrets, VehicleEvent};
use jiff::Timestamp;

/// The secret of the fixtures. The next one is the second secret, of the American platform.
pub(crate) const SECRET: &str = "test-secret-0001";
pub(crate) const SECOND_SECRET: &str = "test-secret-0002";

/// A body as it was sent, with its headers.
pub(crate) struct Fixture {
    pub(crate) provider: &'static Provider,
    pub(crate) situation: String,
    pub(crate) topic: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Fixture {
    pub(crate) fn read(path: &Path) -> Self {
        fleet_fixtures::Fixture::read(path).into()
    }

    pub(crate) fn named(slug: &str, file: &str) -> Self {
        fleet_fixtures::Fixture::named(slug, file).into()
    }

    pub(crate) fn message(&self) -> Message<'_> {
        Message {
            topic: self.topic,
            content_type: Some(self.content_type),
            received_at: received_at(),
            body: &self.body,
        }
    }
}

impl From<fleet_fixtures::Fixture> for Fixture {
    fn from(fixture: fleet_fixtures::Fixture) -> Self {
        let fleet_fixtures::Fixture { provider, situation, topic, content_type, body, file: _ } = fixture;
        let provider = fleet_providers::provider(&provider).expect("the folder is named after a provider");
        Self { provider, situation, topic, content_type, body }
    }
}

/// Every fixture, sorted by path.
pub(crate) fn fixtures() -> Vec<Fixture> {
    fleet_fixtures::all().into_iter().map(Fixture::from).collect()
}

/// Ten seconds after most fixtures were observed.
pub(crate) fn received_at() -> Timestamp {
    "2024-06-10T06:13:30Z".parse().unwrap()
}

/// A time on the fixtures' day.
pub(crate) fn at(time: &str) -> Timestamp {
    format!("2024-06-10T{time}Z").parse().unwrap()
}

pub(crate) type Parsed<'a> = Result<Vec<Result<VehicleEvent<'a>, ParseError>>, ParseError>;

/// Parses a JSON body.
pub(crate) fn json<'a>(slug: &str, body: &'a str) -> Parsed<'a> {
    bytes(slug, "application/json", body.as_bytes())
}

/// Parses a form sent to Segway's single URL.
pub(crate) fn form(body: &str) -> Parsed<'_> {
    bytes("segway", "application/x-www-form-urlencoded", body.as_bytes())
}

pub(crate) fn bytes<'a>(slug: &str, content_type: &'a str, body: &'a [u8]) -> Parsed<'a> {
    let message = Message { topic: "", content_type: Some(content_type), received_at: received_at(), body };
    fleet_providers::provider(slug).unwrap().parse(&message, &Limits::default())
}

/// The only event of a message, which must be valid.
pub(crate) fn only(parsed: Parsed<'_>) -> VehicleEvent<'_> {
    let mut events = parsed.expect("the message is good");
    assert_eq!(events.len(), 1);
    events.remove(0).expect("the event is good")
}

/// The reason for the refusal of a whole message.
pub(crate) fn refusal(parsed: Parsed<'_>) -> &'static str {
    parsed.expect_err("the message is refused").reason()
}

/// Makes secrets from texts.
pub(crate) fn secrets(texts: &[&str]) -> Secrets {
    Secrets(texts.iter().map(|text| (*text).into()).collect())
}
