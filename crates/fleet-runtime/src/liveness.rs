//! Finds tasks that hang, for `/livez`.
//!
//! A watched task makes progress whenever a poll by the runtime returns. An outage makes no task look hung: every call to
//! Redis or a database has a timeout, and every pause between retries is bounded. A task that may wait without a bound (for a
//! webhook, for another task) says so with [`idle`]. A task that still makes no progress is never woken, or blocks its
//! thread: only a restart helps.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much longer than its longest wait a task may make no progress.
const PATIENCE: Duration = Duration::from_secs(60);

tokio::task_local! {
    static CURRENT: Arc<Watch>;
}

/// The watched tasks of a process; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Liveness(Arc<Mutex<Vec<Arc<Watch>>>>);

/// A task that has made no progress for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hang {
    /// Name of the task.
    pub task: String,
    /// How long it has made no progress.
    pub silence: Duration,
}

impl fmt::Display for Hang {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} has made no progress for {} s", self.task, self.silence.as_secs())
    }
}

#[derive(Debug)]
struct Watch {
    task: String,
    limit: Duration,
    since: Instant,
    /// Milliseconds from `since` to the last progress.
    last_ms: AtomicU64,
    /// Current waits without a bound.
    idle: AtomicU32,
}

impl Liveness {
    /// Watches a task for as long as `future` runs. `longest_wait` is the longest that one wait of the task may take. After a
    /// minute more without progress it counts as hung.
    pub fn watch<F: Future>(
        &self,
        task: String,
        longest_wait: Duration,
        future: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        self.watch_with(task, longest_wait + PATIENCE, future)
    }

    pub(crate) fn watch_with<F: Future>(
        &self,
        task: String,
        limit: Duration,
        future: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let since = Instant::now();
        let watch =
            Arc::new(Watch { task, limit, since, last_ms: AtomicU64::new(0), idle: AtomicU32::new(0) });
        self.watches().push(Arc::clone(&watch));
        let registration = Registration { liveness: self.clone(), watch };
        async move {
            let watch = &registration.watch;
            let mut future = pin!(CURRENT.scope(Arc::clone(watch), future));
            poll_fn(|context| {
                watch.note_progress();
                let polled = future.as_mut().poll(context);
                watch.note_progress();
                polled
            })
            .await
        }
    }

    /// The tasks that have made no progress for too long.
    pub fn hanging(&self) -> Vec<Hang> {
        let watches = self.watches();
        let hanging = watches.iter().filter(|watch| watch.silence() > watch.limit);
        hanging.map(|watch| Hang { task: watch.task.clone(), silence: watch.silence() }).collect()
    }

    /// The longest time that any task has made no progress.
    pub fn longest_silence(&self) -> Duration {
        self.watches().iter().map(|watch| watch.silence()).max().unwrap_or_default()
    }

    fn watches(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Watch>>> {
        // The list is consistent between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    fn note_progress(&self) {
        let now_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now_ms, Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        // A thread that sees the end of a wait also sees the progress that ended it.
        if self.idle.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        self.since.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}

/// Removes the watch from the list, also if the task panics or is aborted. The task that spawned it notices that.
struct Registration {
    liveness: Liveness,
    watch: Arc<Watch>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.liveness.watches().retain(|watch| !Arc::ptr_eq(watch, &self.watch));
    }
}

/// Waits without a bound. The task does not count as hung meanwhile.
pub async fn idle<F: Future>(future: F) -> F::Output {
    // Does nothing outside of a watched task.
    let _idle = CURRENT.try_with(|watch| Idle::begin(Arc::clone(watch))).ok();
    future.await
}

struct Idle(Arc<Watch>);

impl Idle {
    fn begin(watch: Arc<Watch>) -> Self {
        watch.idle.fetch_add(1, Ordering::Relaxed);
        Self(watch)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.note_progress();
        self.0.idle.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(300);

    /// Starts `future` under watch, and says after four times its limit what hangs.
    async fn hanging_after_a_while(future: impl Future<Output = ()> + Send + 'static) -> Vec<String> {
        let liveness = Liveness::default();
        let task = tokio::spawn(liveness.watch_with("the task".to_owned(), LIMIT, future));
        tokio::time::sleep(LIMIT * 4).await;
        let hanging = liveness.hanging().into_iter().map(|hang| hang.task).collect();
        task.abort();
        hanging
    }

    #[tokio::test]
    async fn a_task_that_is_never_woken_hangs() {
        assert_eq!(hanging_after_a_while(pending()).await, ["the task"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_task_that_blocks_its_thread_hangs() {
        let busy = async { std::thread::sleep(LIMIT * 6) };
        assert_eq!(hanging_after_a_while(busy).await, ["the task"]);
    }

    #[tokio::test]
    async fn idle_is_not_hanging() {
        assert!(hanging_after_a_while(idle(pending())).await.is_empty());
    }

    #[tokio::test]
    async fn a_task_that_hangs_after_it_was_idle_hangs() {
        let task = async {
            idle(tokio::time::sleep(LIMIT)).await;
            pending::<()>().await;
        };
        assert_eq!(hanging_after_a_while(task).await, ["the task"]);
    }

    #[tokio::test]
    async fn retries_are_progress() {
        // An outage is a sequence of bounded waits.
        let retrying = async {
            loop {
                tokio::time::sleep(LIMIT / 100).await;
            }
        };
        assert!(hanging_after_a_while(retrying).await.is_empty());
    }

    #[tokio::test]
    async fn a_task_that_has_ended_is_forgotten() {
        let liveness = Liveness::default();
        liveness.watch_with("done".to_owned(), Duration::ZERO, async {}).await;
        let aborted =
            tokio::spawn(liveness.watch_with("aborted".to_owned(), Duration::ZERO, pending::<()>()));
        aborted.abort();
        assert!(aborted.await.is_err());
        assert_eq!((liveness.hanging(), liveness.longest_silence()), (Vec::new(), Duration::ZERO));
    }
}
