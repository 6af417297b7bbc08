//! TLS to Redis and PostgreSQL: which CAs to trust, what to verify, and what to do about an error.
//!
//! It uses rustls with its ring provider and does not need OpenSSL.

mod advice;
mod check;
mod trust;

pub use advice::advice;
pub use check::{Check, client_config};
pub use trust::{TlsError, TrustAnchors};

/// Makes ring the default cryptography provider of this process. May be called more than once.
pub fn use_ring() {
    // An error means that there is a default already.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
}
