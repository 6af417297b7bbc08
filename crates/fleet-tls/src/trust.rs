//! The CAs whose certificates are trusted.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Why certificates cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of CA certificates cannot be read.
    #[error("the CA file {} cannot be read: {cause}; check its path and permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: std::io::Error,
    },
    /// The file holds no certificates, or none that can be used.
    #[error("the CA file {} holds no usable certificate ({cause}); it must be PEM: -----BEGIN CERTIFICATE-----", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The system has no CA certificates.
    #[error(
        "this system has no CA certificates{0}; install its ca-certificates, or set FLEET_TLS__CA_FILE to your CA's file"
    )]
    NoSystemRoots(String),
    /// rustls refuses the configuration.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// The CAs whose certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustAnchors {
    /// Those of the operating system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    System,
    /// Only those of a PEM text.
    Pem(Vec<u8>),
}

impl TrustAnchors {
    /// The CAs of a PEM file; those of the system if no file is given.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the file cannot be read, or if anything in it is not a CA certificate.
    pub fn read(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let Some(path) = ca_file else { return Ok(Self::System) };
        let unreadable = |cause| TlsError::Unreadable { path: path.to_owned(), cause };
        let pem = std::fs::read(path).map_err(unreadable)?;
        match parse(&pem) {
            Ok(_store) => Ok(Self::Pem(pem)),
            Err(cause) => Err(TlsError::Unusable { path: path.to_owned(), cause }),
        }
    }

    /// The PEM text; `None` for the system's CAs.
    pub fn pem(&self) -> Option<&[u8]> {
        match self {
            Self::System => None,
            Self::Pem(pem) => Some(pem),
        }
    }

    pub(crate) fn store(&self) -> Result<RootCertStore, TlsError> {
        match self {
            Self::System => system_roots(),
            Self::Pem(pem) => parse(pem).map_err(|cause| TlsError::Unusable { path: PathBuf::new(), cause }),
        }
    }
}

fn parse(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        store.add(certificate).map_err(|error| error.to_string())?;
    }
    if store.is_empty() { Err("there is none in it".to_owned()) } else { Ok(store) }
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // A system's store may hold old certificates that cannot be parsed.
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let why: Vec<_> = found.errors.iter().map(|error| format!(" ({error})")).collect();
        return Err(TlsError::NoSystemRoots(why.concat()));
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TrustAnchors, TlsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, text).unwrap();
        TrustAnchors::read(Some(&path))
    }

    #[test]
    fn a_ca_file_must_hold_certificates_and_nothing_broken() {
        let key = rcgen::KeyPair::generate().unwrap();
        let ca = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
        assert_eq!(read(&ca).unwrap(), TrustAnchors::Pem(ca.clone().into_bytes()));
        assert_eq!(read(&format!("{ca}{ca}")).unwrap().store().unwrap().len(), 2);
        let broken = ca.replacen("MI", "!!", 1);
        for bad in ["", "not PEM", &key.serialize_pem(), &broken, &format!("{ca}{broken}")] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("ca.pem holds no usable certificate"), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = TrustAnchors::read(Some(Path::new("/no/such/ca.pem"))).unwrap_err().to_string();
        assert!(error.contains("/no/such/ca.pem cannot be read"), "{error}");
    }
}
