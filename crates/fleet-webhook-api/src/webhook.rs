//! From a request to a verified webhook: every check, in the documented order.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, header};
use fleet_providers::Verdict;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::answer::Outcome;
use crate::metrics::{Shed, ShedMetrics};
use crate::server::Source;

const ROUTE: &str = "/webhooks/";
const MAX_TOPIC_BYTES: usize = 128;
const MAX_CONTENT_TYPE_BYTES: usize = 64;

/// What bounds one provider's requests at work. Each provider has its own bounds: whoever exhausts them, also a stranger
/// who cannot be told from the provider before the body is here, holds up nobody else's webhooks.
#[derive(Clone, Debug)]
pub struct Admission {
    /// One permit a request.
    pub requests: Arc<Semaphore>,
    /// One permit a byte of body that has arrived.
    pub body_bytes: Arc<Semaphore>,
    /// Most bytes of a body.
    pub max_body_bytes: u64,
    /// Most time for a body.
    pub body_timeout: Duration,
    /// Counts those that were not let in.
    pub shed: ShedMetrics,
}

/// A request's share of what bounds the requests at work; given back when dropped.
#[derive(Debug)]
pub struct Permits(#[expect(dead_code, reason = "held, not used")] [OwnedSemaphorePermit; 2]);

/// A request whose sender is known and whose body is here. There is no other way to make one.
#[derive(Debug)]
pub struct VerifiedWebhook {
    topic: String,
    content_type: Option<String>,
    body: Vec<u8>,
    permits: Permits,
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

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// What it holds of the bounds; for as long as the message is in memory.
    pub fn into_permits(self) -> Permits {
        self.permits
    }

    /// Admits, reads and verifies a request for `source`.
    ///
    /// # Errors
    ///
    /// The outcome of the first check that fails.
    pub async fn read(request: Request<Body>, source: &Source, topic: String) -> Result<Self, Outcome> {
        let admission = &source.admission;
        let (head, body) = request.into_parts();
        if head.method != Method::POST {
            return Err(Outcome::MethodNotAllowed);
        }
        let declared = content_length(&head.headers);
        if declared.is_some_and(|bytes| bytes > admission.max_body_bytes) {
            return Err(Outcome::TooLarge);
        }
        if is_encoded(&head.headers) {
            return Err(Outcome::UnsupportedEncoding);
        }
        let by_head = source.scheme.verify_head(&head.headers, head.uri.query(), &source.secrets);
        if by_head == Verdict::Refused {
            return Err(Outcome::Unauthorized);
        }
        if source.commit.is_shedding() {
            admission.shed.count(Shed::BacklogFull);
            return Err(Outcome::BacklogFull);
        }
        let request_permit = admission.admit()?;
        let (body, byte_permits) = admission.read_body(body).await?;
        if body.is_empty() {
            return Err(Outcome::EmptyBody);
        }
        let content_type = content_type(&head.headers);
        if by_head == Verdict::NeedsBody {
            let by_body =
                source.scheme.verify_body(&head.headers, content_type.as_deref(), &body, &source.secrets);
            if by_body != Verdict::Genuine {
                return Err(Outcome::Unauthorized);
            }
        }
        Ok(Self { topic, content_type, body, permits: Permits([request_permit, byte_permits]) })
    }
}

impl Admission {
    fn admit(&self) -> Result<OwnedSemaphorePermit, Outcome> {
        Arc::clone(&self.requests).try_acquire_owned().map_err(|_full| self.shed(Shed::RequestsInFlight))
    }

    async fn read_body(&self, body: Body) -> Result<(Vec<u8>, OwnedSemaphorePermit), Outcome> {
        tokio::time::timeout(self.body_timeout, self.collect(body)).await.unwrap_or(Err(Outcome::BodyTimeout))
    }

    /// Pays for bytes when they arrive, not when they are announced: announcing costs a stranger nothing.
    async fn collect(&self, mut body: Body) -> Result<(Vec<u8>, OwnedSemaphorePermit), Outcome> {
        let mut whole = Vec::new();
        let mut permits = self.pay_for(0)?;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_broken| Outcome::BodyIncomplete)?;
            // Trailers say nothing.
            let Ok(data) = frame.into_data() else { continue };
            let length = u64::try_from(whole.len() + data.len()).unwrap_or(u64::MAX);
            if length > self.max_body_bytes {
                return Err(Outcome::TooLarge);
            }
            permits.merge(self.pay_for(data.len())?);
            whole.extend_from_slice(&data);
        }
        Ok((whole, permits))
    }

    fn pay_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Outcome> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.body_bytes)
            .try_acquire_many_owned(bytes)
            .map_err(|_full| self.shed(Shed::BodyBytesInFlight))
    }

    fn shed(&self, reason: Shed) -> Outcome {
        self.shed.count(reason);
        Outcome::Busy
    }
}

/// Splits `/webhooks/{provider}[/{topic}]`, as sent: percent-encoded names are nobody's.
pub fn split_path(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix(ROUTE)?;
    let (slug, topic) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    (topic.len() <= MAX_TOPIC_BYTES && topic.bytes().all(plain)).then_some((slug, topic))
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
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

/// The W3C trace context, only in the form that the standard gives it.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<String> {
    // Before anything is allocated for a header that anybody may send.
    let text = headers.get("traceparent").filter(|value| value.len() == 55)?.to_str().ok()?;
    let parts: Vec<_> = text.split('-').collect();
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    let hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let absent = |part: &str| part.bytes().all(|byte| byte == b'0');
    let valid = lengths == [2, 32, 16, 2] && parts.iter().all(hex);
    (valid && parts[0] != "ff" && !absent(parts[1]) && !absent(parts[2])).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(split_path("/webhooks/niu"), Some(("niu", "")));
        assert_eq!(split_path("/webhooks/segway/vehicle/status"), Some(("segway", "vehicle/status")));
        assert_eq!(split_path("/webhooks/segway/"), Some(("segway", "")));
        assert_eq!(split_path("/webhooks/%6eiu"), Some(("%6eiu", "")), "no provider's slug");
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
        assert_eq!(of("Application/JSON; charset=utf-8").as_deref(), Some("application/json"));
        assert_eq!(of("a b"), None);
        let of = |value| traceparent(&headers("traceparent", value));
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of(valid).as_deref(), Some(valid));
        assert_eq!(of("00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), None);
        assert_eq!(of("00-4bf9"), None);
        assert_eq!(of("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
        assert_eq!(of("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), None);
    }
}
