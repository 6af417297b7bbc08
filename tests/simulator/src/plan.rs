//! Chooses what to send next: reports, resends, arrays, forgeries and unknown types, by the scenario's
//! probabilities.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use fastrand::Rng;

use crate::cli::Scenario;
use crate::fleet;
use crate::mix::Mix;
use crate::vehicle::{Provider, Role, Vehicle};
use crate::wire::invers::{Readings, Unit};
use crate::wire::{Credentials, Expect, Webhook, invers, niu, segway};

/// The maximum number of held-back requests. Above it they are released in random order.
const MAX_HELD: usize = 1_000;

/// Chooses the requests of a run. The seed determines everything except the times, which are wall clock.
#[derive(Debug)]
pub struct Plan {
    fleet: Vec<Vehicle>,
    mix: Mix,
    /// Where the vehicles' clocks start, epoch ms.
    start_ms: i64,
    rng: Rng,
    right: Credentials,
    wrong: Credentials,
    turn: usize,
    /// The number of the last report.
    sequence: u64,
    /// Requests to send next.
    ready: VecDeque<Arc<Webhook>>,
    /// Requests to send at some later time.
    held: Vec<Arc<Webhook>>,
    /// The units of INVERS' vehicles if their events come from a broker, by index in the fleet.
    units: Option<HashMap<usize, Unit>>,
}

impl Plan {
    /// A plan for `vehicles` vehicles that starts at `now_ms`, epoch ms.
    pub fn new(scenario: Scenario, vehicles: u32, seed: u64, credentials: Credentials, now_ms: i64) -> Self {
        let mix = Mix::of(scenario);
        let mut rng = Rng::with_seed(seed);
        let start_ms = now_ms - mix.backlog_ms.unwrap_or(0);
        let fleet = fleet::build(vehicles, mix.skewed_every, start_ms, &mut rng);
        let wrong = credentials.forged();
        Self {
            fleet,
            mix,
            start_ms,
            rng,
            right: credentials,
            wrong,
            turn: 0,
            sequence: 0,
            ready: VecDeque::new(),
            held: Vec::new(),
            units: None,
        }
    }

    /// The same plan for events of INVERS that come from a broker. Nobody knows when the bridge receives one, and it may receive
    /// one again later. So nothing may depend on that: INVERS' clocks are right, and no two of its reports contradict each other.
    #[must_use]
    pub fn with_broker(mut self) -> Self {
        for vehicle in self.fleet.iter_mut().filter(|vehicle| vehicle.provider == Provider::Invers) {
            vehicle.set_clock_right(self.start_ms);
        }
        self.units = Some(HashMap::new());
        self
    }

    /// All vehicles, including ghosts.
    pub fn fleet(&self) -> &[Vehicle] {
        &self.fleet
    }

    /// The next request. `now_ms` is the wall clock, epoch ms.
    pub fn next_webhook(&mut self, now_ms: i64) -> Arc<Webhook> {
        loop {
            if let Some(webhook) = self.ready.pop_front() {
                return webhook;
            }
            let releases = (self.mix.held_back + self.mix.duplicated).min(0.5);
            if self.held.len() >= MAX_HELD || (!self.held.is_empty() && self.chance(releases)) {
                let index = self.rng.usize(..self.held.len());
                return self.held.swap_remove(index);
            }
            let webhook = Arc::new(self.compose(now_ms));
            if webhook.keeps_time() && self.chance(self.mix.duplicated) {
                // Half of the resends compete with the original, the others come later.
                let at_once = self.rng.bool();
                if at_once {
                    self.ready.push_back(Arc::clone(&webhook));
                } else {
                    self.held.push(Arc::clone(&webhook));
                }
            }
            if self.chance(self.mix.held_back) {
                self.held.push(webhook);
            } else {
                return webhook;
            }
        }
    }

    /// All held-back requests, in random order.
    pub fn into_rest(mut self) -> Vec<Arc<Webhook>> {
        self.rng.shuffle(&mut self.held);
        self.ready.into_iter().chain(self.held).collect()
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.f64() < share
    }

