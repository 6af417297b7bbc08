//! The Redis servers of the queues, and the faults that hit them.

mod behind_one_address;
mod cluster;
mod machine;
mod planned;
mod sentinel;
mod single;

use fleet_testbed::Redis;

pub(super) use self::cluster::Cluster;
pub(super) use self::sentinel::WithSentinels;
pub(super) use self::single::Single;
use crate::refuse::refuse;
use fleet_harness::Failure;

/// `maxmemory` of Redis, as in docker-compose.yml.
const MAXMEMORY: &str = "1gb";

/// The providers.
const PROVIDERS: [&str; 3] = ["niu", "segway", "invers"];

/// One way to run Redis.
///
/// A fault hits the primary of a queue. Which queue is chosen by `turn`, a number that grows with each fault.
/// Until [`RedisSide::recover`] returns true after a fault, there is no other one.
pub(super) trait RedisSide {
    /// The administrator's URL for the programs.
    fn url(&self) -> String;

    /// The programs' settings for these servers, except for the URL.
    fn settings(&self) -> Vec<(&'static str, &'static str)>;

    /// The administrator's URLs of all servers, for the simulator. They never change.
    fn server_urls(&self) -> Vec<String>;

    /// The names of the queues.
    fn queues(&self) -> Vec<String>;

    /// All servers.
    fn servers(&self) -> Vec<&Redis>;

    /// The current primary of a queue.
    fn primary(&self, queue: &str) -> Result<&Redis, Failure>;

    /// Kills a primary and starts it again. Its data remains.
    fn kill(&mut self, turn: usize) -> Result<(), Failure>;

    /// Pauses a primary.
    fn freeze(&mut self, turn: usize) -> Result<(), Failure>;

    /// Ends [`RedisSide::freeze`].
    fn thaw(&mut self) -> Result<(), Failure>;

    /// Leaves a primary no room for another byte.
    fn fill(&mut self, turn: usize) -> Result<(), Failure>;

    /// Promotes another server, as an operator does.
    fn fail_over(&mut self, turn: usize) -> Result<(), Failure>;

    /// Closes all connections.
    fn cut(&self);

    /// Delivers nothing to and from a primary.
    fn black_hole(&mut self, turn: usize) -> Result<(), Failure>;

    /// Ends [`RedisSide::black_hole`].
    fn heal(&mut self);

    /// Destroys a primary and its disk. The servers themselves promote its replica.
    fn lose_primary(&mut self, _turn: usize) -> Result<(), Failure> {
        Err(refuse("this stage has no replica"))
    }

    /// Separates a primary from its replica only.
    fn cut_off_replica(&mut self, _turn: usize) -> Result<(), Failure> {
        Err(refuse("this stage has no replica"))
    }

    /// Destroys the primary of [`RedisSide::cut_off_replica`] and its disk. What was on its way to the replica
    /// is lost.
    fn lose_cut_off_primary(&mut self) -> Result<(), Failure> {
        Err(refuse("this stage has no replica"))
    }

    /// Separates a primary from all servers, but not from clients.
    fn isolate(&mut self, _turn: usize) -> Result<(), Failure> {
        Err(refuse("this stage has no replica"))
    }

    /// Ends [`RedisSide::isolate`].
    fn reunite(&mut self) -> Result<(), Failure> {
        Err(refuse("this stage has no replica"))
    }

    /// Destroys a replica and its disk.
    fn lose_replica(&mut self, _turn: usize) -> Result<(), Failure> {
        Err(refuse("this stage has no replica"))
    }

    /// Allows [`RedisSide::recover`] to replace a lost replica.
    fn replace_replica(&mut self) -> Result<(), Failure> {
        Err(refuse("this stage has no replica"))
    }

    /// Does the next step of the recovery after a fault. Returns whether every queue has a primary, and a
    /// replica that follows it if this stage has replicas.
    fn recover(&mut self) -> Result<bool, Failure>;
}

/// A key of a queue.
pub(super) fn key(queue: &str, what: &str) -> String {
    format!("fleet:{{{queue}}}:{what}")
}

/// Sets `maxmemory` so that there is no room for another byte, or restores it.
fn set_full(redis: &Redis, is_full: bool) -> Result<(), Failure> {
    let maxmemory = if is_full { "1mb" } else { MAXMEMORY };
    redis.command(&["CONFIG", "SET", "maxmemory", maxmemory])?;
    Ok(())
}

/// Ends [`RedisSide::fill`].
pub(super) fn empty(side: &dyn RedisSide) -> Result<(), Failure> {
    side.servers().into_iter().try_for_each(|redis| set_full(redis, false))
}

/// Makes a primary close every client connection, as it does with idle connections if `timeout` is set.
pub(super) fn close_connections(side: &dyn RedisSide, turn: usize) -> Result<(), Failure> {
    let queues = side.queues();
    side.primary(&queues[turn % queues.len()])?.command(&["CLIENT", "KILL", "TYPE", "normal"])?;
    Ok(())
}

/// Deletes all data of every primary.
pub(super) fn flush(side: &dyn RedisSide) -> Result<(), Failure> {
    for queue in side.queues() {
        side.primary(&queue)?.command(&["FLUSHALL"])?;
    }
    Ok(())
}

/// Sends a command with a queue's key behind its first word, whose reply is one number.
pub(super) fn number(side: &dyn RedisSide, queue: &str, command: &str, what: &str) -> Result<u64, Failure> {
    let reply = side.primary(queue)?.command(&[command, &key(queue, what)])?;
    let number = reply.first().and_then(|value| value.parse().ok());
    number.ok_or_else(|| refuse(format!("Redis answered {reply:?} to {command}")))
}
