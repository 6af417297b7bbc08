//! The connection of a link: opens it, watches it, and drops it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::error::QueueError;
use crate::locate::{Located, Locator, Role, Verdict};
use crate::report::{Departure, Event, LinkState, Reporter};

/// Time between two checks whether the server is still the primary. With [`RedisLink`](crate::RedisLink)'s timeout it bounds
/// how long a link stays with a server that has been replaced.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Pauses before the next attempt to locate the primary after one has failed, so that webhooks cannot make the link ask the
/// servers without end. The pause doubles with each failure.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// One connection of a link.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) connection: MultiplexedConnection,
    /// The number of this connection; the first one has 1.
    pub(crate) generation: u64,
}

/// A connection to run one operation on.
pub(super) struct Connected {
    pub(super) line: Line,
    /// It existed before this call.
    pub(super) was_open: bool,
}

/// The connections of a link, one after the other.
pub(super) struct Lines {
    locator: Locator,
    timeout: Duration,
    reporter: Reporter,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    open: Option<Open>,
    /// Counts connections. Of several callers that fail together, only the first one drops the connection.
    generation: u64,
    left_at: Option<Instant>,
    not_before: Option<Instant>,
    pause: Duration,
}

struct Open {
    line: Line,
    server: String,
    watch: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Lines {
    pub(super) fn new(locator: Locator, timeout: Duration, reporter: Reporter) -> Self {
        Self { locator, timeout, reporter, current: Mutex::default() }
    }

    /// The open connection, or a new one to the primary.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<Connected, QueueError> {
        let mut current = self.current.lock().await;
        if let Some(open) = &current.open {
            return Ok(Connected { line: open.line.clone(), was_open: true });
        }
        if let Some(at) = current.not_before {
            tokio::time::sleep_until(at).await;
        }
        // If the caller gives up meanwhile, the attempt has failed.
        current.pause = (current.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        current.not_before = Some(Instant::now() + current.pause);
        let located = self.locator.locate().await;
        current.not_before = Some(Instant::now() + current.pause);
        let located = located.inspect_err(|_error| self.reporter.set(LinkState::Missing))?;
        (current.not_before, current.pause) = (None, Duration::ZERO);
        Ok(Connected { line: self.open(&mut current, located), was_open: false })
    }

    fn open(self: &Arc<Self>, current: &mut Current, located: Located) -> Line {
        current.generation += 1;
        let line = Line { connection: located.connection.clone(), generation: current.generation };
        let server = located.server.to_string();
        self.reporter.set(if located.role == Role::Replica {
            LinkState::Missing
        } else {
            LinkState::Primary
        });
        let after = current.left_at.take().map(|left_at| left_at.elapsed());
        self.reporter.report(Event::Located { server: &server, after });
        let watch = tokio::spawn(watch(Arc::downgrade(self), line.generation, located)).abort_handle();
        current.open = Some(Open { line: line.clone(), server, watch });
        line
    }

    /// Connects to another server, which the link does not use.
    pub(super) async fn dial(&self, host: &str, port: u16) -> Result<MultiplexedConnection, QueueError> {
        self.locator.dial(host, port).await
    }

    /// Notes that a caller has waited in vain for a connection.
    pub(super) fn missed(&self) {
        self.reporter.set(LinkState::Missing);
    }

    /// Drops a connection, unless it was dropped already. The next call locates the primary.
    pub(super) async fn leave(&self, generation: u64, departure: Departure) {
        let mut current = self.current.lock().await;
        if current.generation == generation && current.open.take().is_some() {
            current.left_at = Some(Instant::now());
            self.reporter.set(LinkState::Idle);
            self.reporter.report(Event::Left(departure));
        }
    }

    /// The address of the server that the link is connected to.
    pub(super) async fn server(&self) -> Option<String> {
        self.current.lock().await.open.as_ref().map(|open| open.server.clone())
    }

    async fn note(&self, generation: u64, state: LinkState) {
        let current = self.current.lock().await;
        if current.generation == generation && current.open.is_some() {
            self.reporter.set(state);
        }
    }
}

/// Checks again and again whether the server is still the primary, and drops the connection if it is not. An old primary that
/// is cut off from all others, but not from us, keeps replying.
async fn watch(lines: Weak<Lines>, generation: u64, located: Located) {
    loop {
        tokio::time::sleep(CHECK_EVERY).await;
        let Some(lines) = lines.upgrade() else { return };
        match lines.locator.check(&located, lines.timeout).await {
            Verdict::Primary => lines.note(generation, LinkState::Primary).await,
            Verdict::Unknown => lines.note(generation, LinkState::Unverified).await,
            Verdict::Replica => lines.note(generation, LinkState::Missing).await,
            Verdict::Left(departure) => return lines.leave(generation, departure).await,
        }
    }
}
