//! Follows the stream of vehicles as a browser's `EventSource` does: it comes back after every end, with the id of the last event.

use std::io::{self, BufRead, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ureq::Agent;

use super::compare::{Fleet, comparable};
use super::events::{Event, Events};

/// The pause before coming back, until a stream says otherwise.
const RETRY: Duration = Duration::from_millis(500);

/// The longest wait for a connection, and for the headers of a response.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);

/// What a client of the stream has seen.
#[derive(Clone, Copy)]
pub(crate) struct Followed {
    /// Snapshots that it got.
    pub(crate) snapshots: u64,
    /// Times that it came back and the stream went on where it had ended.
    pub(crate) resumed: u64,
}

/// A client of the stream. When it is dropped, it ends with its connection.
pub(super) struct Follower(Arc<Shared>);

struct Shared {
    known: Mutex<Known>,
    has_ended: AtomicBool,
}

#[derive(Default)]
struct Known {
    fleet: Fleet,
    snapshots: u64,
    resumed: u64,
}

impl Follower {
    /// Follows the stream of the service on this port.
    pub(super) fn start(port: u16) -> Self {
        let shared =
            Arc::new(Shared { known: Mutex::new(Known::default()), has_ended: AtomicBool::new(false) });
        let own = Arc::clone(&shared);
        thread::spawn(move || follow(port, &own));
        Self(shared)
    }

    /// The vehicles, as far as the stream has told.
    pub(super) fn vehicles(&self) -> Fleet {
        self.0.known().fleet.clone()
    }

    pub(super) fn followed(&self) -> Followed {
        let known = self.0.known();
        Followed { snapshots: known.snapshots, resumed: known.resumed }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn follow(port: u16, shared: &Shared) {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(HEADERS_WITHIN))
        .timeout_recv_response(Some(HEADERS_WITHIN))
        .proxy(None)
        .build();
    let agent = Agent::from(config);
    let mut events = Events::default();
    while !shared.has_ended.load(Ordering::Relaxed) {
        // Faults end the stream all the time. What they must not do is leave a difference, which is found at the end of the run.
        drop(read(&agent, port, &mut events, shared));
        let pause = events.retry_ms.map_or(RETRY, Duration::from_millis);
        events.begin_again();
        thread::sleep(pause);
    }
}

/// Reads one stream to its end.
fn read(agent: &Agent, port: u16, events: &mut Events, shared: &Shared) -> io::Result<()> {
    let request = agent.get(format!("http://127.0.0.1:{port}/v1/vehicles/stream"));
    let is_back = !events.last_event_id.is_empty();
    let request = if is_back { request.header("last-event-id", &events.last_event_id) } else { request };
    let response = request.call().map_err(ureq::Error::into_io)?;
    if response.status() != 200 {
        return Err(io::Error::other(response.status().to_string()));
    }
    let mut is_first = true;
    for line in BufReader::new(response.into_body().into_reader()).lines() {
        if let Some(event) = events.line(&line?) {
            let mut known = shared.known();
            if is_first && is_back && event.name != "snapshot" {
                known.resumed += 1;
            }
            is_first = false;
            known.take(event);
        }
    }
    Ok(())
}

impl Known {
    fn take(&mut self, Event { name, data }: Event) {
        let data = serde_json::from_str(&data).ok().map(|data: serde_json::Value| {
            let id = data["vehicle_id"].as_str().map(str::to_owned);
            (id, data)
        });
        match (name.as_str(), data) {
            ("snapshot", _) => {
                self.snapshots += 1;
                self.fleet.clear();
            }
            ("vehicle", Some((_id, vehicle))) => self.fleet.extend(comparable(vehicle)),
            ("gone", Some((Some(id), _))) => drop(self.fleet.remove(&id)),
            _nothing_to_keep => {}
        }
    }
}
