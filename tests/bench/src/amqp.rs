//! INVERS' broker: a RabbitMQ whose queue is filled, and the reference for the bridge, which only consumes.

use std::path::PathBuf;
use std::time::Instant;

use fleet_testbed::{AmqpLogin, RabbitMq, RabbitMqOptions, ServerCertificate};
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::tcp::OwnedTLSConfig;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::failure::Failure;
use crate::usage::{self, CpuMicros, Watched};

/// Published messages that may be unconfirmed.
const UNCONFIRMED: usize = 2_000;

/// A private broker with TLS.
#[derive(Debug)]
pub(crate) struct Broker {
    rabbit: RabbitMq,
    runtime: Runtime,
}

impl Broker {
    /// Starts it.
    pub(crate) fn start() -> Result<Self, Failure> {
        let rabbit = RabbitMq::private(&RabbitMqOptions::new(ServerCertificate::for_localhost()?))?;
        Ok(Self { rabbit, runtime: crate::runtime::current_thread()? })
    }

    /// The pid of the server.
    pub(crate) fn pid(&self) -> u32 {
        self.rabbit.pid()
    }

    /// The URL of the customer's consumer, who may only read.
    pub(crate) fn url(&self) -> String {
        self.rabbit.url(AmqpLogin::Consumer)
    }

    /// The file with the server's certificate, which is its own CA.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.rabbit.certificate_file()
    }

    /// Makes a quorum queue with these bodies. Returns its name when the broker has stored all of them.
    pub(crate) fn fill(&self, bodies: impl Iterator<Item = String>) -> Result<String, Failure> {
        let queue = format!("states-{}", Uuid::now_v7().simple());
        self.runtime.block_on(async {
            let connection = self.log_in().await?;
            let channel = connection.create_channel().await?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue.as_str().into(), durable, arguments).await?;
            publish(&channel, &queue, bodies).await?;
            close(&connection).await
        })?;
        Ok(queue)
    }

    /// How many messages of the queue no consumer has.
    pub(crate) fn waiting(&self, queue: &str) -> Result<u32, Failure> {
        self.runtime.block_on(async {
            let connection = self.log_in().await?;
            let channel = connection.create_channel().await?;
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let found = channel.queue_declare(queue.into(), passive, FieldTable::default()).await?;
            let waiting = found.message_count();
            close(&connection).await?;
            Ok(waiting)
        })
    }

    async fn log_in(&self) -> Result<Connection, Failure> {
        connect(&self.rabbit.url(AmqpLogin::Admin), &self.ca_file()).await
    }
}

async fn publish(
    channel: &Channel,
    queue: &str,
    bodies: impl Iterator<Item = String>,
) -> Result<(), Failure> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let properties = BasicProperties::default()
        .with_type("VehicleStateRecorded".into())
        .with_content_type("application/json".into())
        .with_delivery_mode(2);
    let mut bodies = bodies.peekable();
    while bodies.peek().is_some() {
        let mut confirms = Vec::with_capacity(UNCONFIRMED);
        for body in bodies.by_ref().take(UNCONFIRMED) {
            let options = BasicPublishOptions::default();
            let published =
                channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), properties.clone());
            confirms.push(published.await?);
        }
        for confirm in confirms {
            if !confirm.await?.is_ack() {
                return Err(Failure::measurement("RabbitMQ has not stored a message"));
            }
        }
    }
    Ok(())
}

async fn connect(url: &str, ca_file: &PathBuf) -> Result<Connection, Failure> {
    let ca = std::fs::read_to_string(ca_file).map_err(Failure::io(format!("read {}", ca_file.display())))?;
    let tls = OwnedTLSConfig { identity: None, cert_chain: Some(ca) };
    let runtime = lapin::runtime::default_runtime()?;
    Ok(Connection::connect_with_config(url, ConnectionProperties::default(), tls, runtime).await?)
}

async fn close(connection: &Connection) -> Result<(), Failure> {
    Ok(connection.close(200, "OK".into()).await?)
}

/// The options of the reference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Consume {
    pub(crate) url: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) queue: String,
    pub(crate) prefetch: u16,
    /// How many messages are in the queue.
    pub(crate) messages: u32,
    pub(crate) watched: Watched,
}

/// The result of the reference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Consumed {
    /// From the first message until the broker has all acks.
    pub(crate) seconds: f64,
    pub(crate) cpu_micros: CpuMicros,
    /// The CPU time of the reference itself, its start included.
    pub(crate) own_cpu_micros: f64,
}

/// Consumes a queue and drops its messages. Everything that has arrived gets one ack.
pub(crate) async fn consume(consume: &Consume) -> Result<Consumed, Failure> {
    let before = usage::cpu(&consume.watched)?;
    let connection = connect(&consume.url, &consume.ca_file).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(consume.prefetch, BasicQosOptions { global: false }).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut consumer =
        channel.basic_consume(consume.queue.as_str().into(), "".into(), options, arguments).await?;
    let ended = || Failure::measurement("RabbitMQ has ended the consumer");
    let (mut left, mut started) = (consume.messages, None);
    while left > 0 {
        let mut last = consumer.next().await.ok_or_else(ended)??;
        started.get_or_insert_with(Instant::now);
        left -= 1;
        while left > 0
            && let Some(more) = consumer.next().now_or_never()
        {
            last = more.ok_or_else(ended)??;
            left -= 1;
        }
        last.acker.ack(BasicAckOptions { multiple: true }).await?;
    }
    close(&connection).await?;
    Ok(Consumed {
        seconds: started.map_or(f64::NAN, |started| started.elapsed().as_secs_f64()),
        cpu_micros: usage::since(&before, &usage::cpu(&consume.watched)?),
        own_cpu_micros: usage::own_cpu_micros()?,
    })
}
