//! Whether a queue's backlog is above its part of the provider's cap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fleet_queue::{BacklogCap, CapChange};

use crate::metrics::CommitMetrics;

/// Decides when a queue accepts no more webhooks, and when it accepts them again.
#[derive(Debug)]
pub(super) struct Cap {
    cap: BacklogCap,
    /// Shared with the requests, which read it before a push.
    shedding: Arc<AtomicBool>,
    metrics: CommitMetrics,
}

impl Cap {
    pub(super) fn new(max_bytes: u64, shedding: Arc<AtomicBool>, metrics: CommitMetrics) -> Self {
        Self { cap: BacklogCap::new(max_bytes), shedding, metrics }
    }

    /// Whether webhooks are refused.
    pub(super) fn is_shedding(&self) -> bool {
        self.shedding.load(Ordering::Acquire)
    }

    /// Evaluates the backlog after a push.
    pub(super) fn pushed(&mut self, backlog_bytes: u64) {
        let change = self.cap.pushed(backlog_bytes);
        self.publish(change, backlog_bytes);
    }

    /// Evaluates the backlog while webhooks are refused.
    pub(super) fn looked(&mut self, backlog_bytes: u64) {
        let change = self.cap.looked(backlog_bytes);
        self.publish(change, backlog_bytes);
    }

    /// Lets the next push through, because the ledger cannot be read.
    pub(super) fn probe(&mut self) {
        self.cap.probe();
        self.publish(None, 0);
    }

    fn publish(&self, change: Option<CapChange>, backlog_bytes: u64) {
        self.shedding.store(self.cap.is_full(), Ordering::Release);
        let Some(change) = change else { return };
        self.metrics.shedding(change == CapChange::Full);
        let (provider, cap_bytes) = (self.metrics.provider, self.cap.max_bytes());
        match change {
            CapChange::Full => tracing::warn!(
                provider,
                queue = %self.metrics.queue,
                backlog_bytes,
                cap_bytes,
                "backlog above its cap: accepting no more webhooks until consumers catch up"
            ),
            CapChange::Room => tracing::info!(
                provider,
                queue = %self.metrics.queue,
                backlog_bytes,
                cap_bytes,
                "backlog below its cap again: accepting webhooks"
            ),
        }
    }
}
