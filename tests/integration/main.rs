//! Integration tests over the real API, consumer, Redis and TimescaleDB; run them with `cargo xtask test`.

#[cfg(test)]
mod amqp;
#[cfg(test)]
mod answers;
#[cfg(test)]
mod compose;
#[cfg(test)]
mod compression;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod consumer;
#[cfg(test)]
mod database_failover;
#[cfg(test)]
mod dead_letters;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod http_to_sql;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod k8s;
#[cfg(test)]
mod large_batches;
#[cfg(test)]
mod lossy_restart;
#[cfg(test)]
mod lost_history;
#[cfg(test)]
mod migrations;
mod new_vehicles;
#[cfg(test)]
mod observability;
#[cfg(test)]
mod one_database_away;
#[cfg(test)]
mod poison;
#[cfg(test)]
mod poison_kills;
#[cfg(test)]
mod process;
#[cfg(test)]
mod query;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod shards;
#[cfg(test)]
mod slices;
#[cfg(test)]
mod state;
#[cfg(test)]
mod support;
#[cfg(test)]
mod time;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod trace;
