//! Serves HTTP/1.1 with bounds on connections and time, and shuts down gracefully.
//!
//! A connection's way: `socket` (listening), `accept`, `connections` (room for another one), `connection` (run to its end),
//! and for each of its requests a [`Peer`], which tells the application who sent it.

mod accept;
mod cause;
mod clock;
mod connection;
mod connections;
mod header_timer;
mod limits;
mod peer;
mod serve;
mod socket;
mod spare_file;
mod standing;
mod watch;

pub use cause::Cause;
pub use limits::ServeLimits;
pub use peer::{Exposed, Kept, Peer};
pub use serve::serve;
pub use socket::{CONNECTION_BYTES, SEND_BUFFER_BYTES, listen};
