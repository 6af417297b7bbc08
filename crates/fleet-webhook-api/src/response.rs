//! The response that a provider receives.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use fleet_providers::Provider;
use http_body_util::Full;
use uuid::Uuid;

use crate::outcome::Outcome;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The response to a request with this outcome, made of `headers`, which are empty; its `x-request-id` is the message's id.
pub(crate) fn respond(
    outcome: Outcome,
    provider: Option<&Provider>,
    id: Uuid,
    retry_after: Duration,
    mut headers: HeaderMap,
) -> Response<Full<Bytes>> {
    let success = provider.map(|provider| provider.success).filter(|_success| outcome == Outcome::Accepted);
    let (content_type, body) = match success {
        Some(success) => (success.content_type, Full::from(success.body)),
        None => (Some("application/json"), error_body(outcome)),
    };
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let mut buffer = Uuid::encode_buffer();
    // A hyphenated UUID is always a valid header value.
    if let Ok(value) = HeaderValue::from_str(id.hyphenated().encode_lower(&mut buffer)) {
        headers.insert(REQUEST_ID, value);
    }
    let status = status(outcome);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
    }
    if outcome == Outcome::MethodNotAllowed {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn status(outcome: Outcome) -> StatusCode {
    match outcome {
        Outcome::Accepted => StatusCode::OK,
        Outcome::UnknownProvider => StatusCode::NOT_FOUND,
        Outcome::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Outcome::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Outcome::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Outcome::Unauthorized => StatusCode::UNAUTHORIZED,
        Outcome::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        Outcome::BodyIncomplete | Outcome::EmptyBody => StatusCode::BAD_REQUEST,
        // Never a 4xx for a fault of this service: the provider must retry.
        Outcome::BacklogFull | Outcome::Busy | Outcome::QueueUnavailable | Outcome::Unconfirmed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

fn error_body(outcome: Outcome) -> Full<Bytes> {
    let body = serde_json::json!({ "error": outcome.name(), "detail": detail(outcome) });
    Full::from(body.to_string())
}

/// What the sender can do.
fn detail(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "",
        Outcome::UnknownProvider => "no such webhook; post to /webhooks/{provider} of a configured provider",
        Outcome::MethodNotAllowed => "send webhooks with POST",
        Outcome::TooLarge => "the body is larger than this service accepts; send fewer events in one request",
        Outcome::UnsupportedEncoding => "send the body without Content-Encoding",
        Outcome::Unauthorized => {
            "the request does not prove who sent it; check the shared secret and where it is sent"
        }
        Outcome::BodyTimeout => "the body did not arrive in time; retry",
        Outcome::BodyIncomplete => "the body ended early or is badly framed; retry",
        Outcome::EmptyBody => "the body is empty; send the event in it",
        Outcome::BacklogFull | Outcome::Busy | Outcome::QueueUnavailable => {
            "the webhook was not stored; retry after Retry-After seconds"
        }
        Outcome::Unconfirmed => {
            "the webhook may be stored, but it is not confirmed; retry after Retry-After seconds"
        }
    }
}
