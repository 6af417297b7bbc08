//! A webhook's exact bytes, and their meaning.

pub mod invers;
pub mod niu;
pub mod segway;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use lapin::BasicProperties;

use crate::cli::RunArgs;
use crate::model::Seen;

/// The credentials of the providers.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// NIU's `token` header.
    pub niu_token: String,
    /// The secret for Segway's signature.
    pub segway_secret: String,
    /// INVERS' bearer token.
    pub invers_token: String,
}

impl Credentials {
    /// The right credentials.
    pub fn from_args(args: &RunArgs) -> Self {
        Self {
            niu_token: args.niu_token.clone(),
            segway_secret: args.segway_secret.clone(),
            invers_token: args.invers_token.clone(),
        }
    }

    /// Wrong credentials.
    #[must_use]
    pub fn forged(&self) -> Self {
        let wrong = |secret: &str| format!("not-{secret}");
        Self {
            niu_token: wrong(&self.niu_token),
            segway_secret: wrong(&self.segway_secret),
            invers_token: wrong(&self.invers_token),
        }
    }
}

/// One event of a provider and its meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The vehicle's index in the fleet.
    pub vehicle: usize,
    /// Its number in the run. The bytes contain it, and the check finds the event by it.
    pub sequence: u64,
    /// Its observations. Empty for alerts and unknown types.
    pub seen: Vec<Seen>,
    /// Whether the event has its own time and the API keeps it. Then a resend is the same telemetry row.
    /// Otherwise the time of receipt is part of the row's key, and a resend is another row.
    pub keeps_time: bool,
}

/// The expected response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// 200.
    Accepted,
    /// 401.
    Refused,
}

/// One HTTP request. Retries and duplicates use the same bytes.
#[derive(Debug)]
pub struct Webhook {
    /// The path relative to the API's base URL.
    pub path: &'static str,
    /// Content type of the body.
    pub content_type: &'static str,
    /// The header that carries the credential, if it is not in the body.
    pub credential: Option<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
    /// The events in it, in order.
    pub events: Vec<Event>,
    /// The expected response.
    pub expect: Expect,
    /// The properties of its message, if the provider may also publish it to a broker. The message has the same body.
    pub amqp: Option<BasicProperties>,
    acknowledged: AtomicBool,
}

impl Webhook {
    /// A request that has not been sent yet.
    pub fn new(path: &'static str, content_type: &'static str, body: String, events: Vec<Event>) -> Self {
        let body = Bytes::from(body);
        let acknowledged = AtomicBool::new(false);
        let expect = Expect::Accepted;
        Self { path, content_type, credential: None, body, events, expect, amqp: None, acknowledged }
    }

    /// Adds the header that carries the credential.
    #[must_use]
    pub fn with_credential(mut self, header: &'static str, value: String) -> Self {
        self.credential = Some((header, value));
        self
    }

    /// Adds the properties of its message.
    #[must_use]
    pub fn with_message(mut self, properties: BasicProperties) -> Self {
        self.amqp = Some(properties);
        self
    }

    /// Whether it comes by AMQP if there is a broker. Nobody can publish with a wrong credential.
    pub fn is_message(&self) -> bool {
        self.amqp.is_some() && self.expect == Expect::Accepted
    }

    /// Marks it as acknowledged. Returns true only the first time; duplicates share the webhook.
    pub fn acknowledge(&self) -> bool {
        !self.acknowledged.swap(true, Ordering::AcqRel)
    }

    /// Whether any delivery of it got a 200.
    pub fn is_acknowledged(&self) -> bool {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// Whether a second delivery is the same telemetry row.
    pub fn keeps_time(&self) -> bool {
        self.events.iter().all(|event| event.keeps_time)
    }
}

/// `2024-06-10T06:13:18.123Z`, or without the fraction.
pub(crate) fn iso(at_ms: i64, with_fraction: bool) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    if with_fraction { format!("{at:.3}") } else { at.to_string() }
}
