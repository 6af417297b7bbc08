//! Waits for the workers, and stops all of them if one fails.

use std::time::Duration;

use fleet_runtime::readiness::Readiness;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::ConsumerError;

/// Waits for the workers. The first one that fails stops the others.
pub(super) async fn wait_for_workers(
    mut tasks: JoinSet<Result<(), ConsumerError>>,
    shutdown_timeout: Duration,
    readiness: &Readiness,
    shutdown: &CancellationToken,
    deadline: &CancellationToken,
) -> Result<(), ConsumerError> {
    let limit = async {
        shutdown.cancelled().await;
        readiness.set_stopping();
        tokio::time::sleep(shutdown_timeout).await;
        deadline.cancel();
        std::future::pending::<()>().await;
    };
    let all = async {
        let mut result = Ok(());
        while let Some(ended) = tasks.join_next().await {
            let ended = match ended {
                Ok(ended) => ended,
                Err(_panicked) => Err(ConsumerError::Panic),
            };
            if ended.is_err() {
                shutdown.cancel();
                result = result.and(ended);
            }
        }
        result
    };
    tokio::select! {
        result = all => result,
        () = limit => Ok(()),
    }
}

/// Waits for the workers. Observers do not end by themselves. If one panics, the workers are stopped, because their metrics
/// would be missing.
pub(super) async fn stop_if_observer_panics(
    consuming: impl Future<Output = Result<(), ConsumerError>>,
    mut observers: JoinSet<()>,
    shutdown: &CancellationToken,
) -> Result<(), ConsumerError> {
    let mut consuming = std::pin::pin!(consuming);
    tokio::select! {
        result = &mut consuming => result,
        Some(_panicked) = observers.join_next() => {
            shutdown.cancel();
            consuming.await.and(Err(ConsumerError::Panic))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a consumer says whose tasks do this.
    async fn supervised(
        worker: impl Future<Output = ()> + Send + 'static,
        observer: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ConsumerError> {
        let (shutdown, deadline) = (CancellationToken::new(), CancellationToken::new());
        let (mut workers, mut observers) = (JoinSet::new(), JoinSet::new());
        workers.spawn(async {
            worker.await;
            Ok(())
        });
        // A worker that ends only if it is told to.
        let told = shutdown.clone().cancelled_owned();
        workers.spawn(async {
            told.await;
            Ok(())
        });
        observers.spawn(observer);
        let readiness = Readiness::default();
        let consuming = wait_for_workers(workers, Duration::from_secs(30), &readiness, &shutdown, &deadline);
        stop_if_observer_panics(consuming, observers, &shutdown).await
    }

    #[tokio::test]
    async fn a_worker_that_panics_ends_the_consumer() {
        let ended = supervised(async { panic!("on purpose") }, std::future::pending()).await;
        assert!(matches!(ended, Err(ConsumerError::Panic)), "{ended:?}");
    }

    #[tokio::test]
    async fn an_observer_that_panics_ends_the_consumer() {
        let ended = supervised(async {}, async { panic!("on purpose") }).await;
        assert!(matches!(ended, Err(ConsumerError::Panic)), "{ended:?}");
    }
}
