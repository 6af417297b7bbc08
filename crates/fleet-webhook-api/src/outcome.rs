//! How a request can end.

use strum::{IntoStaticStr, VariantArray};

/// The outcome of a request: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// Redis has stored the webhook.
    Accepted,
    /// There is no such provider, or it is not configured.
    UnknownProvider,
    /// The method is not POST.
    MethodNotAllowed,
    /// The body is larger than configured.
    TooLarge,
    /// The body is compressed.
    UnsupportedEncoding,
    /// The request does not prove that the provider sent it.
    Unauthorized,
    /// The provider's backlog is above its cap.
    BacklogFull,
    /// The provider has too many requests or too many bytes in flight.
    Busy,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body ended early or was badly framed.
    BodyIncomplete,
    /// The body is empty.
    EmptyBody,
    /// Redis refused the push, did not reply, or is not reachable.
    QueueUnavailable,
    /// Too few of Redis' replicas have confirmed the push, or confirm pushes at all.
    Unconfirmed,
}

impl Outcome {
    /// Name in metric labels, in log lines and in the body of an error response.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dashboards, alerts and providers know these names.
    #[test]
    fn names() {
        let names: Vec<_> = Outcome::VARIANTS.iter().map(|outcome| outcome.name()).collect();
        let expected = [
            "accepted",
            "unknown_provider",
            "method_not_allowed",
            "too_large",
            "unsupported_encoding",
            "unauthorized",
            "backlog_full",
            "busy",
            "body_timeout",
            "body_incomplete",
            "empty_body",
            "queue_unavailable",
            "unconfirmed",
        ];
        assert_eq!(names, expected);
    }
}
