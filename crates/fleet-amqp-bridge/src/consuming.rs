//! Whether everything is consumed, for readiness.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fleet_runtime::readiness::Readiness;

use crate::metrics::LaneMetrics;

/// Sets the bridge ready while each of the broker's queues has a consumer. Before, Redis must have responded once.
#[derive(Debug)]
pub(crate) struct Consuming {
    readiness: Arc<Readiness>,
    has_redis: AtomicBool,
    /// By the number of the lane.
    lanes: Mutex<Vec<bool>>,
}

impl Consuming {
    pub(crate) fn new(readiness: Arc<Readiness>, lanes: usize) -> Self {
        Self { readiness, has_redis: AtomicBool::new(false), lanes: Mutex::new(vec![false; lanes]) }
    }

    /// Redis has responded.
    pub(crate) fn reached_redis(&self) {
        self.has_redis.store(true, Ordering::Release);
        self.publish(&self.lanes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A lane has a consumer, or has none any more.
    pub(crate) fn set(&self, lane: usize, metrics: &LaneMetrics, consuming: bool) {
        metrics.consuming(consuming);
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = lanes.get_mut(lane) {
            *state = consuming;
        }
        self.publish(&lanes);
    }

    fn publish(&self, lanes: &[bool]) {
        if self.has_redis.load(Ordering::Acquire) && lanes.iter().all(|consuming| *consuming) {
            self.readiness.set_started();
        } else {
            self.readiness.set_interrupted();
        }
    }
}
