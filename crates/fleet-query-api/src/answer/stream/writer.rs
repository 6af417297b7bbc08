//! Writes one stream. It has no buffer of its own: it looks up what comes next when its reader has taken what came before. So a slow
//! reader delays nobody, and gets a new snapshot if the changes have been forgotten meanwhile.

use std::sync::Arc;
use std::time::Duration;
use std::vec;

use axum::body::Bytes;
use fleet_failpoints::Failpoint;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use super::expiry::Expiry;
use super::text::Text;
use crate::answer::vehicles::PIECE_BYTES;
use crate::app::App;
use crate::ask::filter::Filter;
use crate::ask::page::every_id;
use crate::metrics::{self, Event, SnapshotReason};
use crate::remembered::{Next, Tick, TickChange};

/// One stream.
pub(super) struct Writer {
    app: Arc<App>,
    filter: Filter,
    /// Distinguishes the stream's ids from those of streams with other parameters.
    fingerprint: u64,
    ticks: watch::Receiver<u64>,
    heartbeats: tokio::time::Interval,
    /// The vehicles that have been told of. Only if they can leave by age.
    expiry: Option<Expiry>,
    phase: Phase,
}

/// What comes next.
enum Phase {
    /// A snapshot.
    Begin(SnapshotReason),
    /// These vehicles, then the changes behind the tick with this number.
    Snapshot(vec::IntoIter<Uuid>, u64),
    /// The changes behind the tick with this number.
    Live(u64),
    /// The changes of this tick from this index on.
    Tick(Arc<Tick>, usize),
    /// Nothing.
    Ended,
}

impl Writer {
    /// A stream that goes on behind `last_event_id`, if what happened since is still known.
    pub(super) fn new(app: Arc<App>, filter: Filter, fingerprint: u64, last_event_id: Option<&str>) -> Self {
        let mut heartbeats =
            tokio::time::interval_at(Instant::now() + app.bounds.heartbeat, app.bounds.heartbeat);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let expiry = filter.expires().then(Expiry::default);
        let ticks = app.knowledge.subscribe();
        let phase = Phase::Begin(SnapshotReason::Begun);
        let mut writer = Self { app, filter, fingerprint, ticks, heartbeats, expiry, phase };
        // Which vehicles have left by age since then is not known.
        let number = last_event_id.filter(|_| writer.expiry.is_none()).and_then(|id| writer.number_of(id));
        if let Some(number) = number {
            let next = writer.app.knowledge.get().remembered.next(number);
            match next {
                Next::Tick(_) | Next::Nothing => writer.phase = Phase::Live(number),
                Next::Forgotten => {}
            }
        }
        writer
    }

