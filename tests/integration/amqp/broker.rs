//! A RabbitMQ for the tests, and a publisher.

use std::sync::OnceLock;

use fleet_testbed::{AmqpLogin, RabbitMq, RabbitMqOptions};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::tcp::OwnedTLSConfig;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use uuid::Uuid;

use crate::support::eventually;
use crate::tls::authority::{Authority, HERE};

/// The kinds of queues that a customer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Quorum,
    Classic,
}

pub(super) const KINDS: [Kind; 2] = [Kind::Quorum, Kind::Classic];

impl Kind {
    fn arguments(self) -> FieldTable {
        let mut arguments = FieldTable::default();
        let kind = match self {
            Self::Quorum => {
                arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(20));
                "quorum"
            }
            Self::Classic => "classic",
        };
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        arguments
    }
}

/// A server and the CA that has signed its certificate.
pub(super) struct Broker {
    pub(super) rabbit: RabbitMq,
    pub(super) authority: Authority,
}

impl Broker {
    /// The server that the tests share. It ends with the process.
    pub(super) async fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        let started = tokio::task::spawn_blocking(|| SHARED.get_or_init(|| Self::start(None)));
        started.await.unwrap()
    }

    /// A server for one test.
    pub(super) async fn own() -> Self {
        tokio::task::spawn_blocking(|| Self::start(None)).await.unwrap()
    }

    /// A server for one test, which closes a channel if a message is not acknowledged for so long.
    pub(super) async fn impatient(consumer_timeout_ms: u32) -> Self {
        tokio::task::spawn_blocking(move || Self::start(Some(consumer_timeout_ms))).await.unwrap()
    }

    fn start(consumer_timeout_ms: Option<u32>) -> Self {
        let authority = Authority::new();
        let mut options = RabbitMqOptions::new(authority.issue(HERE));
        if let Some(limit) = consumer_timeout_ms {
            options.consumer_timeout_ms = limit;
        }
        Self { rabbit: RabbitMq::private(&options).unwrap(), authority }
    }

    /// Does something with the server that blocks.
    pub(super) async fn control(mut self, act: impl FnOnce(&mut RabbitMq) + Send + 'static) -> Self {
        let act = move || {
            act(&mut self.rabbit);
            self
        };
        tokio::task::spawn_blocking(act).await.unwrap()
    }

    /// The URL of the customer's consumer.
    pub(super) fn url(&self) -> String {
        self.rabbit.url(AmqpLogin::Consumer)
    }

    /// Logs in as the administrator.
    pub(super) async fn publisher(&self) -> Publisher {
        let ca = std::fs::read_to_string(self.authority.file()).unwrap();
        let tls = OwnedTLSConfig { identity: None, cert_chain: Some(ca) };
        let runtime = lapin::runtime::default_runtime().unwrap();
        let url = self.rabbit.url(AmqpLogin::Admin);
        let properties = ConnectionProperties::default();
        let connection = Connection::connect_with_config(&url, properties, tls, runtime).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Publisher { connection, channel }
    }
}

/// Publishes INVERS' events as INVERS does, and knows what is in the queues.
pub(super) struct Publisher {
    connection: Connection,
    channel: Channel,
}

impl Publisher {
    /// A new queue with this name, or with one of its own.
    pub(super) async fn declare(&self, kind: Kind) -> String {
        let name = format!("states-{}", Uuid::now_v7().simple());
        self.declare_as(&name, kind).await;
        name
    }

    pub(super) async fn declare_as(&self, name: &str, kind: Kind) {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(name.into(), options, kind.arguments()).await.unwrap();
    }

    pub(super) async fn delete(&self, name: &str) {
        self.channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
    }

    /// Publishes messages, and waits until the broker has confirmed them.
    pub(super) async fn publish(&self, queue: &str, bodies: &[impl AsRef<[u8]>]) {
        let mut confirms = Vec::new();
        for body in bodies {
            let published = self.channel.basic_publish(
                "".into(),
                queue.into(),
                BasicPublishOptions::default(),
                body.as_ref(),
                properties(),
            );
            confirms.push(published.await.unwrap());
        }
        for confirm in confirms {
            assert!(confirm.await.unwrap().is_ack(), "the broker has not taken a message");
        }
    }

    /// Messages that no consumer has, and consumers.
    pub(super) async fn counts(&self, queue: &str) -> (u32, u32) {
        let channel = self.connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let found = channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
        channel.close(200, "OK".into()).await.unwrap();
        (found.message_count(), found.consumer_count())
    }

    /// Waits until the queue has this many messages and no consumer. Then nothing of it is unacknowledged.
    pub(super) async fn left(&self, queue: &str, messages: u32) {
        eventually(&format!("{messages} messages to be left"), async || {
            (self.counts(queue).await == (messages, 0)).then_some(())
        })
        .await;
    }
}

fn properties() -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("schema_major_version".into(), AMQPValue::LongInt(2));
    BasicProperties::default()
        .with_message_id(Uuid::now_v7().to_string().into())
        .with_type("VehicleStateRecorded".into())
        .with_content_type("application/json".into())
        .with_correlation_id(Uuid::now_v7().to_string().into())
        .with_delivery_mode(2)
        .with_headers(headers)
}

/// A vehicle's state that differs for each number.
pub(super) fn state(number: usize) -> String {
    let now = jiff::Timestamp::now().to_string();
    let id = format!("01J0TESTULID{number:014}");
    format!(
        r#"{{"metadata":{{"id":"{id}","type":"VehicleStateRecorded","schema_major_version":2,"occurred_at":"{now}"}},"data":{{"vehicle_id":"AMQP{number}","position":{{"timestamp":"{now}","value":{{"lat":50.834,"lon":8.0219}}}}}}}}"#
    )
}

/// The states of these numbers.
pub(super) fn states(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(state).collect()
}
