//! The responses: one file for each kind of request.

pub(crate) mod asset;
pub(crate) mod documented;
pub(crate) mod format;
pub(crate) mod map;
pub(crate) mod openapi;
pub(crate) mod router;
pub(crate) mod stream;
pub(crate) mod track;
pub(crate) mod vehicle;
pub(crate) mod vehicles;
