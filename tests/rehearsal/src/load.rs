//! The providers: a steady load of variable rate, and a bomb.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fleet_harness::http::Client;
use jiff::{SignedDuration, Timestamp};

use super::wire;

/// The number of connections for the steady load, and for the bomb.
const CONNECTIONS: u64 = 8;

/// The number of events in one array of the steady load, and of the bomb.
const EVENTS: u64 = 10;
const BOMB_EVENTS: u64 = 100;

/// One of this many webhooks comes from INVERS, with one event.
const INVERS_EVERY: u64 = 20;

/// The timeout of one webhook, from connecting to the end of the response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before a webhook is retried.
const RETRY: Duration = Duration::from_millis(200);

/// How often an idle sender checks for work.
const IDLE_POLL: Duration = Duration::from_millis(50);

/// Sends until it is dropped or [`Load::stop`]ped.
pub(super) struct Load {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

/// The state that the senders share.
struct Shared {
    api_port: u16,
    /// The time of the first report by the vehicles' clocks.
    start: Timestamp,
    /// The steady load in thousandths of an event a second.
    milli_rate: AtomicU64,
    /// The events of the bomb that no sender has taken yet.
    bomb_left: AtomicU64,
    /// The events of the bomb that got a 200.
    bomb_accepted: AtomicU64,
    /// All events that got a 200.
    accepted: AtomicU64,
    /// The number of webhooks of the steady load, and when the next one is due.
    webhooks: AtomicU64,
    next_slot: Mutex<Instant>,
    /// The numbers of the next reports.
    next_niu: AtomicU64,
    next_invers: AtomicU64,
    refused: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    /// Starts the senders. They send nothing yet.
    pub(super) fn start(api_port: u16) -> Self {
        let shared = Arc::new(Shared {
            api_port,
            start: Timestamp::now().saturating_sub(SignedDuration::from_hours(6)).unwrap_or_default(),
            milli_rate: AtomicU64::new(0),
            bomb_left: AtomicU64::new(0),
            bomb_accepted: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            webhooks: AtomicU64::new(0),
            next_slot: Mutex::new(Instant::now()),
            next_niu: AtomicU64::new(0),
            next_invers: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let spawn = |work: fn(&Shared)| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || work(&shared))
        };
        let senders = (0..CONNECTIONS).flat_map(|_| [spawn(steady), spawn(bomb)]).collect();
        Self { shared, senders }
    }

    /// Sets the steady load, events a second.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates; a rate is positive"
    )]
    pub(super) fn set_rate(&self, events_per_second: f64) {
        self.shared.milli_rate.store((events_per_second * 1_000.0) as u64, Ordering::Relaxed);
    }

    /// Sends this many events as fast as the API accepts them, in addition to the steady load.
    pub(super) fn send_bomb(&self, events: u64) {
        self.shared.bomb_left.store(events, Ordering::Relaxed);
    }

    /// How many events of the bomb got a 200.
    pub(super) fn bomb_accepted(&self) -> u64 {
        self.shared.bomb_accepted.load(Ordering::Relaxed)
    }

    /// How many webhooks were retried.
    pub(super) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Stops the senders once their current webhooks succeeded. Returns the number of events that got a 200.
    pub(super) fn stop(&mut self) -> u64 {
        self.join();
        self.shared.accepted.load(Ordering::Relaxed)
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            // A sender returns nothing. If it panicked, the count lacks its events.
            drop(sender.join());
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.join();
    }
}

/// Sends one connection's share of the steady load.
fn steady(shared: &Shared) {
    let client = Client::new(TIMEOUT);
    while !shared.is_stopped() {
        let milli_rate = shared.milli_rate.load(Ordering::Relaxed);
        if milli_rate == 0 {
            thread::sleep(IDLE_POLL);
            continue;
        }
        let number = shared.webhooks.fetch_add(1, Ordering::Relaxed);
        let events = if number.is_multiple_of(INVERS_EVERY) { 1 } else { EVENTS };
        shared.wait_for_slot(Duration::from_micros(events * 1_000_000_000 / milli_rate));
        if events == 1 {
            let number = shared.next_invers.fetch_add(1, Ordering::Relaxed);
            shared.send_invers(&client, number);
        } else {
            let first = shared.next_niu.fetch_add(events, Ordering::Relaxed);
            shared.send_niu(&client, first, events);
        }
    }
}

/// Sends one connection's share of the bomb.
fn bomb(shared: &Shared) {
    let client = Client::new(TIMEOUT);
    while !shared.is_stopped() {
        let take = |left: u64| (left > 0).then(|| left.saturating_sub(BOMB_EVENTS));
        match shared.bomb_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(left) => {
                let events = left.min(BOMB_EVENTS);
                let first = shared.next_niu.fetch_add(events, Ordering::Relaxed);
                shared.send_niu(&client, first, events);
                shared.bomb_accepted.fetch_add(events, Ordering::Relaxed);
            }
            Err(_nothing_left) => thread::sleep(IDLE_POLL),
        }
    }
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits for the next slot of the steady load. The slot after it follows `pause` later.
    fn wait_for_slot(&self, pause: Duration) {
        let slot = {
            let mut next = self.next_slot.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            // Missed slots are skipped, because making up for them would flood an API that has just
            // recovered.
            let slot = (*next).max(now.checked_sub(IDLE_POLL).unwrap_or(now));
            *next = slot + pause;
            slot
        };
        thread::sleep(slot.saturating_duration_since(Instant::now()));
    }

    fn send_niu(&self, client: &Client, first: u64, events: u64) {
        let header = ("token", wire::NIU_TOKEN);
        self.send(client, "niu", header, &wire::niu(self.start, first, events), events);
    }

    fn send_invers(&self, client: &Client, number: u64) {
        let bearer = format!("Bearer {}", wire::INVERS_TOKEN);
        let header = ("authorization", bearer.as_str());
        self.send(client, "invers", header, &wire::invers(self.start, number), 1);
    }

    /// Retries until the response is 200, as providers do. Retries are idempotent: the same bytes are the
    /// same events.
    fn send(&self, client: &Client, provider: &str, header: (&str, &str), body: &str, events: u64) {
        loop {
            let response = client.post(self.api_port, &format!("/webhooks/{provider}"), header, body);
            if response.is_ok_and(|response| response.status == 200) {
                self.accepted.fetch_add(events, Ordering::Relaxed);
                return;
            }
            self.refused.fetch_add(1, Ordering::Relaxed);
            if self.is_stopped() {
                return;
            }
            thread::sleep(RETRY);
        }
    }
}
