//! From a request to a verified webhook: every check, in the documented order.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, header};
use bytes::Bytes;
use fleet_providers::Verdict;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::answer::Outcome;
use crate::server::Source;

const ROUTE: &str = "/webhooks/";
const MAX_TOPIC_BYTES: usize = 128;
const MAX_CONTENT_TYPE_BYTES: usize = 64;

/// What bounds the requests at work.
#[derive(Clone, Debug)]
pub struct Admission {
    /// One permit a request.
    pub requests: Arc<Semaphore>,
    /// One permit a byte of body.
    pub body_bytes: Arc<Semaphore>,
    /// Most bytes of a body.
    pub max_body_bytes: u64,
    /// Most time for a body.
    pub body_timeout: Duration,
}

/// A request whose sender is known and whose body is here. There is no other way to make one.
#[derive(Debug)]
pub struct VerifiedWebhook {
    topic: String,
    content_type: Option<String>,
    traceparent: Option<String>,
    body: Bytes,
    // Held until the answer.
    _permits: [OwnedSemaphorePermit; 2],
}

impl VerifiedWebhook {
    /// Path below the provider's route; empty if none.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Media type of the body, lower case, without parameters.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// W3C trace context.
    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Admits, reads and verifies a request for `source`.
    ///
    /// # Errors
    ///
    /// The outcome of the first check that fails.
    pub async fn read(
        request: Request<Body>,
        source: &Source,
        topic: String,
        admission: &Admission,
    ) -> Result<Self, Outcome> {
        let (head, body) = request.into_parts();
        if head.method != Method::POST {
            return Err(Outcome::MethodNotAllowed);
        }
        let declared = content_length(&head.headers);
        if declared.is_some_and(|bytes| bytes > admission.max_body_bytes) {
            return Err(Outcome::TooLarge);
        }
        if head
            .headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|encoding| encoding != "identity")
        {
            return Err(Outcome::UnsupportedEncoding);
        }
        let by_head = source
            .scheme
            .verify_head(&head.headers, head.uri.query(), &source.secrets);
        if by_head == Verdict::Refused {
            return Err(Outcome::Unauthorized);
        }
        if source.commit.is_shedding() {
            return Err(Outcome::BacklogFull);
        }
        let permits = admission.admit(declared)?;
        let body = admission.read_body(body).await?;
        if body.is_empty() {
            return Err(Outcome::EmptyBody);
        }
        let content_type = content_type(&head.headers);
        if by_head == Verdict::NeedsBody {
            let by_body =
                source
                    .scheme
                    .verify_body(&head.headers, content_type.as_deref(), &body, &source.secrets);
            if by_body != Verdict::Genuine {
                return Err(Outcome::Unauthorized);
            }
        }
        let traceparent = traceparent(&head.headers);
        Ok(Self {
            topic,
            content_type,
            traceparent,
            body,
            _permits: permits,
        })
    }
}

impl Admission {
    /// A body of unknown length may be as large as any.
    fn admit(&self, declared_bytes: Option<u64>) -> Result<[OwnedSemaphorePermit; 2], Outcome> {
        let request = Arc::clone(&self.requests).try_acquire_owned();
        let bytes = u32::try_from(declared_bytes.unwrap_or(self.max_body_bytes)).unwrap_or(u32::MAX);
        let bytes = Arc::clone(&self.body_bytes).try_acquire_many_owned(bytes);
        match (request, bytes) {
            (Ok(request), Ok(bytes)) => Ok([request, bytes]),
            (Err(_), _) | (_, Err(_)) => Err(Outcome::Busy),
        }
    }

    async fn read_body(&self, body: Body) -> Result<Bytes, Outcome> {
        let limit = usize::try_from(self.max_body_bytes).unwrap_or(usize::MAX);
        let collected = tokio::time::timeout(self.body_timeout, Limited::new(body, limit).collect());
        match collected.await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Outcome::TooLarge),
            Ok(Err(_broken)) => Err(Outcome::BodyIncomplete),
            Err(_elapsed) => Err(Outcome::BodyTimeout),
        }
    }
}

/// Splits `/webhooks/{provider}[/{topic}]`, as sent: percent-encoded names are nobody's.
pub fn split_path(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix(ROUTE)?;
    let (slug, topic) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    (topic.len() <= MAX_TOPIC_BYTES && topic.bytes().all(plain)).then_some((slug, topic))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = text.split(';').next().unwrap_or_default().trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-.+_".contains(&byte);
    let usable = !essence.is_empty() && essence.len() <= MAX_CONTENT_TYPE_BYTES && essence.bytes().all(plain);
    usable.then(|| essence.to_ascii_lowercase())
}

/// Kept only in the form that W3C Trace Context gives it.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let parts: Vec<_> = text.split('-').collect();
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    let hex = |part: &&str| {
        part.bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    (lengths == [2, 32, 16, 2] && parts.iter().all(hex)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(split_path("/webhooks/niu"), Some(("niu", "")));
        assert_eq!(
            split_path("/webhooks/segway/vehicle/status"),
            Some(("segway", "vehicle/status"))
        );
        assert_eq!(split_path("/webhooks/segway/"), Some(("segway", "")));
        assert_eq!(
            split_path("/webhooks/%6eiu"),
            Some(("%6eiu", "")),
            "no provider's slug"
        );
        assert_eq!(split_path("/webhooks/niu/a%0ab"), None);
        assert_eq!(split_path(&format!("/webhooks/niu/{}", "a".repeat(129))), None);
        assert_eq!(split_path("/"), None);
    }

    #[test]
    fn headers_are_cut_to_what_the_envelope_takes() {
        let headers = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(
                header::HeaderName::from_static(name),
                header::HeaderValue::from_static(value),
            )])
        };
        let of = |value| content_type(&headers("content-type", value));
        assert_eq!(
            of("Application/JSON; charset=utf-8").as_deref(),
            Some("application/json")
        );
        assert_eq!(of("a b"), None);
        let of = |value| traceparent(&headers("traceparent", value));
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of(valid).as_deref(), Some(valid));
        assert_eq!(
            of("00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            None
        );
        assert_eq!(of("00-4bf9"), None);
    }
}
