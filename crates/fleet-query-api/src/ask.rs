//! What a request asks for.

pub(crate) mod area;
pub(crate) mod cursor;
pub(crate) mod filter;
pub(crate) mod page;
pub(crate) mod parameters;
