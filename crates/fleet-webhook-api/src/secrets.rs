//! A provider's secrets, which may be exchanged while requests are checked against them.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use fleet_providers::Secrets;
use fleet_runtime::outage::{Failing, OutageLog, Over};
use fleet_runtime::settings::{SecretsFileError, read_secrets};

/// Between two reads of a file of secrets. Its content is compared, not its time or inode: a mounted Secret is a chain of
/// symbolic links, of which Kubernetes exchanges one, and an editor puts a new file in the place of the old one.
const READ_EVERY: Duration = Duration::from_secs(5);

/// A change counts if it is still there after this time. Whoever writes into the file, instead of renaming a complete one,
/// leaves it empty or incomplete for a moment.
const SETTLED_AFTER: Duration = Duration::from_millis(250);

/// The secrets that are valid now.
#[derive(Debug)]
pub(crate) struct SecretsInUse(RwLock<Arc<Secrets>>);

impl SecretsInUse {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self(RwLock::new(Arc::new(secrets)))
    }

    /// The secrets for one check. Nothing waits for a reader: the lock is held for as long as it takes to count a reference.
    pub(crate) fn get(&self) -> Arc<Secrets> {
        // A whole value is there whoever panicked.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, secrets: Secrets) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(secrets);
    }
}

/// Keeps a provider's secrets as they are in `path`. While the file cannot be used, those in use stay valid.
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
                    tracing::info!(provider, seconds, "the file of secrets can be used again");
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
                        "the file of secrets cannot be used: those in use stay valid"
                    );
                }
            }
        }
    }
}

/// What is in the file; nothing if it changes at the moment.
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

/// On a thread for what blocks: the file may be on a disk that does not answer.
async fn read(path: &Arc<Path>) -> Option<Result<Secrets, SecretsFileError>> {
    let path = Arc::clone(path);
    // Nothing comes back if the runtime ends meanwhile.
    tokio::task::spawn_blocking(move || read_secrets(&path)).await.ok()
}
