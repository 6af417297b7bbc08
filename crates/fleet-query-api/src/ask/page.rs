//! Selects one page of vehicles.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::area::Area;
use super::cursor::Cursor;
use super::filter::Filter;
use crate::fleet::Fleet;
use crate::fleet::entry::Entry;
use crate::fleet::geometry::Extent;
use crate::fleet::slots::{Slot, SlotSet};

/// A vehicle, and its distance in metres if the request names a point.
pub(crate) type Selected = (Option<f64>, Arc<Entry>);

/// One page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) vehicles: Vec<Selected>,
    /// The end of the page, if more vehicles follow.
    pub(crate) next: Option<Cursor>,
}

/// The first `limit` vehicles behind `after` that meet the filter: nearest first, or by id.
pub(crate) fn select(
    fleet: &Fleet,
    filter: &Filter,
    after: Option<Cursor>,
    limit: usize,
    now: Timestamp,
) -> Page {
    // One more shows whether there is another page.
    let wanted = limit.saturating_add(1);
    let mut vehicles = match &filter.area {
        Area::Everywhere => by_id(fleet, filter, after, wanted, now),
        Area::Ids(ids) => {
            let after = id_of(after);
            let ids = ids.iter().filter(|id| after.is_none_or(|after| **id > after));
            let found =
                ids.filter_map(|id| Some(fleet.get(*id)?.1)).filter(|found| filter.matches(found, now));
            found.take(wanted).map(|found| (None, Arc::clone(found))).collect()
        }
        Area::Bounds(bounds) if is_large(&bounds.extent(), fleet, wanted) => {
            by_id(fleet, filter, after, wanted, now)
        }
        Area::Bounds(bounds) => first(&bounds.extent(), fleet, filter, after, wanted, now),
        Area::Near(circle) => first(&circle.extent(), fleet, filter, after, wanted, now),
    };
    let has_more = vehicles.len() > limit;
    vehicles.truncate(limit);
    let next = vehicles.last().filter(|_last| has_more).map(cursor);
    Page { vehicles, next }
}

/// Every vehicle that meets the filter.
pub(crate) fn every_slot(fleet: &Fleet, filter: &Filter, now: Timestamp) -> SlotSet {
    let mut slots = SlotSet::default();
    let mut add = |slot: Slot, found: &Arc<Entry>| {
        if filter.matches(found, now) {
            slots.insert(slot);
        }
    };
    match &filter.area {
        Area::Everywhere => fleet.all().for_each(|(slot, found)| add(slot, found)),
        Area::Ids(wanted) => {
            wanted.iter().filter_map(|id| fleet.get(*id)).for_each(|(slot, found)| add(slot, found));
        }
        Area::Bounds(bounds) => fleet.visit(&bounds.extent(), add),
        Area::Near(circle) => fleet.visit(&circle.extent(), add),
    }
    slots
}

/// Whether so many of all vehicles are in the extent that a walk through all of them finds `wanted` ones sooner than a look at each
/// one in the extent.
fn is_large(extent: &Extent, fleet: &Fleet, wanted: usize) -> bool {
    let inside = fleet.count(extent);
    inside.saturating_mul(inside) > wanted.saturating_mul(fleet.len())
}

/// The first vehicles by id. Stops at the last one that is wanted.
fn by_id(
    fleet: &Fleet,
    filter: &Filter,
    after: Option<Cursor>,
    wanted: usize,
    now: Timestamp,
) -> Vec<Selected> {
    let matching = fleet.after(id_of(after)).filter(|found| filter.matches(found, now));
    matching.take(wanted).map(|found| (None, Arc::clone(found))).collect()
}

fn first(
    extent: &Extent,
    fleet: &Fleet,
    filter: &Filter,
    after: Option<Cursor>,
    wanted: usize,
    now: Timestamp,
) -> Vec<Selected> {
    let mut found: Vec<Selected> = Vec::new();
    fleet.visit(extent, |_slot, vehicle| {
        if filter.matches(vehicle, now) {
            let selected = (filter.distance_m(vehicle), Arc::clone(vehicle));
            if after.is_none_or(|after| is_behind(&selected, after)) {
                found.push(selected);
            }
        }
    });
    if found.len() > wanted {
        found.select_nth_unstable_by(wanted, order);
        found.truncate(wanted);
    }
    found.sort_unstable_by(order);
    found
}

