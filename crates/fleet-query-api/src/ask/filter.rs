//! Which vehicles a request asks for.

use fleet_providers::Timed;
use fleet_store::FoundVehicle;
use jiff::{SignedDuration, Timestamp};

use super::area::Area;
use super::parameters::Parameters;
use crate::fleet::ages::Age;
use crate::fleet::grid::point;
use crate::problem::Problem;

/// The parameters that select vehicles.
pub(crate) const FILTERS: [&str; 13] = [
    "bbox",
    "near",
    "radius_m",
    "ids",
    "provider",
    "online",
    "locked",
    "powered_on",
    "charging",
    "battery_lte",
    "battery_gte",
    "seen_within",
    "position_within",
];

/// The conditions on a vehicle, all of which must hold. An attribute that a vehicle has never reported meets none.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) area: Area,
    /// Any of these; empty means any at all.
    providers: Vec<&'static str>,
    online: Option<bool>,
    locked: Option<bool>,
    powered_on: Option<bool>,
    charging: Option<bool>,
    battery_lte: Option<f64>,
    battery_gte: Option<f64>,
    seen_within: Option<SignedDuration>,
    position_within: Option<SignedDuration>,
}

impl Filter {
    /// Reads the parameters in [`FILTERS`].
    pub(crate) fn parse(parameters: &Parameters) -> Result<Self, Problem> {
        Ok(Self {
            area: Area::parse(parameters)?,
            providers: parameters.text("provider").map_or_else(|| Ok(Vec::new()), providers)?,
            online: parameters.boolean("online")?,
            locked: parameters.boolean("locked")?,
            powered_on: parameters.boolean("powered_on")?,
            charging: parameters.boolean("charging")?,
            battery_lte: parameters.number("battery_lte", 0.0, 100.0)?,
            battery_gte: parameters.number("battery_gte", 0.0, 100.0)?,
            seen_within: parameters.duration("seen_within")?,
            position_within: parameters.duration("position_within")?,
        })
    }

    /// Whether the vehicle meets every condition at `now`.
    pub(crate) fn matches(&self, found: &FoundVehicle, now: Timestamp) -> bool {
        let of = &found.vehicle.attributes;
        let is = |wanted: Option<bool>, given: Option<Timed<bool>>| {
            wanted.is_none_or(|wanted| given.is_some_and(|given| given.value == wanted))
        };
        let battery = of.battery_percent.map(|battery| battery.value);
        (self.providers.is_empty() || self.providers.contains(&&*found.provider))
            && is(self.online, of.online)
            && is(self.locked, of.locked)
            && is(self.powered_on, of.powered_on)
            && is(self.charging, of.charging)
            && self.battery_lte.is_none_or(|most| battery.is_some_and(|battery| battery <= most))
            && self.battery_gte.is_none_or(|least| battery.is_some_and(|battery| battery >= least))
            && self.is_young(found, now)
            && self.is_in_area(found)
    }

    /// Metres from the point that the request names, if it names one.
    pub(crate) fn distance_m(&self, found: &FoundVehicle) -> Option<f64> {
        match &self.area {
            Area::Near(circle) => point(found).map(|point| circle.centre.distance_m(point)),
            Area::Everywhere | Area::Bounds(_) | Area::Ids(_) => None,
        }
    }

    /// The conditions on ages, by which a vehicle can stop to meet the conditions without any change.
    pub(crate) fn ages(&self) -> impl Iterator<Item = (Age, SignedDuration)> {
        let limits = [(Age::Seen, self.seen_within), (Age::Position, self.position_within)];
        limits.into_iter().filter_map(|(age, within)| Some((age, within?)))
    }

    fn is_young(&self, found: &FoundVehicle, now: Timestamp) -> bool {
        let is_young = |(age, within): (Age, SignedDuration)| {
            age.since(found).is_some_and(|since| since.checked_add(within).is_ok_and(|until| now <= until))
        };
        self.ages().all(is_young)
    }

    fn is_in_area(&self, found: &FoundVehicle) -> bool {
        match &self.area {
            Area::Everywhere => true,
            Area::Bounds(bounds) => point(found).is_some_and(|point| bounds.contains(point)),
            Area::Near(circle) => point(found).is_some_and(|point| circle.distance_within(point).is_some()),
            Area::Ids(ids) => ids.contains(&found.vehicle.vehicle_id),
        }
    }
}

fn providers(text: &str) -> Result<Vec<&'static str>, Problem> {
    let known = || fleet_providers::PROVIDERS.iter().map(|provider| provider.slug);
    let wanted: Option<Vec<_>> =
        text.split(',').map(|slug| known().find(|known| *known == slug.trim())).collect();
    wanted.ok_or_else(|| {
        let known: Vec<_> = known().collect();
        Problem::invalid(
            "provider",
            format!("must be one or more of {}, separated by commas", known.join(", ")),
        )
    })
}
