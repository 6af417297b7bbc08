//! The database is a primary and a standby. The primary is lost, and the standby is promoted.

mod durability;
mod hosts;
mod losses;
mod pair;
mod unreplicated;

/// Runs a call of the testbed, which blocks.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(call).await.unwrap()
}
