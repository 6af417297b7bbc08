//! A certificate authority for one test.

use std::io::Write;
use std::path::PathBuf;

use fleet_testbed::ServerCertificate;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::NamedTempFile;

/// The host names that the tests use for their servers.
pub(crate) const HERE: &[&str] = &["localhost", "127.0.0.1"];

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: NamedTempFile,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut ca = params(HERE);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "the test's CA");
        let issuer = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(issuer.pem().as_bytes()).unwrap();
        Self { issuer, file }
    }

    /// The file with the CA's certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.file.path().to_owned()
    }

    /// Issues a certificate for these names and addresses.
    pub(crate) fn issue(&self, names: &[&str]) -> ServerCertificate {
        self.sign(&params(names))
    }

    /// Issues a certificate that expired at the end of 2020.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> ServerCertificate {
        let mut expired = params(names);
        expired.not_before = date_time_ymd(2020, 1, 1);
        expired.not_after = date_time_ymd(2020, 12, 31);
        self.sign(&expired)
    }

    /// The CA's own certificate, which is not valid for a server.
    pub(crate) fn own(&self) -> ServerCertificate {
        ServerCertificate { certificate: self.issuer.pem(), key: self.issuer.key().serialize_pem() }
    }

    fn sign(&self, params: &CertificateParams) -> ServerCertificate {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        ServerCertificate { certificate, key: key.serialize_pem() }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).unwrap()
}
