//! Deleting rows that are past their retention.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::deletion::count;
use crate::{Database, StoreError};

/// How long rows of `unstored_messages` are kept after the receipt of their message.
const UNSTORED_MESSAGES: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const DROP_CHUNKS: &str = "SELECT count(*) FROM drop_chunks('telemetry', now() - make_interval(secs => $1))";

const OLD_DEAD_LETTERS: &str = "last_dead_at < now() - make_interval(secs => $1)";

/// How long rows are kept.
#[derive(Clone, Copy, Debug)]
pub struct RetentionPeriods {
    /// Raw events, by `observed_at`.
    pub telemetry: Duration,
    /// Dead letters, from the time they last became one.
    pub dead_letters: Duration,
    /// Rows of settled batches.
    pub settled_batches: Duration,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Whole chunks of telemetry.
    pub chunks: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Rows of `settled_batches` and `settled_state_batches`.
    pub settled_batches: u64,
    /// Rows of `unstored_messages`.
    pub unstored_messages: u64,
}

/// Removes what is past its retention, from both databases.
#[derive(Clone, Debug)]
pub struct Retention {
    state: Database,
    telemetry: Database,
}

impl Retention {
    /// The retention of these databases.
    pub fn new(state: Database, telemetry: Database) -> Self {
        Self { state, telemetry }
    }

    /// Removes what is older than its period. Safe to run at any time.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; what was removed before it stays removed. Run it again for the rest.
    pub async fn expire(&self, periods: RetentionPeriods) -> Result<Expired, StoreError> {
        let Self { state, telemetry } = self;
        let age = periods.telemetry.as_secs_f64();
        let chunks = count(&telemetry.query_one_patiently(DROP_CHUNKS, &[&age]).await?);
        let age = periods.dead_letters.as_secs_f64();
        let dead_letters =
            telemetry.delete_in_pieces("dead_letters", OLD_DEAD_LETTERS, &[&age], |_| ()).await?;
        let oldest = oldest_id(UNSTORED_MESSAGES);
        let unstored_messages =
            telemetry.delete_in_pieces("unstored_messages", "message_id < $1", &[&oldest], |_| ()).await?;
        // Selected by the time in the lease's id, not by the time of commit: both databases must delete the same
        // batches.
        let oldest = oldest_id(periods.settled_batches);
        let settled_telemetry =
            telemetry.delete_in_pieces("settled_batches", "lease_id < $1", &[&oldest], |_| ()).await?;
        let settled_state =
            state.delete_in_pieces("settled_state_batches", "lease_id < $1", &[&oldest], |_| ()).await?;
        let settled_batches = settled_telemetry + settled_state;
        Ok(Expired { chunks, dead_letters, settled_batches, unstored_messages })
    }
}

/// The smallest UUIDv7 of the moment `age` ago.
fn oldest_id(age: Duration) -> Uuid {
    let moment = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH);
    let millis = u64::try_from(moment.as_millisecond()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}
