//! Finds vehicles by their position: cells of a hundredth of a degree, about a kilometre. A vehicle that moves leaves one cell and
//! enters another, which is cheaper than keeping a tree in balance.

use fleet_store::FoundVehicle;
use rustc_hash::FxHashMap;

use super::geometry::{Extent, Point};
use super::slots::Slot;

/// Cells in a degree.
const CELLS_PER_DEGREE: f64 = 100.0;

/// Cells around the earth.
const COLUMNS: i32 = 36_000;

/// Row from the south pole, column from the antimeridian eastwards.
type Cell = (i32, i32);

/// The vehicles with a position, by cell.
#[derive(Debug, Default)]
pub(crate) struct Grid(FxHashMap<Cell, Vec<Placed>>);

/// A vehicle in its cell. A search reads the points of many vehicles that it does not need, which are here all in a row.
#[derive(Clone, Copy, Debug)]
struct Placed {
    slot: Slot,
    point: Point,
}

impl Grid {
    /// Adds a vehicle, instead of its state `before` if that was added. One without a position is not added.
    pub(crate) fn put(&mut self, slot: Slot, before: Option<&FoundVehicle>, vehicle: &FoundVehicle) {
        let placed = point(vehicle).map(|point| Placed { slot, point });
        let (left, entered) = (before.and_then(point).map(cell), placed.map(|placed| cell(placed.point)));
        if left != entered {
            before.into_iter().for_each(|before| self.remove(slot, before));
        }
        let Some((placed, cell)) = placed.zip(entered) else { return };
        let vehicles = self.0.entry(cell).or_default();
        match vehicles.iter_mut().find(|known| left == entered && known.slot == slot) {
            Some(known) => *known = placed,
            None => vehicles.push(placed),
        }
    }

    /// Removes a vehicle. It must be the one that was added.
    pub(crate) fn remove(&mut self, slot: Slot, vehicle: &FoundVehicle) {
        let Some(cell) = point(vehicle).map(cell) else { return };
        let Some(vehicles) = self.0.get_mut(&cell) else { return };
        if let Some(index) = vehicles.iter().position(|other| other.slot == slot) {
            vehicles.swap_remove(index);
        }
        if vehicles.is_empty() {
            self.0.remove(&cell);
        }
    }

    /// Visits the vehicles in the extent, each once. A few may be just outside of it.
    pub(crate) fn visit(&self, extent: &Extent, mut visit: impl FnMut(Slot)) {
        self.visit_cells(extent, |vehicles| {
            let inside = vehicles.iter().filter(|placed| extent.has(placed.point));
            inside.for_each(|placed| visit(placed.slot));
        });
    }

    /// How many vehicles are in the cells that the extent touches.
    pub(crate) fn count(&self, extent: &Extent) -> usize {
        let mut count = 0;
        self.visit_cells(extent, |vehicles| count += vehicles.len());
        count
    }

    fn visit_cells(&self, extent: &Extent, mut visit: impl FnMut(&[Placed])) {
        let (first_row, last_row) = (row(extent.south), row(extent.north));
        let (first, last) = (column(extent.west), column(extent.east));
        // Around the earth, each column once.
        let last = last.min(first.saturating_add(COLUMNS - 1));
        let wide = |from: i32, to: i32| usize::try_from(i64::from(to) - i64::from(from) + 1).unwrap_or(0);
        if wide(first_row, last_row).saturating_mul(wide(first, last)) > self.0.len() {
            let is_within = |(row, column): &Cell| {
                (first_row..=last_row).contains(row) && (column - first).rem_euclid(COLUMNS) <= last - first
            };
            let cells = self.0.iter().filter(|(cell, _vehicles)| is_within(cell));
            cells.for_each(|(_cell, vehicles)| visit(vehicles));
            return;
        }
        for row in first_row..=last_row {
            for column in first..=last {
                if let Some(vehicles) = self.0.get(&(row, column.rem_euclid(COLUMNS))) {
                    visit(vehicles);
                }
            }
        }
    }
}

/// Where a vehicle is.
pub(crate) fn point(found: &FoundVehicle) -> Option<Point> {
    let position = found.vehicle.attributes.position?.value;
    Some(Point { lat: position.lat, lon: position.lon })
}

fn cell(point: Point) -> Cell {
    (row(point.lat), column(point.lon).rem_euclid(COLUMNS))
}

fn row(lat: f64) -> i32 {
    index(lat + 90.0)
}

fn column(lon: f64) -> i32 {
    index(lon + 180.0)
}

/// Degrees are at most a few hundred, so that the cell always has a number.
#[expect(clippy::cast_possible_truncation, reason = "a number outside of the range becomes the nearest one")]
fn index(degrees: f64) -> i32 {
    (degrees * CELLS_PER_DEGREE).floor() as i32
}
