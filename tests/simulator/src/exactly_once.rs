//! Checks by its number that every acknowledged report is in telemetry exactly once.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::database::Database;
use crate::error::Error;
use crate::wire::{Expect, Webhook};

/// The number of vehicles in one query. A limit keeps each query short.
const VEHICLES_A_QUERY: usize = 100;

/// How many rows a report must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Acknowledged, with a time of its own: one row, however often it was sent.
    Once,
    /// Acknowledged, without a time of its own: each resend is another row.
    AtLeastOnce,
    /// Rejected with 401: no row.
    Never,
}

/// The expected rows of the reports, by report number. A report without a response may have a row or not.
#[derive(Clone, Debug, Default)]
pub struct Fates(BTreeMap<u64, Fate>);

/// The numbers of reports with the wrong number of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    /// Acknowledged reports that are not in telemetry.
    pub lost: u64,
    /// Reports that are in telemetry several times although their time makes them one event.
    pub repeated: u64,
    /// Reports that were rejected with 401 and are in telemetry.
    pub intruded: u64,
}

impl Fates {
    /// Records the response to a delivery of this request.
    pub fn answered(&mut self, webhook: &Webhook) {
        for event in &webhook.events {
            let fate = match (webhook.expect, event.keeps_time) {
                (Expect::Refused, _) => Fate::Never,
                (Expect::Accepted, true) => Fate::Once,
                (Expect::Accepted, false) => Fate::AtLeastOnce,
            };
            self.0.insert(event.sequence, fate);
        }
    }

    /// Checks the reports of these vehicles.
    ///
    /// # Errors
    ///
    /// Same as [`Database::query`].
    pub async fn verify(&self, telemetry: &mut Database, vehicle_ids: &[Uuid]) -> Result<Violations, Error> {
        let sql = "SELECT (raw->>'sequence')::int8, count(*) FROM telemetry
            WHERE vehicle_id = ANY($1) AND raw->>'sequence' IS NOT NULL GROUP BY 1";
        let mut rows = HashMap::new();
        for some in vehicle_ids.chunks(VEHICLES_A_QUERY) {
            for row in telemetry.query(sql, &[&some]).await? {
                rows.insert(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default(), row.get(1));
            }
        }
        Ok(self.judge(&rows))
    }

    /// Compares the expectation with the number of rows of each report.
    fn judge(&self, rows: &HashMap<u64, i64>) -> Violations {
        let mut violations = Violations::default();
        for (number, fate) in &self.0 {
            match (fate, rows.get(number).copied().unwrap_or(0)) {
                (Fate::Once, 1) | (Fate::AtLeastOnce, 1..) | (Fate::Never, 0) => {}
                (Fate::Once | Fate::AtLeastOnce, ..=0) => violations.lost += 1,
                (Fate::Once, _) => violations.repeated += 1,
                (Fate::Never, _) => violations.intruded += 1,
            }
        }
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fate_is_held_against_its_rows() {
        let fates = Fates(BTreeMap::from([
            (1, Fate::Once),
            (2, Fate::Once),
            (3, Fate::Once),
            (4, Fate::AtLeastOnce),
            (5, Fate::AtLeastOnce),
            (6, Fate::Never),
            (7, Fate::Never),
        ]));
        let rows = HashMap::from([(2, 1), (3, 2), (5, 2), (7, 1), (8, 1)]);
        assert_eq!(fates.judge(&rows), Violations { lost: 2, repeated: 1, intruded: 1 });
    }
}
