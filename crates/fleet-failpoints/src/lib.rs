//! Failpoints: faults in the services that `cargo xtask chaos --failpoint <name>` switches on, to prove that the chaos
//! suite detects them.
//!
//! A failpoint is active only if two things hold:
//!
//! - The build was made with the environment variable `FLEET_FAILPOINTS=1`. In any other build
//!   [`Failpoint::is_active`] is a constant `false`, and the compiler removes the code behind it. This is no cargo feature,
//!   because `cargo build --all-features` would enable it.
//! - The process runs with the failpoint's name in the environment variable [`VARIABLE`].

use std::sync::LazyLock;

/// The environment variable that names the active failpoint. It does not start with `FLEET_`, because the services take
/// every such variable for a setting.
pub const VARIABLE: &str = "FAILPOINT";

/// Whether this build was made with `FLEET_FAILPOINTS=1`. Cargo builds this crate again when the variable changes.
const IS_COMPILED_IN: bool = match option_env!("FLEET_FAILPOINTS") {
    Some(value) => matches!(value.as_bytes(), b"1"),
    None => false,
};

/// A fault. Each breaks one guarantee in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Failpoint {
    /// The consumer acknowledges a batch before the databases have committed it.
    AckBeforeCommit,
    /// A redelivered event becomes a second row.
    NoDedupe,
    /// The event that arrives last wins, instead of the one observed last.
    ArrivalOrder,
    /// The API responds with 200 before Redis has replied.
    PushUnconfirmed,
    /// The API responds with 200 when the primary has a push, although replicas must confirm it.
    PushWithoutReplicas,
    /// WAIT and WAITAOF are sent inside MULTI, where both refer to earlier writes.
    WaitInsideMulti,
    /// A consumer drops a batch that it takes over from a dead one.
    DropLease,
    /// Consumers lock vehicles in any order.
    UnsortedUpsert,
    /// A stream of the query service leaves out the last change of each read.
    LeaveOutChange,
    /// The bridge acknowledges messages to the broker before Redis has them.
    AckBeforePush,
}

impl Failpoint {
    /// All failpoints.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The name on the command line and in [`VARIABLE`].
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether this process has this fault.
    #[inline]
    #[must_use]
    pub fn is_active(self) -> bool {
        IS_COMPILED_IN && active() == Some(self.name())
    }
}

/// The name in [`VARIABLE`], read once.
fn active() -> Option<&'static str> {
    static ACTIVE: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(VARIABLE).ok());
    ACTIVE.as_deref()
}
