//! Events of INVERS that wait in a queue of RabbitMQ: the bridge alone and with a consumer, compared with a bare AMQP consumer.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::setup::{CONSUMER, POSTGRES, REDIS, Setup};
use crate::amqp::{Broker, Consume, Consumed};
use crate::failure::Failure;
use crate::figures::{Bound, Kind, Report};
use crate::provider::{Provider, Status};
use crate::running::Running;
use crate::stage::Stage;
use crate::usage::{self, CpuMicros};
use crate::usual::Usual;

const VEHICLES: u32 = 5_000;

/// The size of an event, bytes.
const EVENT_BYTES: usize = 1_000;

/// The time between two events of a vehicle.
const STEP_MS: i64 = 5_000;

/// `FLEET_AMQP__PREFETCH` unless it is set.
const PREFETCH: u16 = 1_000;

/// The run fails if anything takes longer.
const DONE_WITHIN: Duration = Duration::from_mins(5);

const BRIDGE: &str = "bridge";
const RABBITMQ: &str = "rabbitmq";
const MIB: f64 = 1024.0 * 1024.0;

/// What it takes to move the events.
struct Moved {
    /// Events a second until Redis has them.
    pushed_per_second: f64,
    /// Events a second until telemetry has them; absent without a consumer.
    stored_per_second: Option<f64>,
    cpu_micros: CpuMicros,
    bridge_bytes: u64,
}

pub(super) fn run(setup: &Setup, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    let messages = setup.size(200_000, 5_000);
    let broker = Broker::start()?;
    for round in 1..=setup.rounds {
        let reference = reference(stage, &broker, messages)?;
        let events = f64::from(messages);
        let (rate, cpu) = (events / reference.seconds, reference.own_cpu_micros / events);
        setup.say("amqp", round, &format!("reference: {rate:.0}/s, CPU an event {cpu:.1} us"));
        report.note("reference: events", "/s", rate);
        report.note("reference: CPU an event, consumer", "µs", cpu);
        let rabbit = reference.cpu_micros.get(RABBITMQ).copied().unwrap_or(f64::NAN);
        report.note("reference: CPU an event, RabbitMQ", "µs", rabbit / events);

        let alone = move_events(stage, &broker, messages, false)?;
        let bridge = alone.cpu_micros.get(BRIDGE).copied().unwrap_or(f64::NAN) / events;
        let pushed = alone.pushed_per_second;
        setup.say("amqp", round, &format!("bridge: {pushed:.0}/s until Redis, CPU an event {bridge:.1} us"));
        note(report, "bridge", events, &alone, &[BRIDGE, REDIS, RABBITMQ]);
        report.note("rate ÷ reference", "", pushed / rate);
        report.note("bridge's CPU ÷ reference", "", bridge / cpu);

        let whole = move_events(stage, &broker, messages, true)?;
        let stored = whole.stored_per_second.unwrap_or(f64::NAN);
        setup.say("amqp", round, &format!("with a consumer: {stored:.0}/s until telemetry"));
        note(report, "with a consumer", events, &whole, &[BRIDGE, REDIS, CONSUMER, POSTGRES, RABBITMQ]);
        report.note("with a consumer: events until telemetry", "/s", stored);
    }
    report.ask("rate ÷ reference", Kind::Must, Bound::AtLeast(0.6));
    report.ask("bridge's CPU ÷ reference", Kind::Must, Bound::AtMost(2.0));
    report.ask("bridge: bridge resident", Kind::Must, Bound::AtMost(64.0));
    report.ask("with a consumer: bridge resident", Kind::Must, Bound::AtMost(64.0));
    Ok(())
}

fn note(report: &mut Report, what: &str, events: f64, moved: &Moved, parts: &[&str]) {
    report.note(format!("{what}: events until Redis"), "/s", moved.pushed_per_second);
    for &part in parts {
        let micros = moved.cpu_micros.get(part).copied().unwrap_or(f64::NAN);
        report.note(format!("{what}: CPU an event, {part}"), "µs", micros / events);
    }
    report.note(format!("{what}: bridge resident"), "MiB", moved.bridge_bytes as f64 / MIB);
}

