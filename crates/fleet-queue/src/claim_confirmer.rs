//! Lets claims wait until replicas have them.
//!
//! A failover forgets what its new primary had not received. If it forgot a batch that one database has and the other one has
//! not, nobody would complete this batch: its messages would be delivered again, under other ids.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{ErrorKind, ServerErrorKind};

use crate::confirmer::Confirmer;
use crate::error::QueueError;
use crate::keys::QueueKeys;
use crate::link::Line;

/// How long replicas may fail to confirm claims before the consumers go on without them. Longer than a failover.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the replicas are asked after that.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Asks replicas to confirm what one consumer has claimed.
#[derive(Debug)]
pub(crate) struct ClaimConfirmer {
    confirmer: Confirmer,
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
        Self { confirmer: Confirmer::new(replicas, timeout), state: Mutex::default() }
    }

    /// Waits until replicas have what was claimed on this connection.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unconfirmed`] if too few replicas have it; any other [`QueueError`]. It is no error if the user may not
    /// run WAIT, or if no replica has confirmed anything for so long that this is no failover.
    pub(crate) async fn confirm(&self, line: &Line, keys: &QueueKeys) -> Result<(), QueueError> {
        if self.state().goes_on_alone(Instant::now()) {
            return Ok(());
        }
        match self.confirmer.prove(line, keys).await {
            Ok(found) if found.is_complete() => {
                *self.state() = State::default();
                Ok(())
            }
            Ok(found) => {
                self.state().failed(Instant::now());
                Err(QueueError::Unconfirmed(found))
            }
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(()),
            Err(error) => Err(error.into()),
        }
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
