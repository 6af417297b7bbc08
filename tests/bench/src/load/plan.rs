//! The options of the load generator.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::provider::Provider;
use crate::usage::Watched;

/// What to send, how fast and for how long.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    /// The address to send to.
    pub(crate) target: SocketAddr,
    /// The number of keep-alive connections, divided among the threads.
    pub(crate) connections: usize,
    /// The number of threads. Each has one epoll for its connections.
    pub(crate) threads: usize,
    /// What is sent.
    pub(crate) traffic: Traffic,
    /// Requests a second. They are sent at fixed times, whether or not earlier ones got a response, and
    /// latency counts from those times. If absent, each connection sends as soon as it gets a response.
    pub(crate) per_second: Option<f64>,
    /// How long to send before the measurement begins.
    pub(crate) warm_up: Duration,
    /// When to end.
    pub(crate) end: End,
    /// The processes whose CPU time to measure.
    pub(crate) watched: Watched,
}

/// The kind of requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Traffic {
    /// A few thousand requests that are rendered beforehand and repeated.
    Repeated {
        /// The provider.
        provider: Provider,
        /// The number of vehicles.
        vehicles: u32,
    },
    /// Only new reports, observed when they are sent. The providers take turns.
    Fresh {
        /// The providers.
        providers: Vec<Provider>,
        /// The number of vehicles of each provider.
        vehicles: u32,
    },
    /// Only new reports of NIU's vehicles, which move in their cities.
    Moving {
        /// The number of vehicles.
        vehicles: u32,
        /// The number of cities.
        cities: u32,
    },
    /// These paths again and again, without a body.
    Get {
        /// The paths with their queries.
        paths: Vec<String>,
    },
    /// 30 minutes of NIU's reports: for every hundred single ones an array of a hundred.
    Bomb {
        /// The number of vehicles.
        vehicles: u32,
    },
}

/// When to end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum End {
    /// After this time.
    After(Duration),
    /// After this many reports got a 200. Those refused with 503 are retried.
    Reports(u64),
    /// When standard input ends.
    StdinCloses,
}
