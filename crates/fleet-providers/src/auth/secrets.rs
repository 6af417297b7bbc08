//! A provider's secrets.

use secrecy::{ExposeSecret, SecretString};

/// The valid secrets: several during a rotation. `Debug` does not show them.
#[derive(Clone, Debug, Default)]
pub struct Secrets(pub Vec<SecretString>);

/// Only for configured secrets, which no client chooses. A secret that a client sends is compared in constant time instead.
impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        let ours = self.0.iter().map(ExposeSecret::expose_secret);
        ours.eq(other.0.iter().map(ExposeSecret::expose_secret))
    }
}

impl Eq for Secrets {}
