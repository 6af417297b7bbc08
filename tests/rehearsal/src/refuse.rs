//! How a run fails.

use fleet_harness::Failure;

/// The rehearsal cannot go on, or did not show what it must show.
pub(crate) fn refuse(why: impl Into<String>) -> Failure {
    Failure::Verdict { run: "the rehearsal", why: why.into() }
}
