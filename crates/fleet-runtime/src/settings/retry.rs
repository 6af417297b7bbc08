//! From settings to the pauses between retries.

use super::schema::ConsumerSettings;
use crate::retry::RetryPauses;

impl ConsumerSettings {
    /// The pauses between retries of a database or Redis.
    pub fn retries(&self) -> RetryPauses {
        RetryPauses { first: self.retry_min, longest: self.retry_max }
    }
}
