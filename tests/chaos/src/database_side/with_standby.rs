//! A PostgreSQL with a synchronous standby, each behind an address that stays.

use std::thread::{self, JoinHandle};

use fleet_testbed::{Error, Postgres, Proxy, Root, StandbyOptions};

use super::DatabaseSide;
use crate::refuse::refuse;
use fleet_harness::Failure;

/// Every standby counts. With none, commits wait.
const SYNCHRONOUS: &str = "ANY 1 (*)";

/// By default a standby waits 5 s before it connects again.
const RECONNECT: &str = "wal_retrieve_retry_interval=200ms";

/// The primary and its standby.
pub(crate) struct WithStandby {
    pair: Option<Pair>,
    /// The promotion of the standby and the copy to a new one, which take seconds.
    rebuild: Option<JoinHandle<Result<Pair, Error>>>,
    /// The addresses of two machines.
    ways: [Proxy; 2],
    /// The index of the primary's address.
    primary: usize,
    /// An address that always leads to the primary, which only the simulator uses.
    observer: Proxy,
}

struct Pair {
    primary: Postgres,
    standby: Postgres,
}

impl WithStandby {
    /// Starts both servers.
    pub(crate) fn start(root: &Root) -> Result<Self, Failure> {
        let primary = Postgres::start(root, &[RECONNECT])?;
        primary.set_synchronous_standbys(SYNCHRONOUS)?;
        let pair = Pair::with_new_standby(primary)?;
        let ways = [Proxy::start(pair.primary.port())?, Proxy::start(pair.standby.port())?];
        let observer = Proxy::start(pair.primary.port())?;
        Ok(Self { pair: Some(pair), rebuild: None, ways, primary: 0, observer })
    }

    fn pair(&mut self) -> Result<&mut Pair, Failure> {
        self.pair.as_mut().ok_or_else(|| refuse("PostgreSQL is being rebuilt"))
    }
}

impl Pair {
    /// Copies the primary to a new standby.
    fn with_new_standby(primary: Postgres) -> Result<Self, Error> {
        let standby = Postgres::standby_of(&primary, StandbyOptions::default())?;
        Ok(Self { primary, standby })
    }
}

impl DatabaseSide for WithStandby {
    fn urls(&self) -> Vec<String> {
        let [first, second] = &self.ways;
        let hosts = format!("127.0.0.1:{},127.0.0.1:{}", first.port(), second.port());
        vec![format!("postgres://fleet:fleet@{hosts}/fleet?target_session_attrs=read-write")]
    }

    fn observer_urls(&self) -> [String; 2] {
        let url = format!("postgres://fleet:fleet@127.0.0.1:{}/fleet", self.observer.port());
        [url.clone(), url]
    }

    fn primaries(&self) -> Vec<&Postgres> {
        self.pair.iter().map(|pair| &pair.primary).collect()
    }

    fn primary(&mut self, _target: usize) -> Result<&mut Postgres, Failure> {
        Ok(&mut self.pair()?.primary)
    }

    fn cut(&self) {
        self.ways.iter().for_each(Proxy::cut);
    }

    fn black_hole(&self) {
        self.ways[self.primary].black_hole();
    }

    fn heal(&self) {
        self.ways[self.primary].heal();
    }

    fn lose_primary(&mut self) -> Result<(), Failure> {
        let Some(Pair { primary, standby }) = self.pair.take() else {
            return Err(refuse("PostgreSQL is being rebuilt"));
        };
        primary.destroy()?;
        self.primary = 1 - self.primary;
        self.observer.retarget(standby.port());
        self.rebuild = Some(thread::spawn(move || {
            standby.promote()?;
            Pair::with_new_standby(standby)
        }));
        Ok(())
    }

    fn recover(&mut self) -> Result<bool, Failure> {
        if let Some(rebuild) = self.rebuild.take_if(|rebuild| rebuild.is_finished()) {
            let pair = rebuild.join().map_err(|_| refuse("the rebuild of PostgreSQL panicked"))??;
            self.ways[1 - self.primary].retarget(pair.standby.port());
            self.pair = Some(pair);
        }
        if self.rebuild.is_some() {
            return Ok(false);
        }
        let primary = &self.pair()?.primary;
        let names = primary.psql("SHOW synchronous_standby_names")?;
        if names != SYNCHRONOUS {
            return Err(refuse(format!("PostgreSQL's synchronous_standby_names is {names:?} after a fault")));
        }
        Ok(primary.has_synchronous_standby()?)
    }
}
