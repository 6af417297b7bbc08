//! Reads the ledger of a queue in Redis while it takes no pushes, and while its last messages are not settled.

use std::convert::Infallible;
use std::sync::Arc;

use fleet_queue::{Ledger, Producer, QueueError};
use fleet_runtime::liveness::idle;
use tokio::time::timeout;

use crate::standing::Standing;

/// Watches one queue over a connection of its own.
pub(crate) struct ShardWatch {
    pub(crate) producer: Producer,
    pub(crate) standing: Arc<Standing>,
}

impl ShardWatch {
    pub(crate) async fn run(self) -> Infallible {
        loop {
            let Some(pause) = self.standing.pause() else {
                idle(self.standing.changed.notified()).await;
                continue;
            };
            // The next push or its failure begins another pause.
            if timeout(pause, self.standing.changed.notified()).await.is_err() {
                self.standing.looked(self.look().await);
            }
        }
    }

    async fn look(&self) -> Result<Ledger, QueueError> {
        // While replicas confirm nothing, a push would only wait.
        if self.standing.is_failing() {
            self.producer.prove().await?;
        }
        self.producer.ledger().await
    }
}
