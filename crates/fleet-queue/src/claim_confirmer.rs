//! Lets claims wait until replicas have them.
//!
//! A failover forgets what its new primary had not received. If it forgot a batch that one database has and the other one has
//! not, nobody would complete this batch: its messages would be delivered again, under other ids.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::confirmer::Confirmer;
use crate::error::QueueError;
use crate::link::Line;

/// How long replicas may fail to confirm claims before the consumers go on without them. Longer than a failover.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the replicas are asked after that.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Asks replicas to confirm what one consumer has claimed.
#[derive(Debug)]
pub(crate) struct ClaimConfirmer {
    confirmer: Confirmer,
    /// That of the link.
    timeout: Duration,
    state: Mutex<State>,
}

/// When replicas failed to confirm.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// For the first time since their last confirmation.
    since: Option<Instant>,
    /// For the last time.
    last: Option<Instant>,
}

impl ClaimConfirmer {
    /// Asks for this many replicas. `timeout` is that of the link.
    pub(crate) fn new(replicas: u32, timeout: Duration) -> Self {
        Self { confirmer: Confirmer::new(replicas, timeout), timeout, state: Mutex::default() }
    }

    /// Waits until replicas have what a script has claimed on this connection. Each script that returns a batch has written
    /// something, so it needs no further write, which a full Redis would refuse.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unconfirmed`] if too few replicas have it; any other [`QueueError`]. It is no error if the user may not
    /// run WAIT, or if no replica has confirmed anything for so long that this is no failover.
    pub(crate) async fn confirm(&self, line: &Line) -> Result<(), QueueError> {
        if self.state().goes_on_alone(Instant::now()) {
            return Ok(());
        }
        let mut connection = line.connection.clone();
        let asked = tokio::time::timeout(self.timeout, self.confirmer.ask(&mut connection)).await;
        let is = |error: &RedisError, kind| error.kind() == ErrorKind::Server(kind);
        let error = match asked {
            Ok(Ok(found)) if found.is_complete() => {
                *self.state() = State::default();
                return Ok(());
            }
            Ok(Ok(found)) => QueueError::Unconfirmed(found),
            Ok(Err(error)) if is(&error, ServerErrorKind::NoPerm) => return Ok(()),
            // This server cannot confirm anything, for example because it has no append-only file.
            Ok(Err(error)) if is(&error, ServerErrorKind::ResponseError) => error.into(),
            Ok(Err(error)) => return Err(error.into()),
            Err(_elapsed) => QueueError::Timeout(self.timeout),
        };
        self.state().failed(Instant::now());
        Err(error)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn failed(&mut self, now: Instant) {
        self.since.get_or_insert(now);
        self.last = Some(now);
    }

    /// Whether claims do not wait: replicas have not confirmed for too long, and were asked a short time ago.
    fn goes_on_alone(self, now: Instant) -> bool {
        let (Some(since), Some(last)) = (self.since, self.last) else { return false };
        now.duration_since(since) >= PATIENCE && now.duration_since(last) < ASK_EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_go_on_if_replicas_stay_away() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut state = State::default();
        assert!(!state.goes_on_alone(at(0)));
        state.failed(at(0));
        state.failed(at(29));
        assert!(!state.goes_on_alone(at(29)), "this may be a failover");
        assert!(state.goes_on_alone(at(31)));
        assert!(!state.goes_on_alone(at(34)), "the replicas are asked again");
        state.failed(at(34));
        assert!(state.goes_on_alone(at(35)));
    }
}
