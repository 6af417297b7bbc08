//! The certificate of a server with TLS.

/// A server's certificate and its key, both in PEM.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    /// The certificate, followed by intermediate certificates if there are any.
    pub certificate: String,
    /// The certificate's private key.
    pub key: String,
}
