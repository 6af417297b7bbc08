//! What a provider is told.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use fleet_providers::Provider;
use http_body_util::Full;
use uuid::Uuid;

use crate::webhook::SpareHeaders;

/// What became of a request: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in Redis.
    Accepted,
    /// No such provider, or not configured.
    UnknownProvider,
    /// Not a POST.
    MethodNotAllowed,
    /// The body is larger than configured.
    TooLarge,
    /// The body is compressed.
    UnsupportedEncoding,
    /// The provider did not prove who it is.
    Unauthorized,
    /// The provider's backlog is above its cap.
    BacklogFull,
    /// Too many requests, or too many bytes, are at work.
    Busy,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body broke off or was badly framed.
    BodyIncomplete,
    /// The body is empty.
    EmptyBody,
    /// Redis refused, did not reply, or is gone.
    QueueUnavailable,
}

impl Outcome {
    /// Every outcome, in the order of its discriminant.
    pub const ALL: [Self; 12] = [
        Self::Accepted,
        Self::UnknownProvider,
        Self::MethodNotAllowed,
        Self::TooLarge,
        Self::UnsupportedEncoding,
        Self::Unauthorized,
        Self::BacklogFull,
        Self::Busy,
        Self::BodyTimeout,
        Self::BodyIncomplete,
        Self::EmptyBody,
        Self::QueueUnavailable,
    ];

    /// Name in metric labels and in the body of an error.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::UnknownProvider => "unknown_provider",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooLarge => "too_large",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::Unauthorized => "unauthorized",
            Self::BacklogFull => "backlog_full",
            Self::Busy => "busy",
            Self::BodyTimeout => "body_timeout",
            Self::BodyIncomplete => "body_incomplete",
            Self::EmptyBody => "empty_body",
            Self::QueueUnavailable => "queue_unavailable",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Accepted => StatusCode::OK,
            Self::UnknownProvider => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyIncomplete | Self::EmptyBody => StatusCode::BAD_REQUEST,
            // Never a 4xx for our own fault: the provider must try again.
            Self::BacklogFull | Self::Busy | Self::QueueUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the sender can do.
    fn advice(self) -> &'static str {
        match self {
            Self::Accepted => "",
            Self::UnknownProvider => "no such webhook; post to /webhooks/{provider} of a configured provider",
            Self::MethodNotAllowed => "webhooks are taken with POST only",
            Self::TooLarge => "the body is larger than this service takes; send fewer events in one request",
            Self::UnsupportedEncoding => "send the body without Content-Encoding",
            Self::Unauthorized => {
                "the request does not prove who sent it; check the shared secret and its place"
            }
            Self::BodyTimeout => "the body did not arrive in time; send it again",
            Self::BodyIncomplete => "the body broke off or is badly framed; send it again",
            Self::EmptyBody => "the body is empty; send the event in it",
            Self::BacklogFull | Self::Busy | Self::QueueUnavailable => {
                "the message was not taken; send it again after Retry-After seconds"
            }
        }
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The answer to `outcome`; its `x-request-id` is the message's id.
pub fn respond(
    outcome: Outcome,
    provider: Option<&Provider>,
    id: Uuid,
    retry_after: Duration,
    SpareHeaders(mut headers): SpareHeaders,
) -> Response<Full<Bytes>> {
    let success = provider.filter(|_provider| outcome == Outcome::Accepted);
    let (content_type, body) = match success {
        Some(provider) => (provider.success.content_type, Full::from(provider.success.body)),
        None => (Some("application/json"), refused(outcome)),
    };
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let mut buffer = Uuid::encode_buffer();
    // A hyphenated UUID and a number are valid header values.
    if let Ok(value) = HeaderValue::from_str(id.hyphenated().encode_lower(&mut buffer)) {
        headers.insert(REQUEST_ID, value);
    }
    if outcome.status() == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
    }
    if outcome == Outcome::MethodNotAllowed {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    let mut response = Response::new(body);
    *response.status_mut() = outcome.status();
    *response.headers_mut() = headers;
    response
}

fn refused(outcome: Outcome) -> Full<Bytes> {
    let body = serde_json::json!({ "error": outcome.name(), "detail": outcome.advice() });
    Full::from(body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_the_order_of_the_discriminants() {
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index, "{}", outcome.name());
        }
    }
}
