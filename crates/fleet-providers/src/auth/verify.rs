//! Comparisons with the configured secrets.
//!
//! Every comparison reads all secrets and all bytes. Its duration therefore does not tell a client how much of a guess was
//! right.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use secrecy::ExposeSecret;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use super::secrets::Secrets;

/// Whether `proof` accepts any secret. Tries all of them, except an empty one, which is a mistake in the configuration.
pub(super) fn any(secrets: &Secrets, proof: impl Fn(&[u8]) -> Choice) -> bool {
    let found = secrets
        .0
        .iter()
        .map(|secret| secret.expose_secret().as_bytes())
        .filter(|secret| !secret.is_empty())
        .fold(Choice::from(0), |found, secret| found | proof(secret));
    found.into()
}

/// The header's value, if it is there exactly once. Of two values, a proxy may have checked the other one.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value.as_bytes())
}

/// The credentials after the scheme's name (in upper or lower case) in `Authorization`.
pub(super) fn credentials<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h [u8]> {
    let value = only(headers, &AUTHORIZATION)?;
    let (word, rest) = value.split_at_checked(scheme.len())?;
    let separated = rest.first() == Some(&b' ');
    (separated && word.eq_ignore_ascii_case(scheme.as_bytes())).then_some(rest.trim_ascii())
}

/// The secret itself.
pub(super) fn plain(candidate: &[u8], secrets: &Secrets) -> bool {
    any(secrets, |secret| secret.ct_eq(candidate))
}

/// The secret in Base64.
pub(super) fn base64(candidate: &[u8], secrets: &Secrets) -> bool {
    any(secrets, |secret| STANDARD.encode(secret).as_bytes().ct_eq(candidate))
}

/// The secret as the value of a parameter, which must not be repeated.
pub(super) fn query(query: &str, name: &str, secrets: &Secrets) -> bool {
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    let first = values.next();
    first.is_some_and(|(_, value)| values.next().is_none() && plain(value.as_bytes(), secrets))
}

/// The HMAC-SHA256 of the body in hex, with or without the prefix `sha256=`.
pub(super) fn hmac_sha256(candidate: &[u8], body: &[u8], secrets: &Secrets) -> bool {
    let digits = candidate.strip_prefix(b"sha256=").unwrap_or(candidate);
    let Some(expected) = hex::<32>(digits) else {
        return false;
    };
    any(secrets, |secret| {
        // HMAC accepts a key of any length, so this cannot fail.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
            return Choice::from(0);
        };
        mac.update(body);
        mac.finalize().into_bytes().as_slice().ct_eq(&expected)
    })
}

/// Exactly `N` bytes in hexadecimal digits of either case.
pub(super) fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}
