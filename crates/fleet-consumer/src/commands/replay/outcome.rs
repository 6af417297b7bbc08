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
    /// Whether nothing was written.
    pub dry_run: bool,
    /// How it ended.
    pub end: End,
    /// The range to replay.
    pub range: Range<Timestamp>,
    /// Everything in the range that was observed at or after this time is done.
    pub done_from: Timestamp,
    /// Events read.
    pub events: u64,
    /// Events that can no longer be parsed: for each reason, how many, and the message of one of them.
    pub unparsable: BTreeMap<&'static str, (u64, Uuid)>,
    /// Events that now have another vehicle, time or id than their row of telemetry.
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
    /// A signal stopped it.
    Stopped,
    /// A database failed.
    Failed(StoreError),
}

/// How far a replay is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Events read.
    pub events: u64,
    /// Fraction of the range that is done.
    pub done: f64,
    /// Start of the day that is being read.
    pub window_from: Timestamp,
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}
