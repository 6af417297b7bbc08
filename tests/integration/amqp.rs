//! `fleet-amqp-bridge` with a real RabbitMQ over TLS: the real binary, real queues, real failures.

mod blocked;
mod broker;
mod connections;
mod consumers;
mod rig;
mod rows;
mod settings;
mod stopping;
mod stored;
mod waiting;
