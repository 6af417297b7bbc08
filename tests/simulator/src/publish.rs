//! Publishes INVERS' events to a message broker, as INVERS does. An event counts as acknowledged once the broker has confirmed it.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::runtime::default_runtime;
use lapin::tcp::OwnedTLSConfig;
use lapin::types::ShortString;
use lapin::uri::AMQPUri;
use lapin::{Channel, Confirmation, Connection, ConnectionProperties};
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use crate::cli::RunArgs;
use crate::counts::{Counts, bump};
use crate::error::Error;
use crate::record::Record;
use crate::wire::Webhook;

/// The pause between two attempts to publish a message.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// The timeout for a connection, and for the confirm of a message.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The publisher. All its messages share one connection, which is opened again after an error.
#[derive(Debug)]
pub struct Publisher {
    uri: AMQPUri,
    ca: Option<String>,
    queues: Vec<ShortString>,
    retry_for: Duration,
    open: AsyncMutex<Open>,
    counts: Arc<Counts>,
    record: Arc<Mutex<Record>>,
}

/// The open connection, if there is one.
#[derive(Debug, Default)]
struct Open {
    link: Option<(Connection, Channel)>,
    /// The number of the connection.
    generation: u64,
}

impl Publisher {
    /// A publisher, if a broker is given. It connects with the first message.
    ///
    /// # Errors
    ///
    /// If the URL or the CA cannot be used.
    pub fn new(
        args: &RunArgs,
        counts: &Arc<Counts>,
        record: &Arc<Mutex<Record>>,
    ) -> Result<Option<Arc<Self>>, Error> {
        let Some(url) = &args.amqp_url else { return Ok(None) };
        let read = |path: &PathBuf| {
            fs::read_to_string(path).map_err(|source| Error::CaFile { path: path.clone(), source })
        };
        let name = |name: &String| {
            ShortString::try_new(name.as_str()).map_err(|error| Error::Broker(error.to_string()))
        };
        Ok(Some(Arc::new(Self {
            uri: url.parse().map_err(Error::Broker)?,
            ca: args.amqp_ca_file.as_ref().map(read).transpose()?,
            queues: args.amqp_queue.iter().map(name).collect::<Result<_, _>>()?,
            retry_for: args.retry_for,
            open: AsyncMutex::default(),
            counts: Arc::clone(counts),
            record: Arc::clone(record),
        })))
    }

    /// Publishes messages until the queue is closed and empty.
    pub async fn drain(self: Arc<Self>, queue: Arc<AsyncMutex<Receiver<Arc<Webhook>>>>) {
        loop {
            let message = queue.lock().await.recv().await;
            match message {
                Some(message) => self.deliver(&message).await,
                None => return,
            }
        }
    }

    async fn deliver(&self, message: &Webhook) {
        bump(&self.counts.published);
        let deadline = Instant::now() + self.retry_for;
        // The broker may have a message whose confirm was lost. Then it has it twice.
        while !self.attempt(message).await {
            if Instant::now() >= deadline {
                return bump(&self.counts.unacknowledged);
            }
            bump(&self.counts.retried);
            tokio::time::sleep(RETRY_AFTER).await;
        }
        let now_ms = Timestamp::now().as_millisecond();
        self.record.lock().unwrap_or_else(PoisonError::into_inner).confirm(message, now_ms);
        bump(&self.counts.confirmed);
    }

    /// Publishes a message once. Returns whether a queue has it.
    async fn attempt(&self, message: &Webhook) -> bool {
        let Some((channel, generation)) = self.channel().await else { return false };
        match timeout(ATTEMPT_TIMEOUT, self.publish(&channel, message)).await {
            Ok(Ok(Confirmation::Ack(None))) => true,
            // The broker has no such queue yet, or refuses the message. The connection is good.
            Ok(Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested)) => false,
            Ok(Err(_)) | Err(_) => {
                let mut open = self.open.lock().await;
                if open.generation == generation {
                    open.link = None;
                }
                false
            }
        }
    }

    async fn publish(&self, channel: &Channel, message: &Webhook) -> lapin::Result<Confirmation> {
        // A message that reaches no queue is confirmed, too. With this flag it is also returned.
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = message.amqp.clone().unwrap_or_default();
        let queue = self.queue_of(message);
        channel.basic_publish("".into(), queue, options, &message.body, properties).await?.await
    }

    fn queue_of(&self, message: &Webhook) -> ShortString {
        let number = message.events.first().map_or(0, |event| event.sequence);
        let count = u64::try_from(self.queues.len()).unwrap_or(1).max(1);
        let index = usize::try_from(number % count).unwrap_or(0);
        self.queues.get(index).cloned().unwrap_or_default()
    }

    /// The channel of the open connection, and the connection's number. `None` if the broker cannot be reached.
    async fn channel(&self) -> Option<(Channel, u64)> {
        let mut open = self.open.lock().await;
        let is_up = open.link.as_ref().is_some_and(|(_, channel)| channel.status().connected());
        if !is_up {
            open.link = None;
            open.link = timeout(ATTEMPT_TIMEOUT, self.connect()).await.ok()?.ok();
            open.generation += 1;
        }
        let generation = open.generation;
        open.link.as_ref().map(|(_, channel)| (channel.clone(), generation))
    }

    async fn connect(&self) -> lapin::Result<(Connection, Channel)> {
        let tls = OwnedTLSConfig { identity: None, cert_chain: self.ca.clone() };
        let properties = ConnectionProperties::default().with_connection_name("fleet-simulator".into());
        let uri = self.uri.clone();
        let connection =
            Connection::connect_uri_with_config(uri, properties, tls, default_runtime()?).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok((connection, channel))
    }
}
