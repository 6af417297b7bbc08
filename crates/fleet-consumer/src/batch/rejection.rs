//! Why a record cannot be stored.

use fleet_providers::ParseError;
use fleet_queue::EnvelopeError;
use strum::VariantArray;

/// Why a record becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// One of [`reasons`].
    pub reason: &'static str,
    /// For people.
    pub detail: String,
}

/// The reasons that no parser gives.
#[derive(Clone, Copy, Debug, strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
enum OwnReason {
    MalformedEnvelope,
    UnknownEnvelopeVersion,
    ParserPanic,
    ConsumerKilled,
    RejectedByDatabase,
    TooManyNewVehicles,
    TooLarge,
}

/// Every reason of a dead letter.
pub fn reasons() -> impl Iterator<Item = &'static str> {
    ParseError::REASONS.iter().copied().chain(OwnReason::VARIANTS.iter().map(|&reason| reason.into()))
}

impl Rejection {
    fn own(reason: OwnReason, detail: String) -> Self {
        Self { reason: reason.into(), detail }
    }

    pub(crate) fn parse(error: &ParseError) -> Self {
        Self { reason: error.reason(), detail: error.to_string() }
    }

    pub(crate) fn envelope(error: EnvelopeError) -> Self {
        let reason = match error {
            EnvelopeError::UnknownVersion => OwnReason::UnknownEnvelopeVersion,
            EnvelopeError::Malformed => OwnReason::MalformedEnvelope,
        };
        Self::own(reason, error.to_string())
    }

    pub(crate) fn panic() -> Self {
        let detail = "the parser panicked; fix it, then replay this message".to_owned();
        Self::own(OwnReason::ParserPanic, detail)
    }

    /// Parsing the message crashes the consumer. `how` says in which way.
    pub(crate) fn crashed(how: &str) -> Self {
        let detail =
            format!("parsing it crashes the consumer: {how}; fix the parser, then replay this message");
        Self::own(OwnReason::ConsumerKilled, detail)
    }

    /// The message has events of new vehicles beyond the limit.
    pub(crate) fn too_many_new_vehicles(provider: &str, per_minute: u32, events: usize) -> Self {
        let detail = format!(
            "{events} events of new vehicles exceed the limit of {per_minute} a minute for each consumer; if the vehicles \
             are real, raise FLEET_PROVIDERS__{}__MAX_NEW_VEHICLES_PER_MINUTE, then replay this message",
            provider.to_uppercase()
        );
        Self::own(OwnReason::TooManyNewVehicles, detail)
    }

    /// Only the beginning of the message is in the queue.
    pub(crate) fn too_large() -> Self {
        let detail = "the message was above the size limit, and only its beginning was kept; to accept such messages, raise \
                      FLEET_API__MAX_BODY_BYTES for the bridge"
            .to_owned();
        Self::own(OwnReason::TooLarge, detail)
    }

    /// A database rejects the record.
    pub(crate) fn rejected(error: &impl std::fmt::Display) -> Self {
        Self::own(OwnReason::RejectedByDatabase, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stay() {
        let own: Vec<&str> = OwnReason::VARIANTS.iter().map(|&reason| reason.into()).collect();
        assert_eq!(
            own,
            [
                "malformed_envelope",
                "unknown_envelope_version",
                "parser_panic",
                "consumer_killed",
                "rejected_by_database",
                "too_many_new_vehicles",
                "too_large"
            ]
        );
    }
}
