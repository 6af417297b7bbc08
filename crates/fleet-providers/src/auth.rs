//! How a provider proves that a webhook is its own.

pub(crate) mod secrets;
mod segway_md5;
mod verify;

use std::fmt;
use std::str::FromStr;

use self::secrets::Secrets;
use http::{HeaderMap, HeaderName};

/// An authentication scheme, as written in `FLEET_PROVIDERS__<SLUG>__AUTH`. It is shown without the name in it: a secret
/// may stand there by mistake.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthScheme {
    /// `none`: anybody may post.
    None,
    /// `bearer`: `Authorization: Bearer <secret>`.
    Bearer,
    /// `basic`: `Authorization: Basic base64(<secret>)`, the secret being `user:password`.
    Basic,
    /// `header:<name>`: the header's value is the secret.
    Header(HeaderName),
    /// `query:<name>`: the query parameter's value is the secret.
    Query(String),
    /// `hmac-sha256:<header>`: hex HMAC-SHA256 of the raw body, an optional `sha256=` in front.
    HmacSha256(HeaderName),
    /// `segway-md5`: the `signature` parameter inside the body.
    ///
    /// It is the MD5 in hex over all other parameters, decoded, as `name=value` sorted by name and joined with
    /// `&`, and `&client_secret=<secret>` at the end. In a body of JSON, strings count as decoded and other
    /// scalars as written; nested values and repeated names are refused, and so is a name or value that the signed
    /// text does not tell from several parameters. It has no time in it: whoever has seen a request can send it again,
    /// and only the idempotence of what follows makes that harmless.
    SegwayMd5,
}

/// Why a text is not an [`AuthScheme`].
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown authentication scheme; use none, bearer, basic, header:<name>, query:<name>, \
     hmac-sha256:<header> or segway-md5"
)]
pub struct InvalidAuthScheme;

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

impl From<bool> for Verdict {
    fn from(genuine: bool) -> Self {
        if genuine { Self::Genuine } else { Self::Refused }
    }
}

impl AuthScheme {
    /// Whether a genuine request proves who sent it.
    pub fn authenticates(&self) -> bool {
        *self != Self::None
    }

    /// Whether the proof is in the request's head, so that the sender is known before the body is read.
    pub fn is_in_head(&self) -> bool {
        match self {
            Self::Bearer | Self::Basic | Self::Header(_) | Self::Query(_) => true,
            Self::None | Self::HmacSha256(_) | Self::SegwayMd5 => false,
        }
    }

    /// Takes away the headers that [`AuthScheme::verify_body`] does not look at.
    pub fn retain_proof(&self, headers: &mut HeaderMap) {
        match self {
            Self::HmacSha256(name) => {
                let proof: Vec<_> = headers.get_all(name).iter().cloned().collect();
                headers.clear();
                // More than one is refused.
                for value in proof.into_iter().take(2) {
                    headers.append(name, value);
                }
            }
            Self::None | Self::Bearer | Self::Basic | Self::Header(_) | Self::Query(_) | Self::SegwayMd5 => {
                headers.clear();
            }
        }
    }

    /// Checks what stands in the request's head: [`Verdict::NeedsBody`] for the schemes that sign the body.
    ///
    /// Without secrets nobody is genuine, but under [`AuthScheme::None`].
    pub fn verify_head(&self, headers: &HeaderMap, query: Option<&str>, secrets: &Secrets) -> Verdict {
        match self {
            Self::None => Verdict::Genuine,
            Self::Bearer => verify::credentials(headers, "bearer")
                .is_some_and(|token| verify::plain(token, secrets))
                .into(),
            Self::Basic => verify::credentials(headers, "basic")
                .is_some_and(|token| verify::base64(token, secrets))
                .into(),
            Self::Header(name) => {
                verify::only(headers, name).is_some_and(|value| verify::plain(value, secrets)).into()
            }
            Self::Query(name) => verify::query(query.unwrap_or_default(), name, secrets).into(),
            Self::HmacSha256(_) | Self::SegwayMd5 => Verdict::NeedsBody,
        }
    }

    /// Checks the request with its body, for the schemes that sign it; the others are refused here, but for
    /// [`AuthScheme::None`], as this check cannot see all they need.
    pub fn verify_body(
        &self,
        headers: &HeaderMap,
        content_type: Option<&str>,
        body: &[u8],
        secrets: &Secrets,
    ) -> Verdict {
        match self {
            Self::None => Verdict::Genuine,
            Self::HmacSha256(name) => {
                verify::only(headers, name).is_some_and(|mac| verify::hmac_sha256(mac, body, secrets)).into()
            }
            Self::SegwayMd5 => segway_md5::verify(content_type, body, secrets).into(),
            Self::Bearer | Self::Basic | Self::Header(_) | Self::Query(_) => Verdict::Refused,
        }
    }
}

impl FromStr for AuthScheme {
    type Err = InvalidAuthScheme;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let header = |name: &str| name.parse::<HeaderName>().map_err(|_| InvalidAuthScheme);
        match text.split_once(':') {
            None => match text {
                "none" => Ok(Self::None),
                "bearer" => Ok(Self::Bearer),
                "basic" => Ok(Self::Basic),
                "segway-md5" => Ok(Self::SegwayMd5),
                _ => Err(InvalidAuthScheme),
            },
            Some(("header", name)) => Ok(Self::Header(header(name)?)),
            Some(("hmac-sha256", name)) => Ok(Self::HmacSha256(header(name)?)),
            Some(("query", name)) if !name.trim().is_empty() => Ok(Self::Query(name.to_owned())),
            Some(_) => Err(InvalidAuthScheme),
        }
    }
}

impl fmt::Display for AuthScheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Bearer => formatter.write_str("bearer"),
            Self::Basic => formatter.write_str("basic"),
            Self::Header(_) => formatter.write_str("header:[redacted]"),
            Self::Query(_) => formatter.write_str("query:[redacted]"),
            Self::HmacSha256(_) => formatter.write_str("hmac-sha256:[redacted]"),
            Self::SegwayMd5 => formatter.write_str("segway-md5"),
        }
    }
}

impl fmt::Debug for AuthScheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
