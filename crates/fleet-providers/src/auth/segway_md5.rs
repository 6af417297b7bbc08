//! Segway's signature inside the body; see [`super::AuthScheme::SegwayMd5`].

use std::borrow::Cow;

use md5::{Digest, Md5};
use memchr::{memchr, memchr2};
use subtle::ConstantTimeEq;

use super::secrets::Secrets;
use super::verify;
use crate::fields::{Fields, Value};
use crate::{body, form, json};

/// The parameter with the signature, which does not cover itself.
const SIGNATURE: &str = "signature";

/// A request with more parameters is refused before any is decoded, sorted or hashed. The largest known message, a status,
/// has some two dozen.
const MAX_PARAMETERS: usize = 128;

/// Precedes the secret in the signed text.
const SECRET: &[u8] = b"&client_secret=";

/// A parameter: its name and its value as it is signed.
type Parameter<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Whether the body is signed with one of the secrets.
pub(super) fn verify(content_type: Option<&str>, body: &[u8], secrets: &Secrets) -> bool {
    let Some(mut parameters) = parameters(content_type, body) else {
        return false;
    };
    // Without escapes, the signed text has the same parameters as the form.
    let may_be_ambiguous = !form::is_form(content_type, body) || memchr(b'%', body).is_some();
    if may_be_ambiguous && parameters.iter().any(is_ambiguous) {
        return false;
    }
    // Known receivers, and so the sender, sort as JavaScript does: by UTF-16 code unit.
    if parameters.iter().all(|(name, _)| name.is_ascii()) {
        parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
    } else {
        parameters.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    }
    // Of a repeated name, the signed value need not be the one that is read.
    if parameters.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
        return false;
    }
    let signature = parameters.iter().find(|(name, _)| name == SIGNATURE);
    let Some(expected) = signature.and_then(|(_, value)| verify::hex::<16>(value.as_bytes())) else {
        return false;
    };
    let mut signed = Vec::with_capacity(body.len() + SECRET.len());
    for (name, value) in parameters.iter().filter(|(name, _)| name != SIGNATURE) {
        if !signed.is_empty() {
            signed.push(b'&');
        }
        signed.extend_from_slice(name.as_bytes());
        signed.push(b'=');
        signed.extend_from_slice(value.as_bytes());
    }
    signed.extend_from_slice(SECRET);
    let signed = Md5::new_with_prefix(signed);
    verify::any(secrets, |secret| {
        let digest = signed.clone().chain_update(secret).finalize();
        digest.as_slice().ct_eq(&expected)
    })
}

/// Whether the parameter in the signed text could also be read as several. The signed text has no escapes: `a=1&b=2` is two
/// parameters, or one with the value `1&b=2`. Without this check, a client that has seen a request could hide its times in
/// another parameter and send an old state as a new one. An `&` without a following `=` begins no parameter.
fn is_ambiguous((name, value): &Parameter<'_>) -> bool {
    let value = value.as_bytes();
    memchr2(b'&', b'=', name.as_bytes()).is_some()
        || memchr(b'&', value).is_some_and(|start| memchr(b'=', &value[start..]).is_some())
}

/// All parameters. `None` if there are too many, if a value is nested, or if the body cannot be decoded.
fn parameters<'a>(content_type: Option<&str>, body: &'a [u8]) -> Option<Vec<Parameter<'a>>> {
    if form::is_form(content_type, body) {
        let is_small = form::has_at_most(body, MAX_PARAMETERS);
        return if is_small { form::pairs(body).ok() } else { None };
    }
    let text = body::trimmed(body);
    if !json::has_at_most(text, MAX_PARAMETERS) {
        return None;
    }
    let Fields(members) = Fields::from_json(std::str::from_utf8(text).ok()?).ok()?;
    members.into_iter().map(|(name, value)| Some((name, signed(&value)?))).collect()
}

/// A string decoded, or another scalar as written. No known sender signs nested values.
fn signed<'a>(value: &Value<'a>) -> Option<Cow<'a, str>> {
    let written = value.written();
    if written.starts_with('"') {
        return value.text();
    }
    (!written.starts_with(['{', '['])).then_some(written)
}
