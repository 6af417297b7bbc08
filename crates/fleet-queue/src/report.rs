//! What a link reports about its server, for logs and metrics.

use std::sync::Mutex;
use std::time::Duration;

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum LinkState {
    /// It has no connection. It locates the primary with its next call.
    Idle,
    /// It is connected to the primary, as the last check has confirmed.
    Primary,
    /// It is connected, and the last check could not find out whether the server is still the primary.
    Unverified,
    /// It has found no primary.
    Missing,
}

impl LinkState {
    /// All names.
    pub const NAMES: &[&'static str] = <Self as strum::VariantNames>::VARIANTS;
}

/// Why a link has left its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Departure {
    /// The connection broke.
    Connection,
    /// The server did not reply in time.
    Timeout,
    /// The server has become a replica.
    Demoted,
    /// Another server is the primary, as the Sentinels or the other hosts say.
    Superseded,
    /// The server loads its data, or has lost its primary.
    Loading,
    /// The cluster has the queue on another server, or is down.
    Cluster,
    /// The server rejected the login, or a command.
    Login,
    /// The replicas did not confirm.
    Unconfirmed,
}

impl Departure {
    /// All names.
    pub const NAMES: &[&'static str] = <Self as strum::VariantNames>::VARIANTS;
}

/// Something that happened to a link.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The queue of the link; empty if it has none.
    pub queue: &'a str,
    /// Whether each queue has its own primary.
    pub per_queue: bool,
    /// What happened.
    pub event: Event<'a>,
}

/// What happened to a link.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The link has another state. `None`: it did not exist before, or does not exist any more.
    State {
        /// The state until now.
        from: Option<LinkState>,
        /// The state from now on.
        to: Option<LinkState>,
    },
    /// The link has left its server.
    Left(Departure),
    /// The link is connected to a server.
    Located {
        /// Address of the server.
        server: &'a str,
        /// Time since the link has left its last server; `None` for its first one.
        after: Option<Duration>,
    },
}

/// Where reports go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Listener(pub(crate) Option<fn(&Report<'_>)>);

/// Reports for one link.
#[derive(Debug)]
pub(crate) struct Reporter {
    listener: Listener,
    queue: String,
    per_queue: bool,
    state: Mutex<LinkState>,
}

impl Reporter {
    pub(crate) fn new(listener: Listener, queue: String, per_queue: bool) -> Self {
        let reporter = Self { listener, queue, per_queue, state: Mutex::new(LinkState::Idle) };
        reporter.report(Event::State { from: None, to: Some(LinkState::Idle) });
        reporter
    }

    pub(crate) fn report(&self, event: Event<'_>) {
        if let Listener(Some(listener)) = self.listener {
            listener(&Report { queue: &self.queue, per_queue: self.per_queue, event });
        }
    }

    pub(crate) fn set(&self, to: LinkState) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let from = std::mem::replace(&mut *state, to);
        if from != to {
            self.report(Event::State { from: Some(from), to: Some(to) });
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let from = Some(*state);
        self.report(Event::State { from, to: None });
    }
}
