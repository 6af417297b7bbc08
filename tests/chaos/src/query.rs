//! The query service under test, and a client of its stream. At the end of a run, what the client knows is compared with the table.

mod compare;
mod events;
mod follower;
mod table;

use std::time::{Duration, Instant};

use fleet_testbed::{Postgres, Proxy};
use serde_json::Value;

use self::compare::{Fleet, comparable, differences};
use self::follower::{Followed, Follower};
use fleet_harness::{Failure, Interrupt, POLL, Program, http};

/// The deadline for the client to know what the table has, counted from the end of the last fault.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(30);

/// Vehicles in a page, so that a run of the usual size has several pages.
const PAGE: usize = 100;

/// Most differences that a failed run names.
const SHOWN: usize = 5;

/// The service and its client. The client's connection goes through a proxy, so that it can be cut.
pub(super) struct Query {
    /// `None` after the end of the run.
    pub(super) program: Option<Program>,
    way: Proxy,
    follower: Follower,
}

impl Query {
    /// Follows the stream of a service that listens on `port`.
    pub(super) fn follow(program: Program, port: u16) -> Result<Self, Failure> {
        let way = Proxy::start(port)?;
        let follower = Follower::start(way.port());
        Ok(Self { program: Some(program), way, follower })
    }

    /// Cuts the client's connection.
    pub(super) fn cut(&self) {
        self.way.cut();
    }

    /// What the client of the stream has seen so far.
    pub(super) fn followed(&self) -> Followed {
        self.follower.followed()
    }

    /// Waits until the stream's client and all pages together have exactly the rows of the table `vehicles` in `state`. Returns the
    /// number of vehicles, or at the deadline what differs.
    pub(super) fn compare(
        &self,
        state: &Postgres,
        interrupt: &Interrupt,
    ) -> Result<Result<usize, String>, Failure> {
        let end = Instant::now() + CAUGHT_UP_WITHIN;
        loop {
            let table = table::read(state)?;
            let stream = differences(&table, &self.follower.vehicles(), "the stream");
            let pages = match self.pages() {
                Ok(pages) => differences(&table, &pages, "the pages"),
                Err(why) => vec![why],
            };
            let found = [stream, pages].concat();
            if found.is_empty() && !table.is_empty() {
                return Ok(Ok(table.len()));
            }
            if Instant::now() >= end {
                return Ok(Err(report(&found)));
            }
            interrupt.sleep(POLL)?;
        }
    }

    /// Every vehicle, page by page.
    fn pages(&self) -> Result<Fleet, String> {
        let client = http::Client::new(http::TIMEOUT);
        let (mut fleet, mut path) = (Fleet::new(), format!("/v1/vehicles?limit={PAGE}"));
        loop {
            let response = client.get(self.way.port(), &path).map_err(|error| format!("{path}: {error}"))?;
            if response.status != 200 {
                return Err(format!("{path}: status {}: {}", response.status, response.body));
            }
            let mut page: Value =
                serde_json::from_str(&response.body).map_err(|error| format!("{path}: {error}"))?;
            let Value::Array(vehicles) = page["vehicles"].take() else {
                return Err(format!("{path}: no vehicles"));
            };
            for (id, vehicle) in vehicles.into_iter().filter_map(comparable) {
                if fleet.insert(id.clone(), vehicle).is_some() {
                    return Err(format!("vehicle {id} is in two pages"));
                }
            }
            match page["after"].as_str() {
                Some(after) => path = format!("/v1/vehicles?limit={PAGE}&after={after}"),
                None => return Ok(fleet),
            }
        }
    }
}

fn report(differences: &[String]) -> String {
    if differences.is_empty() {
        return "the table vehicles is empty".to_owned();
    }
    let shown: Vec<_> = differences.iter().take(SHOWN).map(String::as_str).collect();
    let count = differences.len();
    format!("the query service differs from the table vehicles in {count} places: {}", shown.join(", "))
}
