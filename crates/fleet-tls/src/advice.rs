//! What to do about a handshake that failed.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::{CertificateError, OtherError};

/// What to do if `error` is a TLS error or was caused by one; `None` otherwise.
pub fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    find(error).map(what_to_do)
}

fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // `source` of an I/O error skips the error that it wraps.
        if let Some(wrapped) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            return find(wrapped);
        }
        // The redis crate wraps its causes into `Arc`, whose `source` skips the error inside.
        if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            return find(&**shared);
        }
        current = error.source();
    }
    None
}

fn what_to_do(error: &rustls::Error) -> &'static str {
    let rustls::Error::InvalidCertificate(problem) = error else {
        return "check that the server speaks TLS 1.2 or 1.3 at this port, without asking for a client's certificate";
    };
    if let CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } = problem {
        return "the server's certificate is for another name: connect by the name it is for, or have one issued for this \
                name (PostgreSQL alone: sslmode=verify-ca checks no name)";
    }
    if let CertificateError::Expired | CertificateError::ExpiredContext { .. } = problem {
        return "the server's certificate has expired: renew it on the server; if it is valid, set this machine's clock";
    }
    if let CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } = problem {
        return "the server's certificate is not valid yet: set the clocks of this machine and of the server";
    }
    if let CertificateError::UnknownIssuer | CertificateError::BadSignature = problem {
        return "the server's certificate is not trusted: set FLEET_TLS__CA_FILE (for PostgreSQL alone: sslrootcert in the \
                URL) to the file of the CA that signed it";
    }
    if let CertificateError::Other(OtherError(cause)) = problem
        && let Some(webpki::Error::CaUsedAsEndEntity) = cause.downcast_ref()
    {
        return "the server shows a CA's own certificate: sign one for the server with that CA, and install it there";
    }
    "the server's certificate cannot be used: have another one issued for it"
}
