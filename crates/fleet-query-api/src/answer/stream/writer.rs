//! Writes one stream. It has no buffer of its own: it looks up what comes next when its reader has taken what came before. So a slow
//! reader delays nobody, and gets a new snapshot if the changes have been forgotten meanwhile.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use fleet_failpoints::Failpoint;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::text::Text;
use super::told::Told;
use crate::answer::vehicles::PIECE_BYTES;
use crate::app::App;
use crate::ask::filter::Filter;
use crate::ask::page::every_slot;
use crate::fleet::slots::{Slot, SlotSet};
use crate::metrics::{self, Event, SnapshotReason};
use crate::remembered::{Next, Tick, TickChange};

/// Time between two looks for vehicles that have left by age.
const AGING: Duration = Duration::from_secs(1);

/// One stream.
pub(super) struct Writer {
    app: Arc<App>,
    filter: Filter,
    /// Distinguishes the stream's ids from those of streams with other parameters.
    fingerprint: u64,
    ticks: watch::Receiver<u64>,
    heartbeats: tokio::time::Interval,
    /// The vehicles that have been told of. Only if they can leave by age.
    told: Option<Told>,
    /// Wakes the stream to look for vehicles that have left by age.
    aging: tokio::time::Interval,
    phase: Phase,
}

/// What comes next.
enum Phase {
    /// A snapshot.
    Begin(SnapshotReason),
    /// These vehicles from this index on, then the changes behind the tick with this number.
    Snapshot(SlotSet, usize, u64),
    /// The changes behind the tick with this number: of the next tick those from this index on. The tick is looked up for each piece.
    /// If the stream held it, each slow reader could keep another forgotten tick in memory.
    Live(u64, usize),
    /// Nothing.
    Ended,
}

impl Writer {
    /// A stream that goes on behind `last_event_id`, if what happened since is still known.
    pub(super) fn new(app: Arc<App>, filter: Filter, fingerprint: u64, last_event_id: Option<&str>) -> Self {
        let told = filter.ages().next().is_some().then(Told::nothing);
        let (heartbeats, aging) = (every(app.bounds.heartbeat), every(AGING));
        let ticks = app.knowledge.subscribe();
        let phase = Phase::Begin(SnapshotReason::Begun);
        let mut writer = Self { app, filter, fingerprint, ticks, heartbeats, told, aging, phase };
        // Which vehicles have left by age since then is not known.
        let number = last_event_id.filter(|_| writer.told.is_none()).and_then(|id| writer.number_of(id));
        if let Some(number) = number {
            let next = writer.app.knowledge.get().remembered.next(number);
            match next {
                Next::Tick(_) | Next::Nothing => writer.phase = Phase::Live(number, 0),
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
                Phase::Snapshot(slots, index, number) => self.snapshot(slots, index, number, &mut text),
                Phase::Live(number, index) => self.live(number, index, &mut text).await,
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
        self.told.iter_mut().for_each(|told| *told = Told::nothing());
        let (slots, number, read) = {
            let known = self.app.knowledge.get();
            (every_slot(&known.fleet, &self.filter, Timestamp::now()), known.remembered.last(), known.read)
        };
        text.retry();
        if let Some(read) = read {
            text.snapshot(slots.len(), read);
        }
        Phase::Snapshot(slots, 0, number)
    }

    /// Writes vehicles as they are now. If one has changed since the snapshot began, the change is told once more.
    fn snapshot(&mut self, slots: SlotSet, mut index: usize, number: u64, text: &mut Text) -> Phase {
        let now = Timestamp::now();
        let mut written = 0;
        let app = Arc::clone(&self.app);
        let known = app.knowledge.get();
        // Doubling would need twice as much while the reader has not taken the piece.
        text.bytes.reserve_exact(PIECE_BYTES + PIECE_BYTES / 8);
        while text.bytes.len() < PIECE_BYTES {
            let Some(slot) = slots.next(index) else {
                text.heartbeat(&self.id_of(number), known.read);
                metrics::events(Event::Heartbeat, 1);
                metrics::events(Event::Vehicle, written);
                return Phase::Live(number, 0);
            };
            index = slot.index() + 1;
            let Some(found) = known.fleet.at(slot).filter(|found| self.filter.matches(found, now)) else {
                continue;
            };
            text.vehicle(found, now);
            written += 1;
            self.note_told(slot, now);
        }
        metrics::events(Event::Vehicle, written);
        Phase::Snapshot(slots, index, number)
    }

    /// Waits for the next tick. Writes a heartbeat, and which vehicles have left by age.
    async fn live(&mut self, number: u64, index: usize, text: &mut Text) -> Phase {
        let next = self.app.knowledge.get().remembered.next(number);
        match next {
            Next::Tick(tick) => return self.tick(&tick, index, text),
            Next::Forgotten => return Phase::Begin(SnapshotReason::Slow),
            Next::Nothing => {}
        }
        let shutdown = self.app.shutdown.clone();
        tokio::select! {
            // The sender lives as long as the service.
            _changed = self.ticks.changed() => {}
            () = shutdown.cancelled() => {}
            _beat = self.heartbeats.tick() => {
                text.heartbeat(&self.id_of(number), self.app.knowledge.read());
                metrics::events(Event::Heartbeat, 1);
            }
            _moment = self.aging.tick(), if self.told.is_some() => self.expire(number, text),
        }
        Phase::Live(number, 0)
    }

    fn tick(&mut self, tick: &Tick, mut index: usize, text: &mut Text) -> Phase {
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
            return Phase::Live(tick.number - 1, index);
        }
        if !text.bytes.is_empty() {
            text.told(&self.id_of(tick.number));
        }
        Phase::Live(tick.number, 0)
    }

    /// What to tell about a change.
    fn told_of(&mut self, change: &TickChange, now: Timestamp) -> Option<Event> {
        let change = &change.change;
        if change.after.as_deref().is_some_and(|after| self.filter.matches(after, now)) {
            self.note_told(change.slot, now);
            return Some(Event::Vehicle);
        }
        let was_told = match &mut self.told {
            Some(told) => told.remove(change.slot),
            None => change.before.as_deref().is_some_and(|before| self.filter.matches(before, now)),
        };
        was_told.then_some(Event::Gone)
    }

    fn note_told(&mut self, slot: Slot, now: Timestamp) {
        self.told.iter_mut().for_each(|told| told.put(slot, now));
    }

    /// Writes which vehicles have left by age. If another tick has come meanwhile, this waits until it has been told.
    fn expire(&mut self, number: u64, text: &mut Text) {
        let Some(told) = &mut self.told else { return };
        let known = self.app.knowledge.get();
        if known.remembered.last() != number {
            return;
        }
        let gone = told.take_aged(&known.fleet, &self.filter, Timestamp::now());
        gone.iter().for_each(|vehicle_id| text.gone(*vehicle_id));
        metrics::events(Event::Gone, gone.len());
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

/// The first tick comes after one period.
fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
