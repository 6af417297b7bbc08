//! What a server with TLS shows its clients.

/// A server's certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    /// The certificate, and whatever leads from it to its CA.
    pub certificate: String,
    /// The certificate's private key.
    pub key: String,
}
