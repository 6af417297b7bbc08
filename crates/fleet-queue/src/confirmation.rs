//! How many servers have stored what a connection has written.

/// How many servers have stored all writes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// Replicas that must confirm.
    pub wanted: u32,
    /// Replicas that have received the writes (WAIT).
    pub received: u32,
    /// 1 if the primary has the writes on disk, otherwise 0 (WAITAOF).
    pub on_primary: u32,
    /// Replicas that have the writes on disk (WAITAOF).
    pub on_replicas: u32,
}

impl Confirmation {
    /// Whether the writes outlive the loss of the primary.
    pub fn is_complete(self) -> bool {
        self.received >= self.wanted && self.on_primary >= 1 && self.on_replicas >= self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(wanted: u32, received: u32, on_primary: u32, on_replicas: u32) -> bool {
        Confirmation { wanted, received, on_primary, on_replicas }.is_complete()
    }

    #[test]
    fn every_number_counts() {
        assert!(complete(1, 1, 1, 1));
        assert!(complete(1, 2, 1, 2));
        assert!(!complete(1, 0, 1, 1));
        assert!(!complete(1, 1, 0, 1));
        assert!(!complete(1, 1, 1, 0));
        assert!(!complete(2, 2, 1, 1));
    }
}
