//! Finds the poison messages of a batch: those that crash whoever parses them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use fleet_providers::{Limits, Provider};
use fleet_queue::Lease;
use fleet_runtime::retry::RetryPauses;
use tokio::sync::Mutex;

use crate::batch::rejection::Rejection;
use crate::isolate::child_process::ChildProcess;
use crate::isolate::exit_status::Outcome;

/// The pauses after a child ended for an unknown reason.
const RETRIES: RetryPauses =
    RetryPauses { first: Duration::from_millis(500), longest: Duration::from_secs(1) };

/// How often a message is tried before the batch is left to a later owner.
const MAX_TRIES: u32 = 3;

/// Parses messages in child processes, for all the queues of this process.
#[derive(Debug)]
pub(crate) struct IsolatedParser {
    program: PathBuf,
    /// One child at a time, because each takes memory.
    turn: Mutex<()>,
}

impl IsolatedParser {
    /// `program` is `fleet-consumer`.
    pub(crate) fn new(program: PathBuf) -> Self {
        Self { program, turn: Mutex::new(()) }
    }

    /// The poison messages of a batch, by their index. `None` if that could not be found out for one of its messages: the
    /// batch is whole for its next owner.
    pub(crate) async fn poison_messages(
        &self,
        provider: &'static Provider,
        limits: &Limits,
        lease: &Lease,
    ) -> Option<BTreeMap<usize, Rejection>> {
        tracing::warn!(
            provider = provider.slug, lease_id = %lease.id, takeovers = lease.takeovers,
            "consumers ended while they parsed this batch: parsing its messages one by one in a child process"
        );
        let mut poison = BTreeMap::new();
        let (mut index, mut tries, mut backoff) = (0, 0, RETRIES.start());
        loop {
            let before = index;
            let turn = self.turn.lock().await;
            let parsed = self.parse_from(provider, limits, lease, &mut index, &mut poison).await;
            drop(turn);
            let Err(problem) = parsed else { return Some(poison) };
            if index > before {
                tries = 0;
                backoff.reset();
            }
            tries += 1;
            tracing::warn!(
                provider = provider.slug, lease_id = %lease.id, index, tries, problem,
                "could not find out whether a message crashes the parser: its batch stays leased, and nothing is lost"
            );
            if tries == MAX_TRIES {
                return None;
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    /// Parses the messages from `index` on. Stops at a message with an unknown outcome; the error says why.
    async fn parse_from(
        &self,
        provider: &'static Provider,
        limits: &Limits,
        lease: &Lease,
        index: &mut usize,
        poison: &mut BTreeMap<usize, Rejection>,
    ) -> Result<(), String> {
        let mut running = None;
        while let Some(item) = lease.items.get(*index) {
            let mut child = match running.take() {
                Some(child) => child,
                None => ChildProcess::start(&self.program, provider, limits).await?,
            };
            match child.parse(item).await {
                Outcome::Parsed => running = Some(child),
                Outcome::Crashed(how) => {
                    poison.insert(*index, Rejection::crashed(&how));
                }
                Outcome::Unknown(problem) => return Err(problem),
            }
            *index += 1;
        }
        Ok(())
    }
}
