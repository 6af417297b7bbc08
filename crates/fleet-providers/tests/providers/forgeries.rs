//! Altered genuine requests. A request is refused if its meaning differs from what was signed.

use fleet_providers::{AuthScheme, Verdict};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use sha2::Sha256;

use crate::support::{Fixture, SECRET, fixtures, secrets};

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

fn is_genuine(
    scheme: &AuthScheme,
    headers: &HeaderMap,
    query: Option<&str>,
    media_type: Option<&str>,
    body: &[u8],
) -> bool {
    let secrets = secrets(&["", "another-secret", SECRET]);
    match scheme.verify_head(headers, query, &secrets) {
        Verdict::NeedsBody => scheme.verify_body(headers, media_type, body, &secrets) == Verdict::Genuine,
        verdict @ (Verdict::Genuine | Verdict::Refused) => verdict == Verdict::Genuine,
    }
}

/// Whether a form has a valid Segway signature.
fn is_signed(body: &[u8]) -> bool {
    is_genuine(&AuthScheme::SegwayMd5, &HeaderMap::new(), None, FORM, body)
}

/// A form's parameters, sorted, with the signature's digits in one case.
fn parameters(body: &[u8]) -> Vec<(String, String)> {
    // White space around a form is not a part of it.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    let mut pairs: Vec<_> = form_urlencoded::parse(body)
        .map(|(name, value)| match &*name {
            "signature" => (name.into_owned(), value.to_ascii_lowercase()),
            _ => (name.into_owned(), value.into_owned()),
        })
        .collect();
    pairs.sort();
    pairs
}

fn genuine_forms() -> Vec<Fixture> {
    let forms = fixtures().into_iter().filter(|fixture| fixture.content_type != "application/json");
    let forms: Vec<_> = forms.filter(|fixture| is_signed(&fixture.body)).collect();
    assert!(forms.len() > 10);
    forms
}

fn altered(original: &[u8], edits: &[(Index, usize, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for (place, removed, inserted) in edits {
        let start = place.index(bytes.len() + 1);
        let end = (start + removed).min(bytes.len());
        bytes.splice(start..end, inserted.iter().copied());
    }
    bytes
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let tokens = ["", "&", "=", "%", "+", "%26", "%3D", "%00", "&&", "0", "f", " ", "signature=", "true"];
    prop_oneof![
        prop::sample::select(tokens.to_vec()).prop_map(|token| token.as_bytes().to_vec()),
        vec(any::<u8>(), 1..3),
    ]
}

fn edits() -> impl Strategy<Value = Vec<(Index, usize, Vec<u8>)>> {
    vec((any::<Index>(), 0_usize..4, piece()), 1..4)
}

fn mac(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_altered_form_is_refused(which in any::<Index>(), edits in edits()) {
        let forms = genuine_forms();
        let original = &which.get(&forms).body;
        let body = altered(original, &edits);
        if is_signed(&body) {
            prop_assert_eq!(parameters(&body), parameters(original), "{}", String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn an_altered_body_is_not_what_was_signed(body in vec(any::<u8>(), 0..200), edits in edits()) {
        let scheme: AuthScheme = "hmac-sha256:x-signature".parse().unwrap();
        let name = HeaderName::from_static("x-signature");
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(&mac(&body)).unwrap())]);
        prop_assert!(is_genuine(&scheme, &headers, None, None, &body));
        let other = altered(&body, &edits);
        prop_assert_eq!(is_genuine(&scheme, &headers, None, None, &other), other == body);
    }

    #[test]
    fn an_altered_credential_is_refused(edits in edits()) {
        for (scheme, name, value) in [
            ("bearer", "authorization", format!("Bearer {SECRET}")),
            ("basic", "authorization", "Basic dGVzdC1zZWNyZXQtMDAwMQ==".to_owned()),
            ("header:token", "token", SECRET.to_owned()),
        ] {
            let scheme: AuthScheme = scheme.parse().unwrap();
            let headers = |value: &[u8]| {
                let value = HeaderValue::from_bytes(value).ok()?;
                Some(HeaderMap::from_iter([(HeaderName::from_static(name), value)]))
            };
            prop_assert!(is_genuine(&scheme, &headers(value.as_bytes()).unwrap(), None, None, b""));
            let other = altered(value.as_bytes(), &edits);
            // Spaces around the credentials and the case of the scheme's name have no meaning.
            let word = value.find(' ').unwrap_or(0);
            let same = other.len() > word
                && other[word..].trim_ascii() == value.as_bytes()[word..].trim_ascii()
                && other[..word].eq_ignore_ascii_case(&value.as_bytes()[..word]);
            if let Some(headers) = headers(&other)
                && is_genuine(&scheme, &headers, None, None, b"")
            {
                prop_assert!(same, "{name}: {}", String::from_utf8_lossy(&other));
            }
        }
    }

    #[test]
    fn an_altered_query_is_refused(edits in edits()) {
        let scheme: AuthScheme = "query:key".parse().unwrap();
        let original = format!("a=1&key={SECRET}");
        prop_assert!(is_genuine(&scheme, &HeaderMap::new(), Some(&original), None, b""));
        let other = String::from_utf8_lossy(&altered(original.as_bytes(), &edits)).into_owned();
        if is_genuine(&scheme, &HeaderMap::new(), Some(&other), None, b"") {
            let keys: Vec<_> = form_urlencoded::parse(other.as_bytes()).filter(|(name, _)| name == "key").collect();
            prop_assert_eq!(keys, [("key".into(), SECRET.into())]);
        }
    }
}

/// The signed text joins the parameters without escapes: `a=1&b=2` is also one parameter `a` with the value `1&b=2`. A client
/// that has seen one request could hide its times like this, and send an old state as a new one.
#[test]
fn parameters_cannot_be_hidden_in_each_other() {
    let form = String::from_utf8(Fixture::named("segway", "status_v2.form").body).unwrap();
    assert!(is_signed(form.as_bytes()));
    let (signed, signature) = form.split_once("&signature=").unwrap();
    let mut pairs: Vec<&str> = signed.split('&').collect();
    pairs.sort_unstable();
    for hidden in 1..pairs.len() {
        // Each parameter in turn becomes part of the value before it.
        let mut merged = pairs.clone();
        let part = merged.remove(hidden).replace('=', "%3D");
        let value = format!("{}%26{part}", merged[hidden - 1]);
        merged[hidden - 1] = &value;
        let body = format!("{}&signature={signature}", merged.join("&"));
        assert!(!is_signed(body.as_bytes()), "{body}");
        let text = value.replace("%26", "&").replace("%3D", "=");
        let (name, value) = text.split_once('=').unwrap();
        merged.remove(hidden - 1);
        let mut members: Vec<_> = merged.iter().map(|pair| pair.split_once('=').unwrap()).collect();
        members.extend([(name, value), ("signature", signature)]);
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        let json = format!("{{{}}}", members.join(","));
        let json = is_genuine(
            &AuthScheme::SegwayMd5,
            &HeaderMap::new(),
            None,
            Some("application/json"),
            json.as_bytes(),
        );
        assert!(!json, "in JSON");
    }
}
