//! Puts the messages of dead letters back into their queues.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_queue::{Producer, RedisLink};
use fleet_runtime::settings::{QueueSettings, Settings};
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
    let link = Arc::new(redis_link(settings)?);
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
        push(&link, &settings.queue, page).await?;
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

/// Pushes each message once, however many of its events died.
async fn push(
    link: &Arc<RedisLink>,
    settings: &QueueSettings,
    page: Vec<DeadMessage>,
) -> Result<(), ConsumerError> {
    let mut queues: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for DeadMessage { provider, envelope, .. } in page {
        queues.entry(provider).or_default().push(envelope);
    }
    for (provider, envelopes) in queues {
        let producer = Producer::new(Arc::clone(link), &settings.prefix, &provider);
        producer.confirmed_by(settings.replicas).push_confirmed(&envelopes).await?;
    }
    Ok(())
}