    /// The next events. `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if matches!(self.phase, Phase::Ended) {
                return None;
            }
            let mut text = Text::default();
            if self.app.shutdown.is_cancelled() {
                text.retry_at_once();
                self.phase = Phase::Ended;
                return Some(Bytes::from(text.bytes));
            }
            self.phase = match std::mem::replace(&mut self.phase, Phase::Ended) {
                Phase::Begin(reason) => self.begin(reason, &mut text),
                Phase::Snapshot(ids, number) => self.snapshot(ids, number, &mut text),
                Phase::Live(number) => self.live(number, &mut text).await,
                Phase::Tick(tick, index) => self.tick(tick, index, &mut text),
                Phase::Ended => Phase::Ended,
            };
            if !text.bytes.is_empty() {
                return Some(Bytes::from(text.bytes));
            }
        }
    }

    fn begin(&mut self, reason: SnapshotReason, text: &mut Text) -> Phase {
        metrics::snapshot(reason);
        metrics::events(Event::Snapshot, 1);
        self.expiry.iter_mut().for_each(Expiry::clear);
        let (ids, number, read) = {
            let known = self.app.knowledge.get();
            (every_id(&known.fleet, &self.filter, Timestamp::now()), known.remembered.last(), known.read)
        };
        text.retry();
        if let Some(read) = read {
            text.snapshot(ids.len(), read);
        }
        Phase::Snapshot(ids.into_iter(), number)
    }

    /// Writes vehicles as they are now. If one has changed since the snapshot began, the change is told once more.
    fn snapshot(&mut self, mut ids: vec::IntoIter<Uuid>, number: u64, text: &mut Text) -> Phase {
        let now = Timestamp::now();
        let mut written = 0;
        let app = Arc::clone(&self.app);
        let known = app.knowledge.get();
        while text.bytes.len() < PIECE_BYTES {
            let Some(id) = ids.next() else {
                text.heartbeat(&self.id_of(number), known.read);
                metrics::events(Event::Heartbeat, 1);
                metrics::events(Event::Vehicle, written);
                return Phase::Live(number);
            };
            let Some(found) = known.fleet.get(id).filter(|found| self.filter.matches(found, now)) else {
                continue;
            };
            text.vehicle(found, now);
            written += 1;
            self.note_told(found);
        }
        metrics::events(Event::Vehicle, written);
        Phase::Snapshot(ids, number)
    }

    /// Waits for the next tick. Writes a heartbeat, and which vehicles have left by age.
    async fn live(&mut self, number: u64, text: &mut Text) -> Phase {
        let next = self.app.knowledge.get().remembered.next(number);
        match next {
            Next::Tick(tick) => return Phase::Tick(tick, 0),
            Next::Forgotten => return Phase::Begin(SnapshotReason::Slow),
            Next::Nothing => {}
        }
        let shutdown = self.app.shutdown.clone();
        let expiring = expiring(self.expiry.as_ref());
        tokio::select! {
            // The sender lives as long as the service.
            _changed = self.ticks.changed() => {}
            () = shutdown.cancelled() => {}
            _beat = self.heartbeats.tick() => {
                text.heartbeat(&self.id_of(number), self.app.knowledge.read());
                metrics::events(Event::Heartbeat, 1);
            }
            () = expiring => self.expire(text),
        }
        Phase::Live(number)
    }

    fn tick(&mut self, tick: Arc<Tick>, mut index: usize, text: &mut Text) -> Phase {
        let now = Timestamp::now();
        let (mut written, mut gone) = (0, 0);
        while let Some(change) = tick.changes.get(index).filter(|_| text.bytes.len() < PIECE_BYTES) {
            index += 1;
            if index == tick.changes.len() && Failpoint::LeaveOutChange.is_active() {
                continue;
            }
            match self.told_of(change, now) {
                Some(Event::Vehicle) => {
                    write_vehicle(change, tick.as_of, text);
                    written += 1;
                }
                Some(_gone) => {
                    text.gone(change.change.vehicle_id);
                    gone += 1;
                }
                None => {}
            }
        }
        metrics::events(Event::Vehicle, written);
        metrics::events(Event::Gone, gone);
        if index < tick.changes.len() {
            return Phase::Tick(tick, index);
        }
        if !text.bytes.is_empty() {
            text.told(&self.id_of(tick.number));
        }
        Phase::Live(tick.number)
    }

    /// What to tell about a change.
    fn told_of(&mut self, change: &TickChange, now: Timestamp) -> Option<Event> {
        let change = &change.change;
        if let Some(after) = change.after.as_deref().filter(|after| self.filter.matches(after, now)) {
            self.note_told(after);
            return Some(Event::Vehicle);
        }
        let was_told = match &mut self.expiry {
            Some(expiry) => expiry.remove(change.vehicle_id),
            None => change.before.as_deref().is_some_and(|before| self.filter.matches(before, now)),
        };
        was_told.then_some(Event::Gone)
    }

    fn note_told(&mut self, found: &fleet_store::FoundVehicle) {
        let Some(expiry) = &mut self.expiry else { return };
        if let Some(at) = self.filter.expires_at(found).flatten() {
            expiry.put(found.vehicle.vehicle_id, at);
        }
    }

    fn expire(&mut self, text: &mut Text) {
        let now = Timestamp::now();
        let mut gone = 0;
        while let Some(vehicle_id) = self.expiry.as_mut().and_then(|expiry| expiry.take(now)) {
            text.gone(vehicle_id);
            gone += 1;
        }
        metrics::events(Event::Gone, gone);
    }

    fn id_of(&self, number: u64) -> String {
        format!("{:x}-{:x}-{number:x}", self.app.knowledge.instance(), self.fingerprint)
    }

    /// The number in an id, if it is one of this process, for these parameters.
    fn number_of(&self, id: &str) -> Option<u64> {
        let number = id.rsplit('-').next().and_then(|number| u64::from_str_radix(number, 16).ok())?;
        (self.id_of(number) == id).then_some(number)
    }
}

/// All streams share the text of a vehicle's event, whose age is that at the tick.
fn write_vehicle(change: &TickChange, as_of: Timestamp, text: &mut Text) {
    let Some(after) = &change.change.after else { return };
    let event = change.event.get_or_init(|| {
        let mut own = Text::default();
        own.vehicle(after, as_of);
        Bytes::from(own.bytes)
    });
    text.bytes.extend_from_slice(event);
}

/// Waits until the next vehicle leaves by age; forever if none does.
async fn expiring(expiry: Option<&Expiry>) {
    let Some(at) = expiry.and_then(Expiry::next) else { return std::future::pending().await };
    let wait = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
    // A moment later it has left for sure.
    tokio::time::sleep(wait + Duration::from_millis(1)).await;
}
