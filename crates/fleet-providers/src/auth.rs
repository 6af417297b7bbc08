//! How a provider proves that a webhook is its own.

use http::HeaderMap;
use secrecy::SecretString;

/// An authentication scheme, as written in `FLEET_PROVIDERS__<SLUG>__AUTH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthScheme {
    /// `none`: anybody may post.
    None,
    /// `bearer`: `Authorization: Bearer <secret>`.
    Bearer,
    /// `basic`: `Authorization: Basic base64(<secret>)`, the secret being `user:password`.
    Basic,
    /// `header:<name>`: the header's value is the secret.
    Header(http::HeaderName),
    /// `query:<name>`: the query parameter's value is the secret.
    Query(String),
    /// `hmac-sha256:<header>`: hex HMAC-SHA256 of the raw body, an optional `sha256=` in front.
    HmacSha256(http::HeaderName),
    /// `segway-md5`: the `signature` parameter inside the body.
    SegwayMd5,
}

/// Why a text is not an [`AuthScheme`].
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown authentication scheme; use none, bearer, basic, header:<name>, query:<name>, \
     hmac-sha256:<header> or segway-md5"
)]
pub struct InvalidAuthScheme;

/// The secrets that are valid at the moment (several while one is being rotated); redacted in `Debug`.
#[derive(Clone, Debug, Default)]
pub struct Secrets(pub Vec<SecretString>);

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the provider.
    Genuine,
    /// It is not, or it cannot be told.
    Refused,
    /// Only the body can tell.
    NeedsBody,
}

impl AuthScheme {
    /// Checks what stands in the request's head: [`Verdict::NeedsBody`] for the schemes that sign the body.
    pub fn verify_head(&self, headers: &HeaderMap, query: Option<&str>, secrets: &Secrets) -> Verdict {
        let _ = (headers, query, secrets);
        Verdict::Refused
    }

    /// Checks the whole request, for the schemes that sign the body.
    pub fn verify_body(
        &self,
        headers: &HeaderMap,
        content_type: Option<&str>,
        body: &[u8],
        secrets: &Secrets,
    ) -> Verdict {
        let _ = (headers, content_type, body, secrets);
        Verdict::Refused
    }
}
