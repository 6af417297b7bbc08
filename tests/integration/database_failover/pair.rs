//! A primary and a standby at two addresses that stay.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use fleet_store::{DatabaseOptions, Schema, migrate};
use fleet_testbed::{Postgres, Proxy, StandbyOptions};

use super::blocking;
use crate::support::DEADLINE;

/// How a primary is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Its machine is gone, with its disk.
    Destroyed,
    /// It is stopped: connections stay open without responses.
    Frozen,
    /// The network swallows everything between it and the consumer.
    Isolated,
    /// It became read-only, and keeps its connections.
    ReadOnly,
}

/// Two servers, each behind a proxy. Clones share them.
#[derive(Clone)]
pub(super) struct Pair(Arc<Mutex<Servers>>);

struct Servers {
    proxies: [Proxy; 2],
    servers: [Option<Postgres>; 2],
    primary: usize,
}

impl Pair {
    /// A migrated primary and its standby.
    pub(super) async fn start() -> Self {
        let pair = blocking(|| {
            let primary = Postgres::private(&[]).unwrap();
            let standby = Postgres::standby_of(&primary, StandbyOptions::default()).unwrap();
            let proxies = [&primary, &standby].map(|server| Proxy::start(server.port()).unwrap());
            Self(Arc::new(Mutex::new(Servers {
                proxies,
                servers: [Some(primary), Some(standby)],
                primary: 0,
            })))
        })
        .await;
        for schema in [Schema::State, Schema::Telemetry] {
            migrate(&DatabaseOptions::new(&pair.url()), schema).await.unwrap();
        }
        pair
    }

    /// The URL with both hosts, in an order that stays.
    pub(super) fn url(&self) -> String {
        let servers = self.0.lock().unwrap();
        let [first, second] = &servers.proxies;
        format!("postgres://fleet:fleet@127.0.0.1:{},127.0.0.1:{}/fleet", first.port(), second.port())
    }

    /// Loses the primary, and promotes the standby.
    pub(super) async fn fail_over(&self, loss: Loss) {
        self.run(move |servers| servers.fail_over(loss)).await;
    }

    /// Replaces the lost server by a standby of the new primary.
    pub(super) async fn rebuild(&self) {
        self.run(Servers::rebuild).await;
    }

    /// The rows of a table of the primary.
    pub(super) async fn count(&self, table: &str) -> usize {
        let query = format!("SELECT count(*) FROM {table}");
        self.run(move |servers| servers.primary().psql(&query).unwrap().parse().unwrap()).await
    }

    /// A value of a column of a table of the primary.
    pub(super) async fn first(&self, column: &str, table: &str) -> String {
        let query = format!("SELECT {column} FROM {table} LIMIT 1");
        self.run(move |servers| servers.primary().psql(&query).unwrap()).await
    }

    async fn run<T: Send + 'static>(&self, call: impl FnOnce(&mut Servers) -> T + Send + 'static) -> T {
        let servers = Arc::clone(&self.0);
        blocking(move || call(&mut servers.lock().unwrap())).await
    }
}

impl Servers {
    fn primary(&self) -> &Postgres {
        self.servers[self.primary].as_ref().unwrap()
    }

    fn fail_over(&mut self, loss: Loss) {
        let lost = self.primary;
        // Nothing is written meanwhile. What the standby has not received yet would be lost with the primary.
        let written = self.primary().psql("SELECT pg_current_wal_flush_lsn()").unwrap();
        let received = format!("SELECT pg_last_wal_receive_lsn() >= '{written}'");
        let deadline = Instant::now() + DEADLINE;
        while self.servers[1 - lost].as_ref().unwrap().psql(&received).unwrap() != "t" {
            assert!(Instant::now() < deadline, "the standby lacks changes");
        }
        let server = self.servers[lost].as_mut().unwrap();
        match loss {
            Loss::Destroyed => self.servers[lost].take().unwrap().destroy().unwrap(),
            Loss::Frozen => server.pause().unwrap(),
            Loss::Isolated => self.proxies[lost].black_hole(),
            Loss::ReadOnly => {
                server.psql("ALTER SYSTEM SET default_transaction_read_only = on").unwrap();
                server.psql("SELECT pg_reload_conf()").unwrap();
            }
        }
        self.primary = 1 - lost;
        self.primary().promote().unwrap();
    }

    fn rebuild(&mut self) {
        let lost = 1 - self.primary;
        if let Some(old) = self.servers[lost].take() {
            old.destroy().unwrap();
        }
        self.proxies[lost].cut();
        self.proxies[lost].heal();
        let standby = Postgres::standby_of(self.primary(), StandbyOptions::default()).unwrap();
        self.proxies[lost].retarget(standby.port());
        self.servers[lost] = Some(standby);
    }
}
