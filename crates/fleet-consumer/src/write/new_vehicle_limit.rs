//! A cap on the new vehicles of a provider.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::batch::record::Record;
use crate::batch::rejection::Rejection;

const MINUTE: Duration = Duration::from_secs(60);

/// How many new vehicles of one provider this process takes: a bucket that holds a minute's worth.
#[derive(Debug)]
pub(crate) struct NewVehicleLimit {
    per_minute: u32,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// How many may come at once.
    left: f64,
    /// When it was filled last.
    filled_at: Instant,
    /// The vehicles of the last minute, and when each was admitted: as many as two buckets hold, at most.
    admitted: HashMap<Uuid, Instant>,
}

impl NewVehicleLimit {
    /// A full bucket.
    pub(crate) fn new(per_minute: u32) -> Self {
        let bucket =
            Bucket { left: f64::from(per_minute), filled_at: Instant::now(), admitted: HashMap::new() };
        Self { per_minute, bucket: Mutex::new(bucket) }
    }

    /// Which of these vehicles, none of which the database knows, are beyond the cap. One that was admitted within the last
    /// minute is admitted again for nothing: its transaction is retried, or another batch reports it before that commits.
    pub(crate) fn refuse(&self, unknown: &[Uuid], now: Instant) -> HashSet<Uuid> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.fill(self.per_minute, now);
        unknown.iter().copied().filter(|&vehicle_id| !bucket.admit(vehicle_id)).collect()
    }
}

impl Bucket {
    fn fill(&mut self, per_minute: u32, now: Instant) {
        let most = f64::from(per_minute);
        let minutes = now.duration_since(self.filled_at).div_duration_f64(MINUTE);
        self.left = (self.left + minutes * most).min(most);
        self.filled_at = now;
        self.admitted.retain(|_vehicle_id, admitted_at| now.duration_since(*admitted_at) < MINUTE);
    }

    fn admit(&mut self, vehicle_id: Uuid) -> bool {
        if self.admitted.contains_key(&vehicle_id) {
            return true;
        }
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        self.admitted.insert(vehicle_id, self.filled_at);
        true
    }
}

/// One dead letter for each message with events of refused vehicles, in place of the first of these events: with a dead
/// letter for each event, a message of 1 MiB could create thousands.
pub(crate) fn dead_letters<'a>(
    limit: &NewVehicleLimit,
    provider: &str,
    records: impl Iterator<Item = &'a Record<'a>>,
    refused: &HashSet<Uuid>,
) -> Vec<(&'a Record<'a>, Rejection)> {
    let is_refused =
        |record: &&Record<'_>| record.outcome.as_ref().is_ok_and(|event| refused.contains(&event.vehicle_id));
    let mut messages = BTreeMap::new();
    for record in records.filter(is_refused) {
        let (_first, events) = messages.entry(record.message.message_id).or_insert((record, 0_usize));
        *events += 1;
    }
    let rejection = |events| Rejection::too_many_new_vehicles(provider, limit.per_minute, events);
    messages.into_values().map(|(first, events)| (first, rejection(events))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_takes_what_the_cap_says_and_a_retry_costs_nothing() {
        let vehicles: Vec<_> = (0..25).map(Uuid::from_u128).collect();
        let cap = NewVehicleLimit::new(10);
        let start = Instant::now();
        let refused = cap.refuse(&vehicles, start);
        assert_eq!(refused.len(), 15);
        assert_eq!(cap.refuse(&vehicles, start), refused, "the same ones");
        assert_eq!(cap.refuse(&vehicles, start + Duration::from_secs(30)).len(), 10, "half a minute's worth");
        // Nobody has stored any of them.
        assert_eq!(cap.refuse(&vehicles, start + 10 * MINUTE).len(), 15, "no more than a bucket");
    }

    #[test]
    fn what_it_remembers_is_bounded() {
        let cap = NewVehicleLimit::new(10);
        let start = Instant::now();
        for second in 0..600 {
            let first = u128::from(second) * 100;
            let vehicles: Vec<_> = (first..first + 100).map(Uuid::from_u128).collect();
            cap.refuse(&vehicles, start + Duration::from_secs(second));
            assert!(cap.bucket.lock().unwrap().admitted.len() <= 20);
        }
    }
}
