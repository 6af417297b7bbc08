//! Segway's signature inside the body; see [`super::AuthScheme::SegwayMd5`].

use std::borrow::Cow;

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::{Secrets, verify};
use crate::fields::{Fields, Value};
use crate::{form, json};

/// The parameter that holds the signature, and is not covered by it.
const SIGNATURE: &str = "signature";

/// A parameter: its name and its value as it is signed.
type Parameter<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Whether the body is signed with one of the secrets.
pub(super) fn verify(content_type: Option<&str>, body: &[u8], secrets: &Secrets) -> bool {
    let Some(mut parameters) = parameters(content_type, body) else {
        return false;
    };
    if parameters.iter().any(is_ambiguous) {
        return false;
    }
    // JavaScript's order of strings, by UTF-16 code unit, is what the receivers and so the sender use.
    parameters.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    // Of a repeated name, the one that is signed need not be the one that is read.
    if parameters.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
        return false;
    }
    let signature = parameters.iter().find(|(name, _)| name == SIGNATURE);
    let Some(expected) = signature.and_then(|(_, value)| verify::hex::<16>(value.as_bytes())) else {
        return false;
    };
    let mut signed = Md5::new();
    let covered = parameters.iter().filter(|(name, _)| name != SIGNATURE);
    for (index, (name, value)) in covered.enumerate() {
        if index > 0 {
            signed.update(b"&");
        }
        signed.update(name.as_bytes());
        signed.update(b"=");
        signed.update(value.as_bytes());
    }
    signed.update(b"&client_secret=");
    verify::any(secrets, |secret| {
        let digest = signed.clone().chain_update(secret).finalize();
        digest.as_slice().ct_eq(&expected)
    })
}

/// Whether the parameter, as it is signed, reads like several. The signed text has no escapes: `a=1&b=2` is two
/// parameters, or one with the value `1&b=2`. Who has seen a request could so take the times out of it, and send an old
/// state as a new one. An `&` that no `=` follows begins no parameter.
fn is_ambiguous((name, value): &Parameter<'_>) -> bool {
    name.contains(['&', '=']) || value.split_once('&').is_some_and(|(_, rest)| rest.contains('='))
}

/// All parameters, or none if the body is not flat or cannot be decoded.
fn parameters<'a>(content_type: Option<&str>, body: &'a [u8]) -> Option<Vec<Parameter<'a>>> {
    if form::is_form(content_type, body) {
        return form::pairs(body).ok();
    }
    let text = std::str::from_utf8(body).ok()?;
    let Fields(members) = json::object(json::trimmed(text)).ok()?;
    members.into_iter().map(|(name, value)| Some((name, signed(&value)?))).collect()
}

/// A string decoded, another scalar as written; what is nested is not signed by any known sender.
fn signed<'a>(value: &Value<'a>) -> Option<Cow<'a, str>> {
    let written = value.written();
    if written.starts_with('"') {
        return value.text();
    }
    (!written.starts_with(['{', '['])).then_some(written)
}
