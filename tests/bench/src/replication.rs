//! Makes one Redis a replica of another.

use std::time::Duration;

use fleet_harness::Interrupt;

use crate::failure::Failure;
use crate::redis_side::RedisSide;

/// The time that each question to the replica may take, ms. Short, so that an interrupt is noticed.
const ASK_FOR_MS: u32 = 200;

/// The deadline for a replica to be synchronized.
const SYNCED_WITHIN: Duration = Duration::from_mins(1);

impl RedisSide {
    /// Makes this server a replica of `primary`, and waits until it confirms writes.
    pub(crate) fn follow(&self, primary: &Self, interrupt: &Interrupt) -> Result<(), Failure> {
        // Otherwise a replica waits five seconds for others before it is served.
        let mut at_once = redis::cmd("CONFIG");
        primary.ask::<()>(at_once.arg("SET").arg("repl-diskless-sync-delay").arg(0))?;
        for (setting, value) in [("masteruser", "fleet"), ("masterauth", "fleet")] {
            self.ask::<()>(redis::cmd("CONFIG").arg("SET").arg(setting).arg(value))?;
        }
        self.ask::<()>(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(primary.port()?))?;
        interrupt.until("the replica to confirm writes", SYNCED_WITHIN, || {
            primary.ask::<()>(redis::cmd("SET").arg("bench").arg(1))?;
            let received: u32 = primary.ask(redis::cmd("WAIT").arg(1).arg(ASK_FOR_MS))?;
            let (_, stored): (u32, u32) = primary.ask(redis::cmd("WAITAOF").arg(1).arg(1).arg(ASK_FOR_MS))?;
            Ok((received == 1 && stored == 1).then_some(()))
        })
    }

    /// Makes this server a primary without replicas.
    pub(crate) fn follow_nobody(&self) -> Result<(), Failure> {
        self.ask::<()>(redis::cmd("REPLICAOF").arg("NO").arg("ONE"))
    }

    fn port(&self) -> Result<String, Failure> {
        self.info("server", "tcp_port")
    }
}
