//! TLS towards Redis and PostgreSQL: whom to trust, what to check, and what to do about an error.
//!
//! rustls with its ring provider; nothing here needs OpenSSL.

mod advice;
mod check;
mod trust;

pub use advice::advice;
pub use check::{Check, client_config};
pub use trust::{TlsError, TrustAnchors};

/// Makes ring this process' provider of cryptography, for libraries that ask for the default. Safe to repeat.
pub fn use_ring() {
    // An error means that there is one already.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
}
