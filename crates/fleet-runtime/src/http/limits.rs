//! The bounds of a listener.

use std::time::Duration;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Name in metrics and log lines.
    pub listener: &'static str,
    /// Most open connections. At this limit, a new connection replaces one that has brought no authenticated request. If
    /// there is none, the new connection waits.
    pub max_connections: usize,
    /// How long a new connection is safe from being closed to make room.
    pub grace: Duration,
    /// Whether a connection may bring more than one request.
    pub keep_alive: bool,
    /// Whether to reserve a file descriptor for a new connection when the process has no other.
    pub has_spare_file: bool,
    /// Most time for a request's headers, and for the client to read a response. Then the connection is closed.
    pub header_timeout: Duration,
    /// Most time for the requests in flight once the shutdown has begun.
    pub shutdown_timeout: Duration,
    /// How long idle connections stay open during the shutdown, at most half of `shutdown_timeout`. A connection that is
    /// closed at once may lose a request that is on its way, and a load balancer does not retry a POST. A request within
    /// this time gets its response, with `Connection: close`.
    pub idle_drain: Duration,
}
