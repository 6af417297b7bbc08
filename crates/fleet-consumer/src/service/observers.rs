//! Starts the observers, which publish metrics and keep the witness.

use std::time::Duration;

use fleet_runtime::liveness::Liveness;
use fleet_runtime::settings::Settings;
use tokio::task::JoinSet;

use crate::connect::Databases;
use crate::observe::queues::WatchedQueues;
use crate::observe::witness::Witnesses;
use crate::observe::{database, durability, pools, queues, witness};

/// Starts every observer.
pub(super) fn start(
    settings: &Settings,
    databases: Databases,
    watched: WatchedQueues,
    liveness: &Liveness,
    longest_wait: Duration,
) -> JoinSet<()> {
    let every = settings.consumer.status_interval;
    let mut observers = JoinSet::new();
    let known = watched.known.clone();
    let queues = queues::observe(watched, settings.queue.clone(), every);
    observers.spawn(liveness.watch("queue observer".to_owned(), longest_wait, queues));
    let durability =
        durability::observe(known.clone(), settings.queue.prefix.clone(), settings.queue.replicas);
    observers.spawn(liveness.watch("durability observer".to_owned(), longest_wait, durability));
    let witness = witness::watch(Witnesses::new(settings, &databases, known), every);
    observers.spawn(liveness.watch("witness".to_owned(), longest_wait, witness));
    let database = database::observe(databases.clone(), settings.database.synchronous_standbys);
    observers.spawn(liveness.watch("database observer".to_owned(), longest_wait, database));
    let pools = pools::observe(databases, every);
    observers.spawn(liveness.watch("pool observer".to_owned(), longest_wait, pools));
    observers
}
