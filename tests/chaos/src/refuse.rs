//! The error of a failed run.

use fleet_harness::Failure;

/// The fault suite could not continue, or the run did not meet its requirements.
pub(crate) fn refuse(why: impl Into<String>) -> Failure {
    Failure::Verdict { run: "the fault suite", why: why.into() }
}
