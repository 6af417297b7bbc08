//! A provider's secrets, which may be replaced while requests are verified.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use fleet_providers::Secrets;
use fleet_runtime::outage::{Failing, OutageLog, Over};
use fleet_runtime::settings::{SecretsFileError, read_secrets};

/// Time between two reads of a secrets file. Its content is compared, not its time or inode: a mounted Secret is a chain of
/// symbolic links, of which Kubernetes replaces one, and an editor replaces the old file with a new one.
const READ_EVERY: Duration = Duration::from_secs(5);

/// A change takes effect only if it is still there after this time. A program that writes into the file, instead of renaming
/// a complete one, leaves it empty or incomplete for a moment.
const SETTLED_AFTER: Duration = Duration::from_millis(250);

/// The secrets that are valid now.
#[derive(Debug)]
pub(crate) struct SecretsInUse(RwLock<Arc<Secrets>>);

impl SecretsInUse {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self(RwLock::new(Arc::new(secrets)))
    }

    /// The secrets for one request. The lock is held only while a reference is counted.
    pub(crate) fn get(&self) -> Arc<Secrets> {
        // The value is always complete, also after a panic.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, secrets: Secrets) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(secrets);
    }
}

/// Reads a provider's secrets from `path` again and again. While the file is unusable, the secrets in use stay valid.
pub(crate) async fn watch(provider: &'static str, path: PathBuf, in_use: Arc<SecretsInUse>) -> Infallible {
    let path: Arc<Path> = path.into();
    let mut unusable = OutageLog::default();
    loop {
        tokio::time::sleep(READ_EVERY).await;
        match settled(&path, &in_use.get()).await {
            None => {}
            Some(Ok(secrets)) => {
                if let Some(Over { lasted, .. }) = unusable.succeeded(Instant::now()) {
                    let seconds = lasted.as_secs();
                    tracing::info!(provider, seconds, "the secrets file is usable again");
                }
                if secrets != *in_use.get() {
                    let count = secrets.0.len();
                    in_use.replace(secrets);
                    tracing::info!(provider, secrets = count, "new secrets are in use");
                }
            }
            Some(Err(error)) => {
                if let Some(Failing { failures, lasted }) = unusable.failed(Instant::now(), 1) {
                    tracing::warn!(
                        provider,
                        failures,
                        seconds = lasted.as_secs(),
                        %error,
                        "the secrets file is unusable: the secrets in use stay valid"
                    );
                }
            }
        }
    }
}

/// The content of the file; `None` if it is changing.
async fn settled(path: &Arc<Path>, in_use: &Secrets) -> Option<Result<Secrets, SecretsFileError>> {
    let first = read(path).await?;
    if first.as_ref().is_ok_and(|secrets| secrets == in_use) {
        return Some(first);
    }
    tokio::time::sleep(SETTLED_AFTER).await;
    let second = read(path).await?;
    let is_settled = match (&first, &second) {
        (Ok(first), Ok(second)) => first == second,
        (Err(_), Err(_)) => true,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    };
    is_settled.then_some(second)
}

/// Reads the file on a thread for blocking work, because the disk may hang.
async fn read(path: &Arc<Path>) -> Option<Result<Secrets, SecretsFileError>> {
    let path = Arc::clone(path);
    // An error means that the runtime is shutting down.
    tokio::task::spawn_blocking(move || read_secrets(&path)).await.ok()
}
