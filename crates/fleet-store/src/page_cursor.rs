//! Where a reader of telemetry is in a window, and how far its next page looks.

use uuid::Uuid;

use crate::{EventKey, Page, Window};

/// The first page looks at this part of all vehicles.
const FIRST_PART: u128 = 256;

/// A part of all vehicles so small that it has one at most: a 2^32nd.
const NARROWEST_BITS: u32 = 32;

/// How much wider than the last page a page may look.
const GROWTH: u128 = 16;

/// A position in a window, whose rows are read in the order of their keys.
///
/// No index has that order over a chunk that is partly compressed. There, PostgreSQL sorts every row that a page asks for, and
/// drops those beyond the page's limit. A page therefore asks for a range of vehicles that has about as many rows as a page
/// may have. Vehicle ids are evenly distributed, so the last page tells how wide such a range is.
#[derive(Clone, Copy, Debug)]
pub struct PageCursor {
    window: Window,
    after: EventKey,
    /// How far the next page looks, as a difference of vehicle ids.
    width: u128,
    is_done: bool,
}

impl PageCursor {
    /// The start of a window.
    pub fn new(window: Window) -> Self {
        let after = end_of(window, Uuid::nil());
        Self { window, after, width: u128::MAX / FIRST_PART, is_done: false }
    }

    /// The window.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Every row up to this key has been read.
    pub fn after(&self) -> EventKey {
        self.after
    }

    /// The last vehicle of the next page.
    pub(crate) fn up_to(&self) -> Uuid {
        Uuid::from_u128(self.after.vehicle_id.as_u128().saturating_add(self.width))
    }

    /// Whether all rows have been read.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether a page that looks less far may be faster.
    pub fn can_narrow(&self) -> bool {
        self.width > u128::MAX >> NARROWEST_BITS
    }

    /// Lets the next page look half as far, because the database was too slow.
    pub fn narrow(&mut self) {
        self.width = (self.width / 2).max(1);
    }

    /// Goes to the end of a page that was read from here. The next page should have `wanted` rows.
    pub fn advance(&mut self, page: &Page, wanted: i64) {
        let start = self.after.vehicle_id.as_u128();
        match page.rows.last() {
            Some(last) if page.is_cut => self.after = last.key,
            Some(_) | None => {
                let up_to = self.up_to();
                self.is_done = up_to == Uuid::max();
                self.after = end_of(self.window, up_to);
            }
        }
        let passed = self.after.vehicle_id.as_u128() - start;
        let rows = u128::try_from(page.rows.len()).unwrap_or(u128::MAX);
        let wanted = u128::try_from(wanted).unwrap_or(1).max(1);
        let most = self.width.saturating_mul(GROWTH);
        self.width = match (passed, rows) {
            (_, 0) => most,
            // All rows are of one vehicle.
            (0, _) => (self.width / 2).max(1),
            (_, _) => scaled(passed, wanted, rows).clamp(1, most),
        };
    }
}

/// `distance * numerator / denominator`.
fn scaled(distance: u128, numerator: u128, denominator: u128) -> u128 {
    let product = distance.checked_mul(numerator).map(|product| product / denominator);
    product.unwrap_or_else(|| (distance / denominator).saturating_mul(numerator))
}

/// Behind every row of the vehicle.
fn end_of(window: Window, vehicle_id: Uuid) -> EventKey {
    EventKey { vehicle_id, observed_at: window.from, event_id: Uuid::max() }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::StoredTelemetry;
    use crate::telemetry_row::Derived;

    fn window() -> Window {
        let from: Timestamp = "2026-01-31T00:00:00Z".parse().unwrap();
        Window { from, to: from + SignedDuration::from_hours(24) }
    }

    /// Rows of these vehicles, in the order of their keys.
    fn rows(vehicles: &[(u128, u32)]) -> Vec<EventKey> {
        let mut vehicles = vehicles.to_vec();
        vehicles.sort_unstable();
        let rows =
            vehicles.iter().flat_map(|&(vehicle, rows)| (0..rows).rev().map(move |row| (vehicle, row)));
        let key = |(vehicle, row)| EventKey {
            vehicle_id: Uuid::from_u128(vehicle),
            observed_at: window().from + SignedDuration::from_secs(i64::from(row)),
            event_id: Uuid::nil(),
        };
        rows.map(key).collect()
    }

    fn stored(key: EventKey) -> StoredTelemetry {
        StoredTelemetry {
            key,
            received_at: key.observed_at,
            message_id: Uuid::nil(),
            provider: String::new(),
            topic: String::new(),
            derived: Derived::default(),
            raw: None,
        }
    }

    /// Reads all rows, and returns how many pages that took, and how many rows were sorted for them.
    fn read(rows: &[EventKey], wanted: usize) -> (usize, usize) {
        let mut cursor = PageCursor::new(window());
        let (mut read, mut pages, mut sorted) = (0, 0, 0);
        while !cursor.is_done() {
            let (after, up_to) = (cursor.after(), cursor.up_to());
            let is_after = |key: &&EventKey| {
                key.vehicle_id > after.vehicle_id
                    || (key.vehicle_id == after.vehicle_id && key.observed_at < after.observed_at)
            };
            let asked: Vec<_> =
                rows.iter().filter(is_after).filter(|key| key.vehicle_id <= up_to).copied().collect();
            let page = Page {
                rows: asked.iter().take(wanted).copied().map(stored).collect(),
                is_cut: asked.len() >= wanted,
            };
            for row in &page.rows {
                assert_eq!(row.key, rows[read]);
                read += 1;
            }
            (pages, sorted) = (pages + 1, sorted + asked.len());
            cursor.advance(&page, i64::try_from(wanted).unwrap());
        }
        assert_eq!(read, rows.len());
        (pages, sorted)
    }

    fn spread(vehicles: u32) -> impl Iterator<Item = u128> {
        (1..=u128::from(vehicles))
            .map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
    }

    #[test]
    fn a_page_asks_for_about_as_many_rows_as_it_may_have() {
        for (vehicles, each) in [(2_000, 10), (20, 1_000), (20_000, 1)] {
            let vehicles: Vec<_> = spread(vehicles).map(|vehicle| (vehicle, each)).collect();
            let (pages, sorted) = read(&rows(&vehicles), 500);
            assert!(pages <= 100 && sorted <= 100_000, "{pages} pages, {sorted} rows sorted of 20,000");
        }
    }

    #[test]
    fn ids_need_not_be_spread_evenly() {
        let close: Vec<_> = (1..=2_000).map(|vehicle| (u128::MAX / 3 + vehicle, 10)).collect();
        let (pages, sorted) = read(&rows(&close), 500);
        assert!(pages <= 200 && sorted <= 200_000, "{pages} pages, {sorted} rows sorted of 20,000");
        let (pages, sorted) = read(&rows(&[(u128::MAX, 3), (1, 3)]), 1);
        assert!(pages <= 100 && sorted == 12, "{pages} pages, {sorted} rows sorted");
    }

    #[test]
    fn a_slow_page_looks_less_far() {
        let mut cursor = PageCursor::new(window());
        let far = cursor.up_to();
        cursor.narrow();
        assert!(cursor.up_to() < far);
        (0..256).for_each(|_| cursor.narrow());
        assert_eq!(cursor.up_to(), Uuid::from_u128(1));
    }

    #[test]
    fn a_window_without_rows_takes_few_pages() {
        assert!(read(&[], 500).0 <= 4);
        assert!(read(&[], 1).0 <= 4);
    }
}
