//! Normalizes a body before it is read as JSON or as a form.

/// The byte order mark that some libraries write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The body without a byte order mark, without surrounding white space, and without the U+0000 that some firmware appends.
///
/// The check of a signature over parameters and the parser both use this, so that the verified data is the stored data.
pub(crate) fn trimmed(body: &[u8]) -> &[u8] {
    let mut body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body).trim_ascii();
    while let Some(rest) = body.strip_suffix(b"\0") {
        body = rest.trim_ascii_end();
    }
    body
}

/// Whether the body is JSON, judged by its first character. No form begins with a bracket.
pub(crate) fn is_json(body: &[u8]) -> bool {
    matches!(trimmed(body).first(), Some(b'{' | b'['))
}
