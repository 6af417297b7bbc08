//! Why a connection was closed to make room.

use strum::{IntoStaticStr, VariantArray};

/// What the room was needed for: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// Another connection.
    Connections,
    /// A file descriptor: the process has no more.
    Files,
    /// Bodies of unauthenticated clients.
    BodyBytes,
}

impl Cause {
    /// Name in metric labels and log lines.
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dashboards and alerts know these names.
    #[test]
    fn names() {
        let names: Vec<_> = Cause::VARIANTS.iter().map(|cause| cause.name()).collect();
        assert_eq!(names, ["connections", "files", "body_bytes"]);
    }
}
