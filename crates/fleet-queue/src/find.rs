//! Finding one message in a queue of millions, for `fleet-consumer trace`.

use std::fmt::Display;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use redis::Script;
use uuid::Uuid;

use crate::error::QueueError;
use crate::keys::QueueKeys;
use crate::link::RedisLink;
use crate::transaction::Transaction;

static FIND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/find.lua")));
static SCAN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/scan.lua")));

/// Most items and bytes that one script reads. It blocks Redis for milliseconds at most.
const MOST_ITEMS: u64 = 2048;
const MOST_BYTES: u64 = 1 << 20;

/// Where a message is in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the list, waiting to be claimed.
    Waiting {
        /// Messages that are claimed before it.
        before: u64,
        /// Messages in the list.
        of: u64,
    },
    /// In a claimed batch.
    Claimed(ClaimedBatch),
}

/// A claimed batch, for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedBatch {
    /// The lease's id.
    pub lease_id: Uuid,
    /// Whether the batch is parked and therefore has no owner.
    pub is_parked: bool,
    /// When the lease expires, or the parked batch is due, by Redis' clock.
    pub until: Timestamp,
    /// The token of its owner, or of its last owner if it is parked. Absent if Redis has lost the owner's record.
    pub token: Option<Uuid>,
    /// How many owners died while the batch was marked.
    pub takeovers: u32,
}

/// The result of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Where the message is.
    pub place: Option<Place>,
    /// Whether the queue and every batch were searched completely. If not, the message may be there although it was not found.
    pub is_complete: bool,
}

/// Searches messages in one queue.
#[derive(Clone, Debug)]
pub struct Finder {
    link: Arc<RedisLink>,
    keys: QueueKeys,
}

/// Members of a sorted set with their scores.
type Scores = Vec<(String, f64)>;

/// A list to search. `batch` is absent for the queue itself.
struct List {
    key: String,
    batch: Option<ClaimedBatch>,
}

impl Finder {
    /// A finder in `queue` under the key prefix `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: &str, queue: impl Display) -> Self {
        Self { link, keys: QueueKeys::new(prefix, queue) }
    }

    /// Searches where a message received at that time must be: a bounded part of the queue and of each claimed batch.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub async fn find(&self, id: Uuid, received_at: Timestamp) -> Result<Search, QueueError> {
        let mut is_complete = true;
        // Search the queue first: a message moves from the queue to a batch, never back.
        let mut lists = vec![self.queue()];
        let mut at = 0;
        while let Some(list) = lists.get(at) {
            let mut call = FIND.prepare_invoke();
            call.key(&list.key).arg(id.to_string()).arg(received_at.as_millisecond());
            call.arg(MOST_ITEMS).arg(MOST_BYTES);
            let (index, of, is_whole): (i64, u64, u8) = self.link.script(&call).await?;
            if let Some(place) = self.place(list, index, of).await? {
                return Ok(Search { place: Some(place), is_complete: false });
            }
            is_complete &= is_whole == 1;
            if at == 0 {
                lists.extend(self.batches().await?);
            }
            at += 1;
        }
        Ok(Search { place: None, is_complete })
    }

    /// Searches all of the queue and of every claimed batch, until it finds the message or `deadline` is over. A replayed dead
    /// letter is at the tail, whenever it was received. Sleeps half of the time, so that Redis can do other work.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub async fn scan(&self, id: Uuid, deadline: Instant) -> Result<Search, QueueError> {
        let mut lists = vec![self.queue()];
        let mut at = 0;
        while let Some(list) = lists.get(at) {
            let mut behind = 0;
            loop {
                let started = Instant::now();
                if started >= deadline {
                    return Ok(Search::default());
                }
                let mut call = SCAN.prepare_invoke();
                call.key(&list.key).arg(id.to_string()).arg(behind).arg(MOST_ITEMS).arg(MOST_BYTES);
                let (index, of, next): (i64, u64, u64) = self.link.script(&call).await?;
                if let Some(place) = self.place(list, index, of).await? {
                    return Ok(Search { place: Some(place), is_complete: false });
                }
                if next >= of {
                    break;
                }
                behind = next;
                tokio::time::sleep(started.elapsed().min(Duration::from_millis(50))).await;
            }
            if at == 0 {
                lists.extend(self.batches().await?);
            }
            at += 1;
        }
        Ok(Search { place: None, is_complete: true })
    }

    fn queue(&self) -> List {
        List { key: self.keys.queue.clone(), batch: None }
    }

    /// Every claimed batch, without its owner.
    async fn batches(&self) -> Result<Vec<List>, QueueError> {
        let all = |key: &str| {
            let mut command = redis::cmd("ZRANGE");
            command.arg(key).arg(0).arg(-1).arg("WITHSCORES");
            command
        };
        let transaction = Transaction::new([all(&self.keys.leases), all(&self.keys.parked)]);
        let (leases, parked): (Scores, Scores) = self.link.transaction(&transaction).await?;
        let batch = |is_parked| {
            move |(id, until_ms): (String, f64)| {
                let lease_id = id.parse().ok()?;
                let until = moment(until_ms);
                let batch = ClaimedBatch { lease_id, is_parked, until, token: None, takeovers: 0 };
                Some(List { key: self.keys.lease(lease_id), batch: Some(batch) })
            }
        };
        let leases = leases.into_iter().filter_map(batch(false));
        Ok(leases.chain(parked.into_iter().filter_map(batch(true))).collect())
    }

    /// The place of the item at `index`. `None` if the index is negative.
    async fn place(&self, list: &List, index: i64, of: u64) -> Result<Option<Place>, QueueError> {
        let Ok(before) = u64::try_from(index) else { return Ok(None) };
        let Some(batch) = &list.batch else { return Ok(Some(Place::Waiting { before, of })) };
        let mut command = redis::cmd("HGET");
        command.arg(&self.keys.owners).arg(batch.lease_id.to_string());
        let owner: Option<String> = self.link.command(&command).await?;
        let owner = owner.unwrap_or_default();
        let mut words = owner.split(' ');
        let token = words.next().and_then(|word| word.parse().ok());
        let takeovers = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
        Ok(Some(Place::Claimed(ClaimedBatch { token, takeovers, ..batch.clone() })))
    }
}

/// A score of the sorted sets, which is in whole milliseconds.
fn moment(ms: f64) -> Timestamp {
    let seconds = jiff::SignedDuration::try_from_secs_f64(ms / 1000.0).unwrap_or_default();
    Timestamp::UNIX_EPOCH.checked_add(seconds).unwrap_or_default()
}
