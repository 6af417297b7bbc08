//! How to reach Redis.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::keys::QueueKeys;

/// Everything that [`RedisLink::open`](crate::RedisLink::open) needs to know. `Debug` does not show the URL, which may
/// contain a password.
#[derive(Clone, Debug)]
pub struct RedisLinkOptions {
    url: SecretString,
    ca_file: Option<PathBuf>,
    timeout: Duration,
}

impl RedisLinkOptions {
    /// Options for the server at `url`. `timeout` bounds every call, including connecting and repetitions.
    ///
    /// `redis://` connects without TLS, `rediss://` with TLS. With TLS, the server's certificate must be valid for the
    /// URL's host and signed by one of the system's CAs.
    #[must_use]
    pub fn new(url: &str, timeout: Duration) -> Self {
        Self { url: SecretString::from(url), ca_file: None, timeout }
    }

    /// Trusts the CAs in this PEM file instead of the system's; with `None`, the system's.
    #[must_use]
    pub fn with_ca_file(self, ca_file: Option<&Path>) -> Self {
        Self { ca_file: ca_file.map(Path::to_path_buf), ..self }
    }

    /// Options for the server that holds the queue with these keys.
    #[must_use]
    pub fn for_queue(self, _keys: &QueueKeys) -> Self {
        self
    }

    pub(crate) fn url(&self) -> &str {
        self.url.expose_secret()
    }

    pub(crate) fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_password() {
        let options = RedisLinkOptions::new("redis://api:hunter2@localhost", Duration::from_secs(1));
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
