//! One Redis behind one address, and a spare server for failovers behind that address.

use fleet_testbed::{Proxy, Redis, Root};

use super::{PROVIDERS, RedisSide, behind_one_address, set_full};
use fleet_harness::Failure;

/// The primary, and the server that a failover promotes.
pub(crate) struct Single {
    primary: Redis,
    spare: Redis,
    way: Proxy,
}

impl Single {
    /// Starts both servers.
    pub(crate) fn start(root: &Root) -> Result<Self, Failure> {
        let (primary, spare) = (Redis::start(root, &[])?, Redis::start(root, &[])?);
        let way = Proxy::start(primary.port())?;
        Ok(Self { primary, spare, way })
    }
}

impl RedisSide for Single {
    fn url(&self) -> String {
        let (own, way) = (self.primary.port(), self.way.port());
        self.primary.url().replacen(&format!(":{own}"), &format!(":{way}"), 1)
    }

    fn settings(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    fn server_urls(&self) -> Vec<String> {
        vec![self.url()]
    }

    fn queues(&self) -> Vec<String> {
        PROVIDERS.map(str::to_owned).into()
    }

    fn servers(&self) -> Vec<&Redis> {
        vec![&self.primary, &self.spare]
    }

    fn primary(&self, _queue: &str) -> Result<&Redis, Failure> {
        Ok(&self.primary)
    }

    fn kill(&mut self, _turn: usize) -> Result<(), Failure> {
        self.primary.kill()?;
        Ok(self.primary.restart()?)
    }

    fn freeze(&mut self, _turn: usize) -> Result<(), Failure> {
        Ok(self.primary.pause()?)
    }

    fn thaw(&mut self) -> Result<(), Failure> {
        Ok(self.primary.resume()?)
    }

    fn fill(&mut self, _turn: usize) -> Result<(), Failure> {
        set_full(&self.primary, true)
    }

    /// The address stays the same, and connections to the old primary stay open, as with a managed Redis. No
    /// data is lost.
    fn fail_over(&mut self, _turn: usize) -> Result<(), Failure> {
        behind_one_address::switch(&self.primary, &self.spare)?;
        self.way.retarget(self.spare.port());
        self.primary.command(&["CLIENT", "UNPAUSE"])?;
        std::mem::swap(&mut self.primary, &mut self.spare);
        Ok(())
    }

    fn cut(&self) {
        self.way.cut();
    }

    fn black_hole(&mut self, _turn: usize) -> Result<(), Failure> {
        self.way.black_hole();
        Ok(())
    }

    fn heal(&mut self) {
        self.way.heal();
    }

    fn recover(&mut self) -> Result<bool, Failure> {
        Ok(true)
    }
}
