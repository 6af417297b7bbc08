//! Raw events and dead letters.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::settled::SETTLED_TELEMETRY_PARTS;
use crate::timestamp::TimestampTz;
use crate::{Database, Part, StoreError, TelemetryRow};

/// Stores a part: its events, except those that are already stored, its dead letters, and the part itself. Records
/// messages with an event that was already stored.
pub const STORE_TELEMETRY: &str = include_str!("../sql/store_telemetry.sql");
/// Inserts dead letters, or increments their attempts.
pub const BURY_DEAD_LETTERS: &str = include_str!("../sql/bury_dead_letters.sql");

/// A message, or one event of it, that cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter<'a> {
    /// The message's id, or one derived from its bytes.
    pub message_id: Uuid,
    /// Which event of the message; -1 for the whole message.
    pub event_index: i32,
    /// Why, from a closed list.
    pub reason: &'static str,
    /// Why, as ASCII text.
    pub detail: String,
    /// When the message was received, if known.
    pub received_at: Option<Timestamp>,
    /// The queue item.
    pub envelope: &'a [u8],
}

/// The outcome of a part's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// New rows.
    pub inserted: usize,
    /// Events that were already in telemetry.
    pub duplicate: usize,
}

/// Writes telemetry and dead letters, and reads telemetry for the commands.
#[derive(Clone, Debug)]
pub struct TelemetryStore {
    database: Database,
}

impl TelemetryStore {
    /// A store in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// The parts of a lease that are already stored, as (first record, records).
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn settled(&self, lease_id: Uuid) -> Result<HashSet<(i32, i32)>, StoreError> {
        self.database.settled_parts(SETTLED_TELEMETRY_PARTS, lease_id).await
    }

    /// Stores the events and dead letters of a part. Together they are all its records.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]. Nothing of the part is stored then, or all of it: the same call may be repeated.
    pub async fn write(
        &self,
        part: &Part<'_>,
        rows: &[TelemetryRow<'_>],
        dead: &[DeadLetter<'_>],
    ) -> Result<Appended, StoreError> {
        let answer = self.store(part, rows, dead, Ending::Commit).await?;
        let inserted = answer.first().map_or(0, |row| row.get::<_, i32>(0));
        let inserted = usize::try_from(inserted).unwrap_or_default();
        Ok(Appended { inserted, duplicate: rows.len().saturating_sub(inserted) })
    }

    /// Stores events and rolls them back.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub(crate) async fn rehearse(
        &self,
        part: &Part<'_>,
        rows: &[TelemetryRow<'_>],
    ) -> Result<(), StoreError> {
        self.store(part, rows, &[], Ending::RollBack).await.map(drop)
    }

    async fn store(
        &self,
        part: &Part<'_>,
        rows: &[TelemetryRow<'_>],
        dead: &[DeadLetter<'_>],
        ending: Ending,
    ) -> Result<Vec<Row>, StoreError> {
        let events = in_order(rows);
        let letters = LetterColumns::from_letters(dead);
        let dead_lettered = i32::try_from(dead.len()).unwrap_or(i32::MAX);
        let mut parameters: Vec<&(dyn ToSql + Sync)> =
            vec![&part.provider, &part.lease_id, &part.first_record, &part.records, &events];
        parameters.extend(letters.parameters());
        parameters.push(&dead_lettered);
        match ending {
            Ending::Commit => self.database.query(STORE_TELEMETRY, &parameters).await,
            Ending::RollBack => {
                self.database.rehearse(STORE_TELEMETRY, &parameters).await.map(|()| Vec::new())
            }
        }
    }

    /// Stores dead letters without a part.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn bury(&self, provider: &str, dead: &[DeadLetter<'_>]) -> Result<(), StoreError> {
        let letters = LetterColumns::from_letters(dead);
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&provider];
        parameters.extend(letters.parameters());
        self.database.query(BURY_DEAD_LETTERS, &parameters).await?;
        Ok(())
    }
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Commit,
    RollBack,
}

/// Sorts by key. Otherwise two consumers that insert the same events would deadlock.
fn in_order<'a, 'b>(rows: &'a [TelemetryRow<'b>]) -> Vec<&'a TelemetryRow<'b>> {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_unstable_by_key(|row| (row.event.vehicle_id, row.event.observed_at, row.event.event_id));
    rows
}

/// Dead letters as one array per column, and the bytes of their messages, once each.
struct LetterColumns<'a> {
    message_id: Vec<Uuid>,
    event_index: Vec<i32>,
    reason: Vec<&'a str>,
    detail: Vec<&'a str>,
    received_at: Vec<Option<TimestampTz>>,
    kept_id: Vec<Uuid>,
    kept_envelope: Vec<&'a [u8]>,
}

impl<'a> LetterColumns<'a> {
    fn from_letters(dead: &'a [DeadLetter<'a>]) -> Self {
        // ON CONFLICT cannot update a row twice in one statement. Sorted by key, like the events.
        let letters: BTreeMap<_, _> =
            dead.iter().map(|letter| ((letter.message_id, letter.event_index), letter)).collect();
        let (message_id, event_index) = letters.keys().copied().unzip();
        let kept: BTreeMap<_, _> = dead.iter().map(|letter| (letter.message_id, letter.envelope)).collect();
        let (kept_id, kept_envelope) = kept.into_iter().unzip();
        Self {
            message_id,
            event_index,
            reason: letters.values().map(|letter| letter.reason).collect(),
            detail: letters.values().map(|letter| letter.detail.as_str()).collect(),
            received_at: letters.values().map(|letter| letter.received_at.map(TimestampTz::from)).collect(),
            kept_id,
            kept_envelope,
        }
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 7] {
        [
            &self.message_id,
            &self.event_index,
            &self.reason,
            &self.detail,
            &self.received_at,
            &self.kept_id,
            &self.kept_envelope,
        ]
    }
}
