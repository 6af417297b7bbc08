//! How a provider authenticates its webhooks.

pub(crate) mod secrets;
mod segway_md5;
mod verify;

use std::fmt;
use std::str::FromStr;

use self::secrets::Secrets;
use http::{HeaderMap, HeaderName};

/// An authentication scheme, as written in `FLEET_PROVIDERS__<SLUG>__AUTH`. `Debug` and `Display` do not show the name in it,
/// because an operator may have put a secret there by mistake.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthScheme {
    /// `none`: any client may post.
    None,
    /// `bearer`: `Authorization: Bearer <secret>`.
    Bearer,
    /// `basic`: `Authorization: Basic base64(<secret>)`, the secret being `user:password`.
    Basic,
    /// `header:<name>`: the header's value is the secret.
    Header(HeaderName),
    /// `query:<name>`: the query parameter's value is the secret.
    Query(String),
    /// `hmac-sha256:<header>`: the HMAC-SHA256 of the raw body in hex, with an optional prefix `sha256=`.
    HmacSha256(HeaderName),
    /// `segway-md5`: the `signature` parameter inside the body.
    ///
    /// It is the MD5 in hex of all other parameters, decoded, as `name=value`, sorted by name and joined with `&`, followed by
    /// `&client_secret=<secret>`. In a JSON body, strings are decoded and other scalars are taken as written. Nested values and
    /// repeated names are refused, and so is a name or value that could also be read as several parameters. The signature
    /// covers no time: a client that has seen a request can replay it, which is harmless only because processing is
    /// idempotent.
    SegwayMd5,
}

/// Why a text is not an [`AuthScheme`].
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown authentication scheme; use none, bearer, basic, header:<name>, query:<name>, \
     hmac-sha256:<header> or segway-md5"
)]
pub struct InvalidAuthScheme;

/// The result of an authentication check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request comes from the provider.
    Genuine,
    /// The request does not come from the provider, or this cannot be verified.
    Refused,
    /// The signature is in or over the body.
    NeedsBody,
}

impl From<bool> for Verdict {
    fn from(genuine: bool) -> Self {
        if genuine { Self::Genuine } else { Self::Refused }
    }
}

impl AuthScheme {
    /// Whether the scheme authenticates the sender.
    pub fn authenticates(&self) -> bool {
        *self != Self::None
    }

    /// Whether the credentials are in the request line or headers. Then the sender is known before the body is read.
    pub fn is_in_head(&self) -> bool {
        match self {
            Self::Bearer | Self::Basic | Self::Header(_) | Self::Query(_) => true,
            Self::None | Self::HmacSha256(_) | Self::SegwayMd5 => false,
        }
    }

    /// Removes the headers that [`AuthScheme::verify_body`] does not need.
    pub fn retain_proof(&self, headers: &mut HeaderMap) {
        match self {
            Self::HmacSha256(name) => {
                let proof: Vec<_> = headers.get_all(name).iter().cloned().collect();
                headers.clear();
                // Two are enough for the check to refuse them.
                for value in proof.into_iter().take(2) {
                    headers.append(name, value);
                }
            }
            Self::None | Self::Bearer | Self::Basic | Self::Header(_) | Self::Query(_) | Self::SegwayMd5 => {
                headers.clear();
            }
        }
    }

    /// Checks the request line and headers. [`Verdict::NeedsBody`] for the schemes that sign the body.
    ///
    /// Without secrets every request is refused, except under [`AuthScheme::None`].
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

    /// Checks the request with its body, for the schemes that sign it. Refuses the other schemes, except [`AuthScheme::None`],
    /// because this check does not receive all that they need.
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
