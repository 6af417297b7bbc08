//! From settings to the pauses between retries.

use super::amqp_settings::AmqpSettings;
use super::schema::ConsumerSettings;
use crate::retry::RetryPauses;

impl ConsumerSettings {
    /// The pauses between retries of a database or Redis.
    pub fn retries(&self) -> RetryPauses {
        RetryPauses { first: self.retry_min, longest: self.retry_max }
    }
}

impl AmqpSettings {
    /// The pauses between connections to the broker.
    pub fn retries(&self) -> RetryPauses {
        RetryPauses { first: self.retry_min, longest: self.retry_max }
    }

    /// The pauses after consumers that ended without progress.
    pub fn abort_pauses(&self) -> RetryPauses {
        RetryPauses { first: self.abort_pause, longest: self.abort_pause * 10 }
    }
}
