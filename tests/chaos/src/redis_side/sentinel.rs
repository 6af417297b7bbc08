//! A Redis with a replica under three Sentinels.

use std::net::Ipv4Addr;
use std::time::Duration;

use fleet_testbed::{Redis, Root, SENTINEL_NAME, SentinelOptions, Sentinels};

use super::machine::Machine;
use super::planned::Planned;
use super::{PROVIDERS, RedisSide, set_full};
use crate::refuse::refuse;
use fleet_harness::Failure;

/// After this time without a response the Sentinels start a failover. Longer than a busy machine needs to
/// respond, and shorter than some of the faults.
const DOWN_AFTER: Duration = Duration::from_millis(800);

/// The addresses from which servers and Sentinels connect. Programs connect from 127.0.0.1.
const SERVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 2, 1), Ipv4Addr::new(127, 0, 2, 2)];
const SENTINELS: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 3);

/// The two servers and the Sentinels.
pub(crate) struct WithSentinels {
    root: Root,
    machines: [Machine; 2],
    sentinels: Sentinels,
    /// The server that a fault hits until it ends.
    hit: usize,
    /// The server that was lost and is to be replaced.
    lost: Option<usize>,
    planned: Option<Planned>,
}

impl WithSentinels {
    /// Starts the servers and the Sentinels.
    pub(crate) fn start(root: &Root) -> Result<Self, Failure> {
        let [first, second] = SERVERS;
        let primary = Machine::start(root, first, None)?;
        let replica = Machine::start(root, second, Some(primary.way.port()))?;
        replica.redis.wait_synced()?;
        let options =
            SentinelOptions { down_after: DOWN_AFTER, source: Some(SENTINELS), ..SentinelOptions::default() };
        let sentinels = Sentinels::start(&primary.redis, 3, options)?;
        sentinels.wait_replicas(1)?;
        let machines = [primary, replica];
        Ok(Self { root: root.clone(), machines, sentinels, hit: 0, lost: None, planned: None })
    }

    /// The server that is the primary according to all Sentinels and to itself.
    fn agreed(&self) -> Option<usize> {
        let port = self.sentinels.primary()?;
        let index = self.machines.iter().position(|machine| machine.way.port() == port)?;
        self.machines[index].redis.is_primary().then_some(index)
    }

    fn agreed_now(&self) -> Result<usize, Failure> {
        self.agreed().ok_or_else(|| refuse("the Sentinels and the servers disagree about the primary"))
    }

    /// Notes the primary, which a fault is about to hit.
    fn hit(&mut self) -> Result<&mut Machine, Failure> {
        self.hit = self.agreed_now()?;
        Ok(&mut self.machines[self.hit])
    }
}

impl RedisSide for WithSentinels {
    fn url(&self) -> String {
        self.sentinels.url()
    }

    fn settings(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("FLEET_REDIS__TOPOLOGY", "sentinel"),
            ("FLEET_REDIS__SENTINEL_NAME", SENTINEL_NAME),
            ("FLEET_QUEUE__REPLICAS", "1"),
        ]
    }

    fn server_urls(&self) -> Vec<String> {
        self.machines.iter().map(Machine::url).collect()
    }

    fn queues(&self) -> Vec<String> {
        PROVIDERS.map(str::to_owned).into()
    }

    fn servers(&self) -> Vec<&Redis> {
        self.machines.iter().map(|machine| &machine.redis).collect()
    }

    fn primary(&self, _queue: &str) -> Result<&Redis, Failure> {
        Ok(&self.machines[self.agreed_now()?].redis)
    }

    fn kill(&mut self, _turn: usize) -> Result<(), Failure> {
        let machine = self.hit()?;
        machine.redis.kill()?;
        Ok(machine.redis.restart()?)
    }

    fn freeze(&mut self, _turn: usize) -> Result<(), Failure> {
        Ok(self.hit()?.redis.pause()?)
    }

    fn thaw(&mut self) -> Result<(), Failure> {
        Ok(self.machines[self.hit].redis.resume()?)
    }

    fn fill(&mut self, _turn: usize) -> Result<(), Failure> {
        set_full(&self.hit()?.redis, true)
    }

    fn fail_over(&mut self, _turn: usize) -> Result<(), Failure> {
        self.planned = Some(Planned::from(self.agreed_now()?));
        Ok(self.sentinels.fail_over()?)
    }

    fn cut(&self) {
        self.machines.iter().for_each(|machine| machine.way.cut());
    }

    fn black_hole(&mut self, _turn: usize) -> Result<(), Failure> {
        self.hit()?.way.black_hole();
        Ok(())
    }

    fn heal(&mut self) {
        self.machines[self.hit].way.heal();
    }

    fn lose_primary(&mut self, _turn: usize) -> Result<(), Failure> {
        self.hit()?.redis.destroy()?;
        self.lost = Some(self.hit);
        Ok(())
    }

    fn cut_off_replica(&mut self, _turn: usize) -> Result<(), Failure> {
        self.hit()?.way.block(&SERVERS);
        Ok(())
    }

    fn lose_cut_off_primary(&mut self) -> Result<(), Failure> {
        let machine = &mut self.machines[self.hit];
        machine.redis.destroy()?;
        machine.way.cut();
        machine.way.unblock();
        self.lost = Some(self.hit);
        Ok(())
    }

    fn isolate(&mut self, _turn: usize) -> Result<(), Failure> {
        self.hit()?.way.block(&[&SERVERS[..], &[SENTINELS]].concat());
        Ok(())
    }

    fn reunite(&mut self) -> Result<(), Failure> {
        self.machines[self.hit].way.unblock();
        Ok(())
    }

    fn lose_replica(&mut self, _turn: usize) -> Result<(), Failure> {
        self.hit = 1 - self.agreed_now()?;
        Ok(self.machines[self.hit].redis.destroy()?)
    }

    fn replace_replica(&mut self) -> Result<(), Failure> {
        self.lost = Some(self.hit);
        Ok(())
    }

    fn recover(&mut self) -> Result<bool, Failure> {
        let Some(primary) = self.agreed() else { return Ok(false) };
        let port = self.machines[primary].way.port();
        if let Some(lost) = self.lost.take_if(|lost| *lost != primary) {
            self.machines[lost].replace(&self.root, port)?;
        }
        let replica = &self.machines[1 - primary].redis;
        Ok(self.lost.is_none()
            && replica.primary_port() == Some(port)
            && replica.is_synced()
            && self.sentinels.know_replicas(1)
            && Planned::is_over(&mut self.planned, Some(primary)))
    }
}
