//! What every body is freed of before it is read, whatever it is.

/// The byte order mark that some libraries write in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The body without a byte order mark, without white space around it, and without the U+0000 with which firmware pads.
///
/// A signature over parameters and the parser both read this, so that what is verified is what is stored.
pub(crate) fn trimmed(body: &[u8]) -> &[u8] {
    let mut body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body).trim_ascii();
    while let Some(rest) = body.strip_suffix(b"\0") {
        body = rest.trim_ascii_end();
    }
    body
}

/// Whether the body is JSON by its first character: no form begins with a bracket.
pub(crate) fn is_json(body: &[u8]) -> bool {
    matches!(trimmed(body).first(), Some(b'{' | b'['))
}
