//! What a replay has done, and how far it is.

use std::collections::BTreeMap;
use std::ops::Range;

use fleet_store::StoreError;
use jiff::Timestamp;
use uuid::Uuid;

use crate::commands::replay::changes::Changes;

/// What a replay did, or would do.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Nothing was written.
    pub dry_run: bool,
    /// How it ended.
    pub end: End,
    /// What was to be replayed.
    pub range: Range<Timestamp>,
    /// Everything in the range that was observed from then on is done.
    pub done_from: Timestamp,
    /// Events read.
    pub events: u64,
    /// Of those, the ones that cannot be parsed any more: how many by reason, and the message of one of them.
    pub refused: BTreeMap<&'static str, (u64, Uuid)>,
    /// Of those, the ones that now have another vehicle, time or id than their row of telemetry.
    pub other_identity: u64,
    /// Rows of telemetry with another position, speed or charge than their event has now.
    pub corrected: u64,
    pub(super) changes: Changes,
}

/// How a replay ended.
#[derive(Debug)]
pub(crate) enum End {
    /// All of it is done.
    Complete,
    /// It was told to stop.
    Stopped,
    /// A database failed.
    Failed(StoreError),
}

/// How far a replay is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Events read.
    pub events: u64,
    /// Part of the range that is done, 0 to 1.
    pub done: f64,
    /// The day being read begins here.
    pub window_from: Timestamp,
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}
