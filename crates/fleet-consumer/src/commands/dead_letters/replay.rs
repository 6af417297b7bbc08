//! Puts the messages of dead letters back into their queues.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use fleet_queue::{Producer, QueueError};
use fleet_runtime::retry::RetryPauses;
use fleet_runtime::settings::Settings;
use fleet_runtime::stdout::print;
use fleet_store::{DeadLetterFilter, DeadLetterStore, DeadMessage};

use crate::commands::progress::ProgressLines;
use crate::connect::redis_link;
use crate::error::ConsumerError;

/// How many messages are read and pushed at a time: together they are far below Redis' limits.
const MESSAGES: i64 = 20;

/// Puts the messages whose dead letters match back into their queues, and deletes all their dead letters.
pub(super) async fn replay(
    settings: &Settings,
    store: &DeadLetterStore,
    mut filter: DeadLetterFilter,
) -> Result<(), ConsumerError> {
    // Keep dead letters that were stored after the start: they are of messages that failed again after this replay.
    let start = store.now().await?;
    filter.until = Some(filter.until.map_or(start, |until| until.min(start)));
    let total = store.count_messages(&filter).await?;
    let mut queues = Queues::open(settings)?;
    let mut lines = ProgressLines::default();
    let (mut after, mut messages, mut letters, mut foreign) = (None, 0, 0, 0);
    loop {
        let mut page = store.messages(&filter, after, MESSAGES).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.message_id);
        // No consumer of this version reads their queues.
        let found = page.len();
        page.retain(|message| fleet_providers::provider(&message.provider).is_some());
        foreign += found - page.len();
        let ids: Vec<_> = page.iter().map(|message| message.message_id).collect();
        queues.push(page).await?;
        // Delete after the push: the other way round, a crash in between would lose the messages.
        letters += store.forget(&ids, start).await?;
        messages += ids.len();
        lines.print(|| format!("{messages} of {total} messages"));
    }
    print(format_args!("put {messages} messages of {letters} dead letters back into their queues"));
    if foreign > 0 {
        print(format_args!(
            "left {foreign} messages as they are: this version does not know their providers"
        ));
    }
    Ok(())
}

/// The queues of every provider, by its slug.
struct Queues(BTreeMap<&'static str, VecDeque<Producer>>);

impl Queues {
    fn open(settings: &Settings) -> Result<Self, ConsumerError> {
        let mut queues: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
        for queue in settings.queues() {
            let producer = Producer::new(redis_link(settings, queue)?, &settings.queue.prefix, queue)
                .confirmed_by(settings.queue.replicas);
            queues.entry(queue.provider()).or_default().push_back(producer);
        }
        Ok(Self(queues))
    }

    /// Pushes each message once, however many of its events died.
    async fn push(&mut self, page: Vec<DeadMessage>) -> Result<(), ConsumerError> {
        let mut messages: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for DeadMessage { provider, envelope, .. } in page {
            messages.entry(provider).or_default().push(envelope);
        }
        for (provider, envelopes) in messages {
            if let Some(shards) = self.0.get_mut(provider.as_str()) {
                push(shards, &envelopes).await?;
            }
        }
        Ok(())
    }
}

/// How long pushes are repeated: longer than a failover.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pauses between them.
const PAUSES: RetryPauses =
    RetryPauses { first: Duration::from_millis(200), longest: Duration::from_secs(2) };

/// Pushes messages, again and again while Redis is away for a moment. After a push without a reply, they may be in the queues
/// twice. The databases store them once.
async fn push(shards: &mut VecDeque<Producer>, envelopes: &[Vec<u8>]) -> Result<(), QueueError> {
    let (begin, mut backoff) = (Instant::now(), PAUSES.start());
    loop {
        match push_once(shards, envelopes).await {
            Err(error) if error.is_temporary() && begin.elapsed() < PATIENCE => {
                tracing::warn!(%error, "could not put messages into their queue: trying again");
                tokio::time::sleep(backoff.next_pause()).await;
            }
            result => return result,
        }
    }
}

/// Pushes messages to the next shard that accepts them.
async fn push_once(shards: &mut VecDeque<Producer>, envelopes: &[Vec<u8>]) -> Result<(), QueueError> {
    let mut result = Ok(());
    for _shard in 0..shards.len() {
        shards.rotate_left(1);
        let Some(producer) = shards.front() else { break };
        match producer.push_confirmed(envelopes).await {
            Ok(_pushed) => return Ok(()),
            Err(error) => result = Err(error),
        }
    }
    result
}
