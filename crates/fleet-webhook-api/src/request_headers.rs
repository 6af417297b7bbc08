//! What the API reads from a request's headers.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, header};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const MAX_CONTENT_TYPE_BYTES: usize = 64;
/// Values of `Content-Encoding` that name no coding: no value, the character set, and values that belong into
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

/// Whether the body is compressed or otherwise coded. Every value counts, except those that name no coding.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut words =
        encodings.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    words.any(|word| !NO_CODINGS.iter().any(|no_coding| no_coding.eq_ignore_ascii_case(word)))
}

/// The length that the sender declares for the body, bytes.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Media type of the body in lower case, without parameters; `None` if an envelope cannot carry it.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<Cow<'static, str>> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = text.split(';').next().unwrap_or_default().trim();
    if let Some(usual) = USUAL_CONTENT_TYPES.into_iter().find(|usual| usual.eq_ignore_ascii_case(essence)) {
        return Some(Cow::Borrowed(usual));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-.+_".contains(&byte);
    let usable = !essence.is_empty() && essence.len() <= MAX_CONTENT_TYPE_BYTES && essence.bytes().all(plain);
    usable.then(|| Cow::Owned(essence.to_ascii_lowercase()))
}

/// The W3C trace context; `None` if it does not have the form that the standard defines.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<String> {
    // Check the length first: any client may send this header, and nothing is to be allocated for a wrong one.
    let text = headers.get(TRACEPARENT).filter(|value| value.len() == 55)?.to_str().ok()?;
    let parts: Vec<_> = text.split('-').collect();
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    let is_hex =
        |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let is_valid = lengths == [2, 32, 16, 2] && parts.iter().all(is_hex);
    (is_valid && parts[0] != "ff" && !is_zero(parts[1]) && !is_zero(parts[2])).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
