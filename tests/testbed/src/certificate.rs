//! The certificate of a server with TLS.

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::Error;

/// A server's certificate and its key, both in PEM.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    /// The certificate, followed by intermediate certificates if there are any.
    pub certificate: String,
    /// The certificate's private key.
    pub key: String,
}

impl ServerCertificate {
    /// A new certificate for this machine, which is its own CA.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] if the system gives no random numbers.
    pub fn for_localhost() -> Result<Self, Error> {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let made =
            generate_simple_self_signed(names).map_err(|error| Error::Certificate(error.to_string()))?;
        let CertifiedKey { cert, signing_key } = made;
        Ok(Self { certificate: cert.pem(), key: signing_key.serialize_pem() })
    }
}
