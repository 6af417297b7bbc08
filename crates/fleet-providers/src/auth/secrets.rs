//! A provider's secrets.

use secrecy::{ExposeSecret, SecretString};

/// The secrets that are valid at the moment (several while one is being rotated); redacted in `Debug`.
#[derive(Clone, Debug, Default)]
pub struct Secrets(pub Vec<SecretString>);

/// For configured secrets, which nobody outside chooses. What a sender claims is compared in constant time instead.
impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        let ours = self.0.iter().map(ExposeSecret::expose_secret);
        ours.eq(other.0.iter().map(ExposeSecret::expose_secret))
    }
}

impl Eq for Secrets {}
