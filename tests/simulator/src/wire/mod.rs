//! What goes over the wire: a webhook's exact bytes, and what they mean.

pub mod invers;
pub mod niu;
pub mod segway;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::cli::RunArgs;
use crate::model::Seen;

/// What a provider shows to prove who it is.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// NIU's `token` header.
    pub niu_token: String,
    /// The secret under Segway's signature.
    pub segway_secret: String,
    /// INVERS' bearer token.
    pub invers_token: String,
}

impl Credentials {
    /// The right ones.
    pub fn from_args(args: &RunArgs) -> Self {
        Self {
            niu_token: args.niu_token.clone(),
            segway_secret: args.segway_secret.clone(),
            invers_token: args.invers_token.clone(),
        }
    }

    /// Wrong ones.
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

/// One provider event and what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Index of the vehicle in the fleet.
    pub vehicle: usize,
    /// Its number in the run, which its bytes carry: the check finds each event by it.
    pub sequence: u64,
    /// What it says; nothing for alerts and unknown types.
    pub seen: Vec<Seen>,
    /// It carries a time of its own that the API keeps, so that a resend of it is the same telemetry row.
    /// Without one the time of receipt is part of the row's key, and a resend is another row.
    pub keeps_time: bool,
}

/// How the API must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// 200.
    Accepted,
    /// 401.
    Refused,
}

/// One HTTP request, sent again with the same bytes when it is retried or duplicated.
#[derive(Debug)]
pub struct Webhook {
    /// Path below the API's base URL.
    pub path: &'static str,
    /// Content type of the body.
    pub content_type: &'static str,
    /// The header that carries the credential, if it is not in the body.
    pub credential: Option<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
    /// The events in it, in order.
    pub events: Vec<Event>,
    /// How the API must answer.
    pub expect: Expect,
    acknowledged: AtomicBool,
}

impl Webhook {
    /// A request that has not been sent yet.
    pub fn new(path: &'static str, content_type: &'static str, body: String, events: Vec<Event>) -> Self {
        let body = Bytes::from(body);
        let acknowledged = AtomicBool::new(false);
        Self { path, content_type, credential: None, body, events, expect: Expect::Accepted, acknowledged }
    }

    /// Adds the header that carries the credential.
    #[must_use]
    pub fn with_credential(mut self, header: &'static str, value: String) -> Self {
        self.credential = Some((header, value));
        self
    }

    /// Marks it acknowledged; true the first time only (duplicates share the webhook).
    pub fn acknowledge(&self) -> bool {
        !self.acknowledged.swap(true, Ordering::AcqRel)
    }

    /// Whether any delivery of it was answered 200.
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
