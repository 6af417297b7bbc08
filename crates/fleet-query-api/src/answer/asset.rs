//! Responses that never change: made once, also compressed, with an entity tag.

use std::fmt::Write as _;
use std::io::Write as _;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::format::is_known;
use crate::vehicle::Fnv;

/// A response that never changes while the process lives.
#[derive(Debug)]
pub(crate) struct Asset {
    headers: HeaderMap,
    plain: Bytes,
    /// `None` if compression does not make it smaller.
    gzip: Option<Bytes>,
}

impl Asset {
    /// A text of this type.
    pub(crate) fn new(content_type: &'static str, text: impl Into<Bytes>) -> Self {
        let plain = text.into();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        let mut hash = Fnv::default();
        // Writing into a number cannot fail.
        let _written = hash.write_str(&String::from_utf8_lossy(&plain));
        // Hexadecimal digits are always a valid header value. The tag is weak, as the two encodings share it.
        if let Ok(tag) = HeaderValue::from_str(&format!("W/\"{:016x}\"", hash.0)) {
            headers.insert(header::ETAG, tag);
        }
        Self { headers, gzip: gzip(&plain).filter(|gzip| gzip.len() < plain.len()), plain }
    }

    /// The same with another header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Responds to a request with these headers.
    pub(crate) fn respond(&self, request: &HeaderMap) -> Response {
        let tag = self.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default();
        let mut response = if is_known(request, tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            match self.gzip.as_ref().filter(|_gzip| accepts_gzip(request)) {
                Some(gzip) => ([(header::CONTENT_ENCODING, "gzip")], gzip.clone()).into_response(),
                None => self.plain.clone().into_response(),
            }
        };
        response.headers_mut().extend(self.headers.clone());
        response
    }
}

fn gzip(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// Whether `Accept-Encoding` names gzip with a quality above zero.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
        is_gzip && quality.is_none_or(|quality| quality > 0.0)
    })
}
