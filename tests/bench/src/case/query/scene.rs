//! A fleet that changes all the time, and what is asked about it.

use std::net::SocketAddr;
use std::time::Duration;

use fleet_harness::http;

use super::super::setup::Setup;
use super::super::sizing::store;
use crate::cities::{self, CITY_VEHICLES};
use crate::failure::Failure;
use crate::load::{End, Load, Outcome, Traffic};
use crate::provider::Provider;
use crate::running::Running;
use crate::stage::{Front, Stage};
use crate::usage::Watched;

/// Different requests of each kind.
const REQUESTS: u32 = 200;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Box,
    Near,
    One,
}

impl Ask {
    pub(super) const ALL: [Self; 3] = [Self::Box, Self::Near, Self::One];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Box => "bbox",
            Self::Near => "near",
            Self::One => "by id",
        }
    }

    /// Requests a second while latency is measured. The reference can answer them.
    pub(super) fn per_second(self) -> f64 {
        match self {
            Self::Box => 100.0,
            Self::Near | Self::One => 300.0,
        }
    }
}

/// The pipeline that changes the fleet.
pub(super) struct Scene {
    pub(super) api: Front,
    pub(super) consumer: Running,
    changes: Running,
    pub(super) vehicles: u32,
    ids: Vec<String>,
}

/// Stores the fleet, and starts to change it.
pub(super) fn set(setup: &Setup, stage: &mut Stage, vehicles: u32) -> Result<Scene, Failure> {
    stage.clear()?;
    let cities = cities::cities(vehicles);
    stage.redis.fill_with_body(Provider::Niu, vehicles, |status| cities::body(status, cities))?;
    store(stage, Provider::Niu, vehicles)?;
    stage.sql.run("VACUUM ANALYZE vehicles")?;
    let rows = stage.sql.rows("SELECT vehicle_id::text FROM vehicles ORDER BY random() LIMIT 200", &[])?;
    let ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let (api, consumer) = (stage.api(&[])?, stage.consumer()?);
    let changes = stage.load(&Load {
        target: api.address,
        connections: 64,
        threads: 1,
        traffic: Traffic::Moving { vehicles, cities },
        per_second: Some(setup.size(2_000.0, 200.0)),
        warm_up: Duration::from_millis(500),
        end: End::StdinCloses,
        watched: Watched::new(),
    })?;
    Ok(Scene { api, consumer, changes, vehicles, ids })
}

/// Ends the changes, and makes sure that all of them were accepted.
pub(super) fn close(stage: &Stage, mut scene: Scene) -> Result<(), Failure> {
    scene.check()?;
    scene.changes.close_stdin();
    let outcome: Outcome = scene.changes.finish(&stage.interrupt, Duration::from_mins(1), || Ok(()))?;
    outcome.require_all_accepted("the API")?;
    scene.api.running.stop(&stage.interrupt)?;
    scene.consumer.stop(&stage.interrupt)
}

impl Scene {
    /// Fails if a part has ended.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        self.api.running.check()?;
        self.consumer.check()?;
        self.changes.check()
    }

    /// Different requests of this kind.
    pub(super) fn paths(&self, ask: Ask) -> Vec<String> {
        let cities = cities::cities(self.vehicles);
        match ask {
            Ask::Box => (0..REQUESTS)
                .map(|number| format!("/v1/vehicles?{}", cities::bbox(number % cities)))
                .collect(),
            Ask::Near => (0..REQUESTS)
                .map(|number| format!("/v1/vehicles?{}", cities::near(number % cities, number)))
                .collect(),
            Ask::One => self.ids.iter().map(|id| format!("/v1/vehicles/{id}")).collect(),
        }
    }
}

/// Makes sure that the responses have the vehicles that they must have.
pub(super) fn require_vehicles(address: SocketAddr, ask: Ask, paths: &[String]) -> Result<(), Failure> {
    let mut found = 0;
    for path in paths {
        let response =
            http::get(address.port(), path, http::TIMEOUT).map_err(Failure::io("ask for vehicles"))?;
        let vehicles = response.body.matches("\"vehicle_id\"").count();
        let is_right = match ask {
            Ask::Box => vehicles == CITY_VEHICLES as usize,
            Ask::Near => vehicles <= CITY_VEHICLES as usize / 5,
            Ask::One => vehicles == 1,
        };
        if response.status != 200 || !is_right {
            return Err(Failure::measurement(format!(
                "{path} got {} with {vehicles} vehicles",
                response.status
            )));
        }
        found += vehicles;
    }
    // At least two within 500 m on average.
    if ask == Ask::Near && found < 2 * paths.len() {
        return Err(Failure::measurement(format!("{found} vehicles are near {} points", paths.len())));
    }
    Ok(())
}
