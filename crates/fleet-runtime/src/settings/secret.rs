//! Settings that must never be shown in full.

use std::fmt;

use fleet_providers::{AuthScheme, InvalidAuthScheme, Secrets};
use secrecy::{ExposeSecret, SecretString};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const REDACTED: &str = "[redacted]";

/// A URL that may hold a password; it is shown without it.
#[derive(Clone)]
pub struct ConnectionUrl(SecretString);

impl ConnectionUrl {
    /// The whole URL, for connecting.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<&str> for ConnectionUrl {
    fn from(url: &str) -> Self {
        Self(SecretString::from(url))
    }
}

impl PartialEq for ConnectionUrl {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Display for ConnectionUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Anything but scheme://[user:password@]host[:port]/path may hide a password elsewhere.
        let Some((scheme, rest)) = self.expose().split_once("://") else {
            return formatter.write_str(REDACTED);
        };
        let (address, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
        match address.rsplit_once('@') {
            // A password may hold what usually ends an address.
            _ if query.contains('@') => write!(formatter, "{scheme}://{REDACTED}"),
            Some((_credentials, address)) => write!(formatter, "{scheme}://{REDACTED}@{address}"),
            None => write!(formatter, "{scheme}://{address}"),
        }
    }
}

impl fmt::Debug for ConnectionUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl<'de> Deserialize<'de> for ConnectionUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let url = String::deserialize(deserializer)?;
        // Otherwise the white space would become part of the name of a database or a user.
        if url.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            return Err(Error::custom(
                "there is white space or a control character inside the URL; percent-encode it (a space is %20), or look \
                 for a second line",
            ));
        }
        Ok(Self(SecretString::from(url)))
    }
}

impl Serialize for ConnectionUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A password.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "String")]
pub struct Password(SecretString);

impl From<String> for Password {
    fn from(given: String) -> Self {
        Self(SecretString::from(given))
    }
}

impl Password {
    /// The password itself.
    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// An authentication scheme as it was given. Its parameter, or the whole text if there is no such scheme, may be a secret in
/// the wrong place: neither is shown.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct GivenScheme(SecretString);

impl From<String> for GivenScheme {
    fn from(given: String) -> Self {
        Self(SecretString::from(given))
    }
}

impl GivenScheme {
    /// The scheme.
    ///
    /// # Errors
    ///
    /// If there is no such scheme.
    pub fn parse(&self) -> Result<AuthScheme, InvalidAuthScheme> {
        self.0.expose_secret().parse()
    }
}

impl fmt::Display for GivenScheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parse() {
            Ok(scheme) => scheme.fmt(formatter),
            Err(InvalidAuthScheme) => formatter.write_str(REDACTED),
        }
    }
}

impl fmt::Debug for GivenScheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for GivenScheme {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

pub(super) fn deserialize_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secrets, D::Error> {
    let secrets = list(&String::deserialize(deserializer)?, &[',']);
    if !is_plain(&secrets) {
        return Err(Error::custom(
            "there is a line end or another control character inside a secret; separate secrets by commas",
        ));
    }
    Ok(secrets)
}

/// The secrets in a text. Empty parts are ignored.
pub(super) fn list(text: &str, separators: &[char]) -> Secrets {
    let secrets = text.split(separators).map(str::trim).filter(|secret| !secret.is_empty());
    Secrets(secrets.map(SecretString::from).collect())
}

/// Whether no secret has a control character in it. Two secrets with a wrong separator would be read as one.
pub(super) fn is_plain(secrets: &Secrets) -> bool {
    !secrets.0.iter().any(|secret| secret.expose_secret().contains(char::is_control))
}

pub(super) fn serialize_list<S: Serializer>(secrets: &Secrets, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&vec![REDACTED; secrets.0.len()].join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_never_shows_its_password() {
        let shown = |url: &str| format!("{} {:?}", ConnectionUrl::from(url), ConnectionUrl::from(url));
        for url in [
            "postgres://fleet:hunter2@db:5432/fleet",
            "postgres://fleet@db/fleet?password=hunter2",
            "host=db user=fleet password=hunter2",
            "redis://:hunter2@redis:6379/0",
            "redis://:hun@ter2@redis:6379/0",
            "postgres://fleet:hun#ter2@db/fleet",
            "postgres://fleet:ter2?x@db/fleet",
            "postgres://fleet:ter2@x?y@db/fleet",
        ] {
            assert!(!shown(url).contains("ter2"), "{}", shown(url));
        }
        assert!(shown("redis://cache:6379/1").starts_with("redis://cache:6379/1 "));
    }
}
