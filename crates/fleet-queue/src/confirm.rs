//! The API's operation: asking replicas for the confirmation of a push.

use crate::confirmation::Confirmation;
use crate::confirmer::Unconfirmed;
use crate::error::QueueError;
use crate::push::Producer;

impl Producer {
    /// Pushes `items` as [`Producer::push_batch`] does, and returns when they are confirmed.
    ///
    /// # Errors
    ///
    /// As [`Producer::push_batch`], and [`QueueError::Unconfirmed`] if replicas have not confirmed the push in time. The items
    /// may be in the queue.
    pub async fn push_confirmed(&self, items: &[Vec<u8>]) -> Result<(), QueueError> {
        let Some(push) = self.push(items).await?.unconfirmed else { return Ok(()) };
        let found = self.confirm(&push).await?;
        if found.is_complete() {
            return Ok(());
        }
        self.give_up(push).await;
        Err(QueueError::Unconfirmed(found))
    }

    /// Asks again whether replicas have confirmed a push. Waits for them for up to two thirds of the link's timeout.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. The push can then no longer be confirmed: its connection is left. Its messages may be in the queue.
    pub async fn confirm(&self, push: &Unconfirmed) -> Result<Confirmation, QueueError> {
        let Some(confirmer) = self.confirmer() else {
            return Err(QueueError::Reply("nothing waits for replicas".to_owned()));
        };
        let timeout = self.link.timeout();
        let mut connection = push.line.connection.clone();
        let asked = tokio::time::timeout(timeout, confirmer.ask(&mut connection)).await;
        let result = match asked {
            Ok(result) => result.map_err(QueueError::from),
            Err(_elapsed) => Err(QueueError::Timeout(timeout)),
        };
        if result.is_err() {
            self.link.leave(push.line.generation).await;
        }
        result
    }

    /// Leaves the connection of a push that stays unconfirmed, because its server may not be the primary any more. The next
    /// call opens a new connection.
    pub async fn give_up(&self, push: Unconfirmed) {
        self.link.leave(push.line.generation).await;
    }

    /// Whether a push would be sent now: whether enough replicas confirm writes on this connection.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unconfirmed`] if they do not; any other [`QueueError`].
    pub async fn prove(&self) -> Result<(), QueueError> {
        let Some(confirmer) = self.confirmer() else { return Ok(()) };
        confirmer.require(&self.link, &self.keys).await
    }
}
