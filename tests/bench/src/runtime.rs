//! Runs async calls from synchronous code.

use tokio::runtime::Runtime;

use crate::failure::Failure;

/// A runtime for the benchmark's own queries, on the calling thread.
pub(crate) fn current_thread() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::io("start a runtime"))
}
