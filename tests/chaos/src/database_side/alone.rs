//! One or two PostgreSQL servers without standbys, each behind an address that stays.

use fleet_testbed::{Postgres, Proxy, Root};

use super::{DatabaseSide, behind};
use crate::layout::Databases;
use fleet_harness::Failure;

/// The server of the state, then that of the telemetry if it is another one.
pub(crate) struct Alone {
    servers: Vec<Postgres>,
    ways: Vec<Proxy>,
}

impl Alone {
    /// Starts the servers.
    pub(crate) fn start(root: &Root, databases: Databases) -> Result<Self, Failure> {
        let count = match databases {
            Databases::One => 1,
            Databases::Two => 2,
        };
        let servers: Vec<_> =
            (0..count).map(|_server| Postgres::start(root, &[])).collect::<Result<_, _>>()?;
        let ways = servers.iter().map(|server| Proxy::start(server.port())).collect::<Result<_, _>>()?;
        Ok(Self { servers, ways })
    }
}

impl DatabaseSide for Alone {
    fn urls(&self) -> Vec<String> {
        let ways = self.servers.iter().zip(&self.ways);
        ways.map(|(server, way)| behind(&server.url(), server.port(), way.port())).collect()
    }

    fn observer_urls(&self) -> [String; 2] {
        [self.servers[0].url(), self.servers[self.servers.len() - 1].url()]
    }

    fn primaries(&self) -> Vec<&Postgres> {
        self.servers.iter().collect()
    }

    fn primary(&mut self, target: usize) -> Result<&mut Postgres, Failure> {
        let count = self.servers.len();
        Ok(&mut self.servers[target % count])
    }

    fn cut(&self) {
        self.ways.iter().for_each(Proxy::cut);
    }

    fn black_hole(&self) {
        self.ways[0].black_hole();
    }

    fn heal(&self) {
        self.ways[0].heal();
    }

    fn recover(&mut self) -> Result<bool, Failure> {
        Ok(true)
    }
}
