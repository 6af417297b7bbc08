//! What the load generator is asked for.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::provider::Provider;
use crate::usage::Watched;

/// What to send, how fast and for how long.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Where to.
    pub(crate) target: SocketAddr,
    /// Keep-alive connections, divided among the threads.
    pub(crate) connections: usize,
    /// Threads; each drives its connections with one epoll.
    pub(crate) threads: usize,
    /// What is sent.
    pub(crate) traffic: Traffic,
    /// Requests a second, sent at fixed times whether or not earlier ones are answered, latency counting from those
    /// times; absent: each connection sends as soon as it is answered.
    pub(crate) per_second: Option<f64>,
    /// Sent, but not measured.
    pub(crate) warm_up: Duration,
    /// When to end.
    pub(crate) end: End,
    /// Whose CPU to read at the beginning and the end of what is measured.
    pub(crate) watched: Watched,
}

/// What is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Traffic {
    /// A few thousand requests, rendered beforehand, again and again.
    Repeated {
        /// Whose.
        provider: Provider,
        /// Different vehicles.
        vehicles: u32,
    },
    /// Every report new, observed as it is sent; the providers in turn.
    Fresh {
        /// Whose.
        providers: Vec<Provider>,
        /// Different vehicles of each.
        vehicles: u32,
    },
    /// Half an hour of NIU's reports: for every hundred single ones an array of a hundred.
    Bomb {
        /// Different vehicles.
        vehicles: u32,
    },
}

/// When to end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum End {
    /// After this time.
    After(Duration),
    /// When so many reports are answered 200; those refused with 503 are sent again.
    Reports(u64),
    /// When standard input ends.
    StdinCloses,
}
