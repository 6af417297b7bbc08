//! From a request to a verified webhook: every check, in the documented order.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, Method, Request, header};
#[cfg(doc)]
use fleet_providers::AuthScheme;
use fleet_providers::Verdict;
use fleet_runtime::http::{Kept, Peer};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use crate::admission::Permits;
use crate::metrics::Shed;
use crate::response::Outcome;
use crate::server::Source;

const ROUTE: &str = "/webhooks/";
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const MAX_TOPIC_BYTES: usize = 128;
const MAX_CONTENT_TYPE_BYTES: usize = 64;
/// Words in `Content-Encoding` that name no coding: none at all, the character set, and what belongs into
/// `Content-Transfer-Encoding` or `Transfer-Encoding`.
const NO_CODINGS: [&[u8]; 10] = [
    b"",
    b"identity",
    b"none",
    b"utf-8",
    b"utf8",
    b"us-ascii",
    b"iso-8859-1",
    b"8bit",
    b"binary",
    b"chunked",
];
const USUAL_CONTENT_TYPES: [&str; 2] = ["application/json", "application/x-www-form-urlencoded"];

/// A request's header map, emptied. With the answer it goes back to hyper, which makes the next request's of it.
#[derive(Debug, Default)]
pub struct SpareHeaders(pub(crate) HeaderMap);

/// A request whose head has passed every check.
#[derive(Debug)]
pub struct Admitted {
    source: Arc<Source>,
    topic: String,
    content_type: Option<Cow<'static, str>>,
    /// Those that the signature needs.
    headers: HeaderMap,
    sender: Sender,
    body: Incoming,
}

/// What the head says of the sender.
#[derive(Debug)]
enum Sender {
    /// It is the provider, and may bring its body.
    Authenticated(OwnedSemaphorePermit, Option<Kept>),
    /// Only the body can tell; or nobody, under [`AuthScheme::None`].
    Unknown(Peer),
}

/// A webhook that may be pushed.
#[derive(Debug)]
pub struct Verified {
    /// The webhook.
    pub webhook: VerifiedWebhook,
    /// For as long as the message is in memory.
    pub permits: Permits,
    /// For the answer.
    pub spare: SpareHeaders,
    /// What keeps the connection until the request is answered, if it is not kept for longer.
    pub kept: Option<Kept>,
}

/// A request whose sender is known and whose body is here. There is no other way to make one.
#[derive(Debug)]
pub struct VerifiedWebhook {
    topic: String,
    content_type: Option<Cow<'static, str>>,
    body: Bytes,
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
}

impl Admitted {
    /// Checks a request's head. What follows need not hold it, only what it says about the body.
    ///
    /// # Errors
    ///
    /// The outcome of the first check that fails.
    pub fn check(
        request: Request<Incoming>,
        peer: Peer,
        source: Arc<Source>,
        topic: String,
    ) -> Result<Self, Outcome> {
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
        let by_head = source.scheme.verify_head(&head.headers, head.uri.query(), &source.secrets.get());
        if by_head == Verdict::Refused {
            return Err(Outcome::Unauthorized);
        }
        let is_authenticated = by_head == Verdict::Genuine && source.scheme.authenticates();
        let kept = if is_authenticated { admission.keep(&peer)? } else { None };
        if source.commit.is_shedding() {
            admission.shed.count(Shed::BacklogFull);
            return Err(Outcome::BacklogFull);
        }
        let content_type = content_type(&head.headers);
        // What the signature does not need would be in memory for as long as the body takes.
        let mut headers = head.headers;
        source.scheme.retain_proof(&mut headers);
        let sender = if is_authenticated {
            Sender::Authenticated(admission.admit()?, kept)
        } else {
            Sender::Unknown(peer)
        };
        Ok(Self { source, topic, content_type, headers, sender, body })
    }

    /// Reads and verifies the body.
    ///
    /// # Errors
    ///
    /// The outcome of the first check that fails.
    pub async fn verify(self) -> Result<Verified, Outcome> {
        let Self { source, topic, content_type, mut headers, sender, body } = self;
        let admission = &source.admission;
        let (body, permits, kept) = match sender {
            Sender::Authenticated(request, kept) => {
                let (body, bytes) = admission.read(body).await?;
                (not_empty(body)?, Permits::new(request, bytes), kept)
            }
            Sender::Unknown(peer) => {
                let body = not_empty(admission.read_unauthenticated(body, &peer).await?)?;
                let secrets = source.secrets.get();
                let verdict = source.scheme.verify_body(&headers, content_type.as_deref(), &body, &secrets);
                if verdict != Verdict::Genuine {
                    return Err(Outcome::Unauthorized);
                }
                headers.clear();
                let kept = if source.scheme.authenticates() {
                    admission.keep(&peer)?
                } else {
                    Some(peer.work().ok_or(Outcome::Busy)?)
                };
                let permits = Permits::new(admission.admit()?, Some(admission.pay_for(body.len())?));
                (body, permits, kept)
            }
        };
        let webhook = VerifiedWebhook { topic, content_type, body };
        Ok(Verified { webhook, permits, spare: SpareHeaders(headers), kept })
    }
}

fn not_empty(body: Bytes) -> Result<Bytes, Outcome> {
    if body.is_empty() { Err(Outcome::EmptyBody) } else { Ok(body) }
}

/// Splits `/webhooks/{provider}[/{topic}]`, as sent: percent-encoded names are nobody's.
pub fn split_path(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix(ROUTE)?;
    let (slug, topic) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    (topic.len() <= MAX_TOPIC_BYTES && topic.bytes().all(plain)).then_some((slug, topic))
}

/// Whether the body is compressed or otherwise coded. Each word of the header is looked at; one that only says that the
/// body is not coded, or that names something else by mistake, changes nothing.
fn is_encoded(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut words =
        encodings.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    words.any(|word| !NO_CODINGS.iter().any(|no_coding| no_coding.eq_ignore_ascii_case(word)))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn content_type(headers: &HeaderMap) -> Option<Cow<'static, str>> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = text.split(';').next().unwrap_or_default().trim();
    if let Some(usual) = USUAL_CONTENT_TYPES.into_iter().find(|usual| usual.eq_ignore_ascii_case(essence)) {
        return Some(Cow::Borrowed(usual));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-.+_".contains(&byte);
    let usable = !essence.is_empty() && essence.len() <= MAX_CONTENT_TYPE_BYTES && essence.bytes().all(plain);
    usable.then(|| Cow::Owned(essence.to_ascii_lowercase()))
}

/// The W3C trace context, only in the form that the standard gives it.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<String> {
    // Before anything is allocated for a header that anybody may send.
    let text = headers.get(TRACEPARENT).filter(|value| value.len() == 55)?.to_str().ok()?;
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
    fn only_real_codings_are_refused() {
        let is_encoded = |values: &[&'static str]| {
            let pair =
                |value: &&'static str| (header::CONTENT_ENCODING, header::HeaderValue::from_static(value));
            super::is_encoded(&values.iter().map(pair).collect())
        };
        for harmless in
            ["", " ", "identity", "Identity , identity", "none", "utf-8", "UTF-8", "utf8,identity", "binary"]
        {
            assert!(!is_encoded(&[harmless]), "{harmless}");
            assert!(is_encoded(&[harmless, "gzip"]), "{harmless} and gzip");
        }
        assert!(!is_encoded(&[]) && !is_encoded(&["identity", ""]));
        for coding in
            ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "identity, GZIP", "utf-16", "gzip;q=1"]
        {
            assert!(is_encoded(&[coding]), "{coding}");
        }
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
