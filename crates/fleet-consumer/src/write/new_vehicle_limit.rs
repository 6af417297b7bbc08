//! Limits how many new vehicles of a provider are stored.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::batch::record::Record;
use crate::batch::rejection::Rejection;

const MINUTE: Duration = Duration::from_secs(60);

/// The limit of one provider in this process: a token bucket that holds the tokens of a minute.
#[derive(Debug)]
pub(crate) struct NewVehicleLimit {
    per_minute: u32,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// How many new vehicles may come at once.
    left: f64,
    /// When the bucket was last filled.
    filled_at: Instant,
    /// The vehicles admitted within the last minute, and when: at most as many as two buckets hold.
    admitted: HashMap<Uuid, Instant>,
}

impl NewVehicleLimit {
    /// A full bucket.
    pub(crate) fn new(per_minute: u32) -> Self {
        let bucket =
            Bucket { left: f64::from(per_minute), filled_at: Instant::now(), admitted: HashMap::new() };
        Self { per_minute, bucket: Mutex::new(bucket) }
    }

    /// Which of these vehicles are beyond the limit. None of them is in the database. A vehicle that was admitted within the
    /// last minute takes no second token: its transaction is retried, or another batch reports it before that commits.
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
    fn a_minute_admits_the_limit_and_a_retry_takes_no_token() {
        let vehicles: Vec<_> = (0..25).map(Uuid::from_u128).collect();
        let limit = NewVehicleLimit::new(10);
        let start = Instant::now();
        let refused = limit.refuse(&vehicles, start);
        assert_eq!(refused.len(), 15);
        assert_eq!(limit.refuse(&vehicles, start), refused, "the same ones");
        assert_eq!(
            limit.refuse(&vehicles, start + Duration::from_secs(30)).len(),
            10,
            "half a minute's worth"
        );
        // None of them has been stored.
        assert_eq!(limit.refuse(&vehicles, start + 10 * MINUTE).len(), 15, "no more than a bucket");
    }

    #[test]
    fn what_it_remembers_is_bounded() {
        let limit = NewVehicleLimit::new(10);
        let start = Instant::now();
        for second in 0..600 {
            let first = u128::from(second) * 100;
            let vehicles: Vec<_> = (first..first + 100).map(Uuid::from_u128).collect();
            limit.refuse(&vehicles, start + Duration::from_secs(second));
            assert!(limit.bucket.lock().unwrap().admitted.len() <= 20);
        }
    }
}
