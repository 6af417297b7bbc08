//! Every check on a request, in the order that docs/providers.md gives: first those on its headers, then those on its body.

pub(crate) mod body;
pub(crate) mod headers;