/// The events, all different.
fn events(messages: u32) -> Result<impl Iterator<Item = String>, Failure> {
    let usual = Usual::of(Provider::Invers)?;
    let start_ms = Timestamp::now().as_millisecond() - i64::from(messages / VEHICLES + 1) * STEP_MS;
    Ok((0..messages).map(move |index| {
        let at_ms = start_ms + i64::from(index / VEHICLES) * STEP_MS;
        let body = usual.body(Status { vehicle: index % VEHICLES, at_ms });
        format!("{body:EVENT_BYTES$}")
    }))
}

fn reference(stage: &mut Stage, broker: &Broker, messages: u32) -> Result<Consumed, Failure> {
    let consume = Consume {
        url: broker.url(),
        ca_file: broker.ca_file(),
        queue: broker.fill(events(messages)?)?,
        prefetch: PREFETCH,
        messages,
        watched: stage.watch(&[(RABBITMQ, broker.pid())]),
    };
    let consumed = stage.tool("consume", &consume)?.finish(&stage.interrupt, DONE_WITHIN, || Ok(()))?;
    require_empty(broker, &consume.queue)?;
    Ok(consumed)
}

/// Runs the bridge, with or without a consumer, until all events have arrived.
fn move_events(
    stage: &mut Stage,
    broker: &Broker,
    messages: u32,
    with_consumer: bool,
) -> Result<Moved, Failure> {
    stage.clear()?;
    let queue = broker.fill(events(messages)?)?;
    let mut consumer = if with_consumer { Some(stage.consumer()?) } else { None };
    let mut watched = stage.watch(&[(RABBITMQ, broker.pid())]);
    if let Some(consumer) = &consumer {
        watched.insert(CONSUMER.to_owned(), consumer.pid());
    }
    let before = usage::cpu(&watched)?;
    let mut bridge = stage.bridge(&broker.url(), &broker.ca_file(), &queue)?;
    let (mut pushed, mut stored) = (Pace::default(), Pace::default());
    stage.interrupt.until("all events to arrive", DONE_WITHIN, || {
        bridge.check()?;
        consumer.as_mut().map_or(Ok(()), Running::check)?;
        let ledger = stage.redis.ledger(Provider::Invers)?;
        pushed.saw(ledger.accepted, messages);
        stored.saw(ledger.settled, messages);
        let is_over = pushed.is_over && (stored.is_over || consumer.is_none());
        Ok::<_, Failure>(is_over.then_some(()))
    })?;
    let mut cpu_micros = usage::since(&before, &usage::cpu(&watched)?);
    cpu_micros.extend(usage::cpu(&[(BRIDGE.to_owned(), bridge.pid())].into())?);
    let bridge_bytes = usage::memory(bridge.pid())?.peak;
    // It acknowledges what it has pushed.
    bridge.stop(&stage.interrupt)?;
    require_empty(broker, &queue)?;
    let is_stored = consumer.is_some();
    if let Some(consumer) = consumer {
        consumer.stop(&stage.interrupt)?;
        let rows = stage.sql.number("SELECT count(*) FROM telemetry")?;
        if rows != i64::from(messages) {
            return Err(Failure::measurement(format!("{messages} events became {rows} rows of telemetry")));
        }
    }
    let stored_per_second = is_stored.then(|| stored.per_second());
    Ok(Moved { pushed_per_second: pushed.per_second(), stored_per_second, cpu_micros, bridge_bytes })
}

fn require_empty(broker: &Broker, queue: &str) -> Result<(), Failure> {
    match broker.waiting(queue)? {
        0 => Ok(()),
        left => Err(Failure::measurement(format!("{left} events were left in RabbitMQ without an ack"))),
    }
}

/// A rate between the first look that sees events and the first that sees all of them.
#[derive(Debug, Default)]
struct Pace {
    first: Option<(Instant, u64)>,
    last: Option<(Instant, u64)>,
    is_over: bool,
}

impl Pace {
    fn saw(&mut self, events: u64, all: u32) {
        if events == 0 || self.is_over {
            return;
        }
        let now = (Instant::now(), events);
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.is_over = events >= u64::from(all);
    }

    fn per_second(&self) -> f64 {
        let (Some((began, first)), Some((ended, last))) = (self.first, self.last) else { return f64::NAN };
        (last - first) as f64 / ended.duration_since(began).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_different_and_has_its_size() {
        let events: Vec<_> = events(2 * VEHICLES).unwrap().collect();
        assert!(events.iter().all(|event| event.len() == EVENT_BYTES), "{}", events[0].len());
        let different: std::collections::HashSet<_> = events.iter().collect();
        assert_eq!(different.len(), events.len());
    }
}