    fn compose(&mut self, now_ms: i64) -> Webhook {
        if self.chance(self.mix.forged) {
            return self.forgery(now_ms);
        }
        let index = self.next_index();
        if self.fleet[index].provider == Provider::Niu && self.chance(self.mix.niu_arrays) {
            return self.niu_backlog(now_ms);
        }
        let contradicts = self.fleet[index].reports > 0 && self.chance(self.mix.contradicting);
        let is_ordinary = self.fleet[index].role == Role::Ordinary;
        let has_unit = self.units.is_some() && self.fleet[index].provider == Provider::Invers;
        if contradicts && is_ordinary && !has_unit {
            self.fleet[index].contradict(&mut self.rng);
            self.number(index);
        } else {
            self.step(index, now_ms);
        }
        if is_ordinary && self.chance(self.mix.unknown) {
            return self.unknown(index);
        }
        let vehicle = &self.fleet[index];
        if is_ordinary && vehicle.provider == Provider::Segway && self.rng.f64() < self.mix.alerts {
            return segway::alert(vehicle, &self.right);
        }
        let right = self.right.clone();
        self.report(index, &right)
    }

    fn report(&mut self, index: usize, credentials: &Credentials) -> Webhook {
        let (vehicle, rng) = (&self.fleet[index], &mut self.rng);
        match vehicle.provider {
            Provider::Niu => niu::single(niu::report(vehicle), credentials),
            // A third of the scooters have older units.
            Provider::Segway if vehicle.variant.is_multiple_of(3) => {
                segway::status_with_location(vehicle, credentials)
            }
            Provider::Segway if rng.bool() => segway::status(vehicle, credentials),
            Provider::Segway => segway::location(vehicle, credentials),
            Provider::Invers => {
                let readings = match &mut self.units {
                    Some(units) => units.entry(index).or_insert_with(|| Unit::new(vehicle)).read(vehicle),
                    None => Readings::of(vehicle),
                };
                invers::state(vehicle, readings, &event_id(rng), credentials)
            }
        }
    }

    /// Vehicles report in turn. The ghosts at the end of the fleet have no turn.
    fn next_index(&mut self) -> usize {
        let living = self.fleet.len() - Provider::ALL.len();
        self.turn = (self.turn + 1) % living;
        self.turn
    }

    fn step(&mut self, index: usize, now_ms: i64) {
        let vehicle = &mut self.fleet[index];
        let now_ms =
            if self.mix.backlog_ms.is_some() { vehicle.state_ms + self.rng.i64(1..=20) } else { now_ms };
        vehicle.step(now_ms, &mut self.rng);
        self.number(index);
    }

    /// Gives the vehicle's report a number that is unique in the run.
    fn number(&mut self, index: usize) {
        self.sequence += 1;
        self.fleet[index].sequence = self.sequence;
    }

    /// A report of a ghost or of a real vehicle with a wrong credential or none.
    fn forgery(&mut self, now_ms: i64) -> Webhook {
        let ghosts = self.fleet.len() - Provider::ALL.len()..self.fleet.len();
        let index = if self.rng.bool() { self.rng.usize(ghosts) } else { self.next_index() };
        self.step(index, now_ms);
        let wrong = self.wrong.clone();
        let mut webhook = self.report(index, &wrong);
        webhook.expect = Expect::Refused;
        if self.rng.bool() {
            webhook.credential = None;
        }
        webhook
    }

    fn niu_backlog(&mut self, now_ms: i64) -> Webhook {
        let len = self.mix.array_len.max(1);
        let mut reports = Vec::with_capacity(len);
        while reports.len() < len {
            let index = self.next_index();
            let vehicle = &self.fleet[index];
            if vehicle.provider == Provider::Niu && vehicle.role == Role::Ordinary {
                self.step(index, now_ms);
                reports.push(niu::report(&self.fleet[index]));
                if self.chance(self.mix.contradicting) {
                    self.fleet[index].contradict(&mut self.rng);
                    self.number(index);
                    reports.push(niu::report(&self.fleet[index]));
                }
            }
        }
        self.rng.shuffle(&mut reports);
        niu::backlog(reports, &self.right)
    }

    fn unknown(&mut self, index: usize) -> Webhook {
        let vehicle = &self.fleet[index];
        match vehicle.provider {
            Provider::Niu => niu::single(niu::unknown(vehicle), &self.right),
            Provider::Segway => segway::unknown(vehicle, &self.right),
            Provider::Invers => invers::unknown(vehicle, &event_id(&mut self.rng), &self.right),
        }
    }
}

/// 26 characters like a ULID.
fn event_id(rng: &mut Rng) -> String {
    format!(
        "01J0SIM{}",
        std::iter::repeat_with(|| rng.alphanumeric().to_ascii_uppercase()).take(19).collect::<String>()
    )
}

#[cfg(test)]
mod tests;
