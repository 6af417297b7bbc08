//! The error of a failed run.

use fleet_harness::Failure;

/// The rehearsal could not continue, or the run did not meet its requirements.
pub(crate) fn refuse(why: impl Into<String>) -> Failure {
    Failure::Verdict { run: "the rehearsal", why: why.into() }
}
