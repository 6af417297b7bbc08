//! One connection to the broker, from its log-in to its end.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use lapin::{Channel, Connection, Event};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bridge_settings::Broker;
use crate::fault::{Fault, Step};
use crate::metrics;
use crate::transport::{Socket, connect};

/// An open connection. Dropping it ends it at once.
pub(crate) struct Link {
    connection: Connection,
    socket: Socket,
    broker: Broker,
    /// Differs for each connection of this process.
    pub(crate) generation: u64,
    /// Cancelled once the connection has ended or is given up.
    pub(crate) down: CancellationToken,
    is_blocked: AtomicBool,
    /// Why the connection has ended, as far as is known.
    ended_by: OnceLock<lapin::Error>,
}

impl Link {
    /// Connects and logs in.
    ///
    /// # Errors
    ///
    /// [`Fault`] says why there is no connection.
    pub(crate) async fn open(broker: &Broker, generation: u64) -> Result<Self, Fault> {
        let socket = Socket::default();
        let connection = connect(broker, &socket).await.inspect_err(|_fault| socket.shut_down())?;
        metrics::connected(true);
        Ok(Self {
            connection,
            socket,
            broker: broker.clone(),
            generation,
            down: CancellationToken::new(),
            is_blocked: AtomicBool::new(false),
            ended_by: OnceLock::new(),
        })
    }

    /// Whether the connection is up, as far as is known.
    pub(crate) fn is_up(&self) -> bool {
        self.connection.status().connected() && !self.down.is_cancelled()
    }

    /// Whether the broker has asked to be sent nothing. lapin then sends no acks either, until the broker is ready again.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    /// Opens a channel. The caller bounds the time.
    ///
    /// # Errors
    ///
    /// [`Fault::Client`] if the connection has ended.
    pub(crate) async fn channel(&self) -> Result<Channel, Fault> {
        Ok(self.connection.create_channel().await?)
    }

    /// Whether the broker responds on this connection, whatever one queue does. A queue that has no leader, for example, does
    /// not respond.
    pub(crate) async fn responds(&self) -> bool {
        let asking = async { Ok(self.channel().await?.close(200, "OK".into()).await?) };
        self.is_up() && self.timed(Step::Check, asking).await.is_ok()
    }

    /// Runs an operation on this connection within the broker's timeout.
    ///
    /// # Errors
    ///
    /// That of the operation, or [`Fault::Timeout`].
    pub(crate) async fn timed<T>(
        &self,
        step: Step,
        operation: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let limit = self.broker.timeout;
        timeout(limit, operation).await.unwrap_or_else(|_late| Err(Fault::Timeout { step, limit }))
    }

    /// Follows what the broker says about the connection until it ends, and then cancels `down`.
    pub(crate) async fn watch(&self) {
        let mut events = std::pin::pin!(self.connection.events_listener());
        while let Some(event) = events.next().await {
            if let Event::ConnectionBlocked(reason) = event {
                self.set_blocked(true);
                tracing::warn!(
                    reason,
                    "the broker blocks this connection: messages may arrive, and are acknowledged later"
                );
            } else if let Event::ConnectionUnblocked = event {
                self.set_blocked(false);
                tracing::info!("the broker has unblocked this connection");
            } else if let Event::Error(error) = event
                && !self.connection.status().connected()
            {
                // Set only here.
                let _first = self.ended_by.set(error);
                break;
            }
        }
        self.down.cancel();
    }

    /// Of the faults of several queues on this connection, the one that explains its end.
    pub(crate) fn cause(&self, faults: impl Iterator<Item = Fault>) -> Option<Fault> {
        let (down, others): (Vec<_>, Vec<_>) = faults.partition(|fault| matches!(fault, Fault::Down));
        let known = || self.ended_by.get().cloned().map(Fault::Client);
        let first = others.into_iter().next();
        first.or_else(|| down.into_iter().next().map(|down| known().unwrap_or(down)))
    }

    fn set_blocked(&self, blocked: bool) {
        self.is_blocked.store(blocked, Ordering::Relaxed);
        metrics::blocked(blocked);
    }

    /// Closes the connection, so that the broker has processed every ack when this returns.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the broker does not confirm it.
    pub(crate) async fn close(&self) -> Result<(), Fault> {
        let closing = async { Ok(self.connection.close(200, "OK".into()).await?) };
        self.timed(Step::Close, closing).await
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.down.cancel();
        self.socket.shut_down();
        metrics::connected(false);
        metrics::blocked(false);
    }
}
