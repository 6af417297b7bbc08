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
        Area::Everywhere => {
            let all = fleet.after(id_of(after));
            all.filter(|found| filter.matches(found, now))
                .take(wanted)
                .map(|found| (None, Arc::clone(found)))
                .collect()
        }
        Area::Ids(ids) => {
            let after = id_of(after);
            let ids = ids.iter().filter(|id| after.is_none_or(|after| **id > after));
            let found = ids.filter_map(|id| fleet.get(*id)).filter(|found| filter.matches(found, now));
            found.take(wanted).map(|found| (None, Arc::clone(found))).collect()
        }
        Area::Bounds(bounds) => first(&bounds.extent(), fleet, filter, after, wanted, now),
        Area::Near(circle) => first(&circle.extent(), fleet, filter, after, wanted, now),
    };
    let has_more = vehicles.len() > limit;
    vehicles.truncate(limit);
    let next = vehicles.last().filter(|_last| has_more).map(cursor);
    Page { vehicles, next }
}

/// Every vehicle that meets the filter, in no order.
pub(crate) fn every_id(fleet: &Fleet, filter: &Filter, now: Timestamp) -> Vec<Uuid> {
    let mut ids = Vec::new();
    let mut add = |found: &Arc<Entry>| {
        if filter.matches(found, now) {
            ids.push(found.vehicle.vehicle_id);
        }
    };
    match &filter.area {
        Area::Everywhere => fleet.after(None).for_each(add),
        Area::Ids(wanted) => wanted.iter().filter_map(|id| fleet.get(*id)).for_each(add),
        Area::Bounds(bounds) => fleet.visit(&bounds.extent(), &mut add),
        Area::Near(circle) => fleet.visit(&circle.extent(), &mut add),
    }
    ids
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
    fleet.visit(extent, |vehicle| {
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