fn order(one: &Selected, other: &Selected) -> Ordering {
    let distance = |selected: &Selected| selected.0.unwrap_or_default();
    distance(one).total_cmp(&distance(other)).then_with(|| id(one).cmp(&id(other)))
}

fn is_behind(selected: &Selected, after: Cursor) -> bool {
    match after {
        Cursor::Distance(metres, last) => {
            let distance = selected.0.unwrap_or_default();
            distance.total_cmp(&metres).then_with(|| id(selected).cmp(&last)).is_gt()
        }
        Cursor::Id(last) | Cursor::Event(_, last) => id(selected) > last,
    }
}

fn cursor(selected: &Selected) -> Cursor {
    match selected.0 {
        Some(metres) => Cursor::Distance(metres, id(selected)),
        None => Cursor::Id(id(selected)),
    }
}

fn id_of(after: Option<Cursor>) -> Option<Uuid> {
    after.map(|(Cursor::Id(id) | Cursor::Distance(_, id) | Cursor::Event(_, id))| id)
}

fn id(selected: &Selected) -> Uuid {
    selected.1.vehicle.vehicle_id
}

#[cfg(test)]
mod tests {
    use fleet_providers::{Attributes, Micros, Position, Timed};
    use fleet_store::{FoundVehicle, StoredVehicle};

    use super::*;
    use crate::ask::filter::FILTERS;
    use crate::ask::parameters::Parameters;

    fn vehicle(number: u32) -> FoundVehicle {
        let (lat, lon) = (52.0 + f64::from(number % 100) / 100.0, 13.0 + f64::from(number / 100) / 100.0);
        let value = Position { lat, lon, altitude_m: None, heading_deg: None, accuracy_m: None };
        let position = Some(Timed { value, at: Micros::MIN, received_at: Micros::MIN });
        let vehicle = StoredVehicle {
            vehicle_id: Uuid::from_u128(u128::from(number.wrapping_mul(2_654_435_761))),
            provider_vehicle_id: number.to_string(),
            attributes: Attributes { position, ..Attributes::default() },
            first_seen_at: Timestamp::UNIX_EPOCH,
            last_seen_at: Timestamp::UNIX_EPOCH,
            clock_skewed_at: None,
        };
        FoundVehicle { provider: "niu".to_owned(), vehicle }
    }

    /// A large box with a small limit visits only the vehicles up to the last one that is wanted.
    #[test]
    fn either_way_through_a_box_finds_the_same() {
        let mut fleet = Fleet::default();
        (0..10_000).for_each(|number| drop(fleet.put(vehicle(number))));
        for (bbox, limit, large) in [
            ("-180,-90,180,90", 1, true),
            ("13.2,52.2,13.8,52.8", 1, true),
            ("13.2,52.2,13.8,52.8", 9999, false),
            ("13.2,52.2,13.21,52.21", 1, false),
            ("0,0,1,1", 1, false),
        ] {
            let query = format!("bbox={bbox}");
            let filter = Filter::parse(&Parameters::parse(Some(&query), &FILTERS).unwrap()).unwrap();
            let Area::Bounds(bounds) = &filter.area else { panic!("{:?}", filter.area) };
            let (extent, now, wanted) = (bounds.extent(), Timestamp::UNIX_EPOCH, limit + 1);
            assert_eq!(is_large(&extent, &fleet, wanted), large, "{bbox} {limit}");
            let ids = |page: &[Selected]| page.iter().map(id).collect::<Vec<_>>();
            let one = first(&extent, &fleet, &filter, None, wanted, now);
            let other = by_id(&fleet, &filter, None, wanted, now);
            assert_eq!(ids(&one), ids(&other), "{bbox} {limit}");
        }
    }
}
