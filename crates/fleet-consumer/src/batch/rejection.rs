//! Why a record cannot be stored.

use fleet_providers::ParseError;
use fleet_queue::EnvelopeError;

/// Why a record becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// One of [`reasons`].
    pub reason: &'static str,
    /// For people.
    pub detail: String,
}

/// The reasons that no parser gives.
const OWN_REASONS: [&str; 6] = [
    "malformed_envelope",
    "unknown_envelope_version",
    "parser_panic",
    "consumer_killed",
    "rejected_by_database",
    "too_many_new_vehicles",
];

/// Every reason of a dead letter.
pub fn reasons() -> impl Iterator<Item = &'static str> {
    ParseError::REASONS.into_iter().chain(OWN_REASONS)
}

impl Rejection {
    pub(crate) fn parse(error: &ParseError) -> Self {
        Self { reason: error.reason(), detail: error.to_string() }
    }

    pub(crate) fn envelope(error: EnvelopeError) -> Self {
        let reason = match error {
            EnvelopeError::UnknownVersion => "unknown_envelope_version",
            EnvelopeError::Malformed => "malformed_envelope",
        };
        Self { reason, detail: error.to_string() }
    }

    pub(crate) fn panic() -> Self {
        let detail = "the parser panicked; fix it, then replay this message".to_owned();
        Self { reason: "parser_panic", detail }
    }

    /// Parsing the message crashes the consumer. `how` says in which way.
    pub(crate) fn crashed(how: &str) -> Self {
        let detail =
            format!("parsing it crashes the consumer: {how}; fix the parser, then replay this message");
        Self { reason: "consumer_killed", detail }
    }

    /// The message has events of new vehicles beyond the limit.
    pub(crate) fn too_many_new_vehicles(provider: &str, per_minute: u32, events: usize) -> Self {
        let detail = format!(
            "{events} events of new vehicles exceed the limit of {per_minute} a minute for each consumer; if the vehicles \
             are real, raise FLEET_PROVIDERS__{}__MAX_NEW_VEHICLES_PER_MINUTE, then replay this message",
            provider.to_uppercase()
        );
        Self { reason: "too_many_new_vehicles", detail }
    }

    /// A database rejects the record.
    pub(crate) fn rejected(error: &impl std::fmt::Display) -> Self {
        Self { reason: "rejected_by_database", detail: error.to_string() }
    }
}
