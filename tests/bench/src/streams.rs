//! Opens many streams of the query service, and measures how long a change takes to become visible in one of them.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cities;
use crate::failure::Failure;
use crate::freshness::post;
use crate::load::{Latency, get};
use crate::provider::{Provider, Status};
use crate::usage::{self, CpuMicros, Watched};

/// The end of a snapshot.
const HEARTBEAT: &[u8] = b"event: heartbeat";

/// The numbers of the marked vehicles begin here. No load uses them.
const FIRST_MARKED: u32 = 9_500_000;

/// The time between two reports of marked vehicles.
const MARK_EVERY: Duration = Duration::from_millis(20);

/// The run fails if anything takes longer.
const WITHIN: Duration = Duration::from_mins(1);

/// What to measure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Streams {
    /// The query service.
    pub(crate) target: SocketAddr,
    /// The API, for the marked vehicles.
    pub(crate) api: SocketAddr,
    /// How many streams. One of them is of the city of the marked vehicles.
    pub(crate) streams: u32,
    /// How many cities the others are spread over.
    pub(crate) cities: u32,
    pub(crate) measured: Duration,
    pub(crate) watched: Watched,
}

/// The results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Streamed {
    /// From the first connection until the last snapshot has arrived.
    pub(crate) snapshots_seconds: f64,
    pub(crate) seconds: f64,
    /// What the streams have brought after their snapshots.
    pub(crate) bytes: u64,
    pub(crate) cpu_micros: CpuMicros,
    pub(crate) own_cpu_micros: f64,
    /// From a webhook's 200 until its change is in the stream.
    pub(crate) visible: Latency,
    /// Marked vehicles.
    pub(crate) samples: u64,
}

/// What the tasks of the streams count.
#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
    bytes: AtomicU64,
}

/// Opens the streams, and then measures.
pub(crate) fn run(streams: &Streams) -> Result<Streamed, Failure> {
    let counts = Arc::new(Counts::default());
    let began = Instant::now();
    let reading = Arc::clone(&counts);
    let options = streams.clone();
    thread::spawn(move || read_all(&options, &reading));
    let (seen, sightings) = mpsc::channel();
    let (ready, is_ready) = mpsc::channel();
    let (target, city) = (streams.target, streams.cities);
    thread::spawn(move || watch(target, city, &ready, &seen));
    is_ready
        .recv_timeout(WITHIN)
        .map_err(|_late| Failure::measurement("the watched stream has not begun"))?;
    let others = u64::from(streams.streams.saturating_sub(1));
    while counts.begun.load(Ordering::Relaxed) < others {
        if began.elapsed() > WITHIN {
            let begun = counts.begun.load(Ordering::Relaxed);
            return Err(Failure::measurement(format!("only {begun} of {others} streams have begun")));
        }
        thread::sleep(Duration::from_millis(5));
    }
    let snapshots_seconds = began.elapsed().as_secs_f64();

    let before =
        (usage::cpu(&streams.watched)?, usage::own_cpu_micros()?, counts.bytes.load(Ordering::Relaxed));
    let started = Instant::now();
    let answered = mark(streams)?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_micros = usage::since(&before.0, &usage::cpu(&streams.watched)?);
    let own_cpu_micros = usage::own_cpu_micros()? - before.1;
    let bytes = counts.bytes.load(Ordering::Relaxed) - before.2;
    let visible = visible(&answered, &sightings)?;
    match counts.ended.load(Ordering::Relaxed) {
        0 => {}
        ended => return Err(Failure::measurement(format!("{ended} streams have ended"))),
    }
    let samples = answered.len() as u64;
    Ok(Streamed { snapshots_seconds, seconds, bytes, cpu_micros, own_cpu_micros, visible, samples })
}

/// Reads all streams but the watched one.
fn read_all(options: &Streams, counts: &Arc<Counts>) -> Result<(), Failure> {
    crate::runtime::current_thread()?.block_on(async {
        for number in 1..options.streams {
            let (target, counts) = (options.target, Arc::clone(counts));
            let request = request(number % options.cities);
            tokio::spawn(async move {
                // A stream ends only by a failure.
                drop(read(target, &request, &counts).await);
                counts.ended.fetch_add(1, Ordering::Relaxed);
            });
        }
        std::future::pending().await
    })
}

async fn read(target: SocketAddr, request: &[u8], counts: &Counts) -> io::Result<()> {
    let mut stream = tokio::net::TcpStream::connect(target).await?;
    stream.write_all(request).await?;
    let mut bytes = Vec::with_capacity(64 * 1024);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        if bytes.windows(HEARTBEAT.len()).any(|window| window == HEARTBEAT) {
            break;
        }
        // The event may be in two pieces.
        bytes.drain(..bytes.len().saturating_sub(HEARTBEAT.len()));
    }
    counts.begun.fetch_add(1, Ordering::Relaxed);
    loop {
        bytes.clear();
        match stream.read_buf(&mut bytes).await? {
            0 => return Ok(()),
            read => counts.bytes.fetch_add(read as u64, Ordering::Relaxed),
        };
    }
}

fn request(city: u32) -> Vec<u8> {
    get(&format!("/v1/vehicles/stream?{}", cities::bbox(city)))
}

/// Reads the stream of the marked vehicles, and sends when it has brought which vehicle.
fn watch(target: SocketAddr, city: u32, ready: &Sender<()>, seen: &Sender<(u32, Instant)>) -> io::Result<()> {
    let mut stream = TcpStream::connect(target)?;
    stream.write_all(&request(city))?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.as_bytes() == HEARTBEAT {
            // Only the first one is waited for.
            let _nobody_waits = ready.send(());
        }
        let id = line.split_once("\"provider_vehicle_id\":\"").and_then(|(_, rest)| rest.split('"').next());
        if let Some(number) = id.and_then(cities::number)
            && seen.send((number, Instant::now())).is_err()
        {
            break;
        }
    }
    Ok(())
}

/// Posts a new vehicle every few milliseconds. Returns when each got its 200.
fn mark(streams: &Streams) -> Result<Vec<(u32, Instant)>, Failure> {
    let started = Instant::now();
    let mut answered = Vec::new();
    for number in 0.. {
        let due = started + MARK_EVERY * number;
        if due.duration_since(started) >= streams.measured {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let vehicle = FIRST_MARKED + number;
        let status = Status { vehicle, at_ms: Timestamp::now().as_millisecond() };
        post(streams.api, &Provider::Niu.request(&cities::body_in(streams.cities, status)))?;
        answered.push((vehicle, Instant::now()));
    }
    Ok(answered)
}

/// How long each vehicle took from its 200 to the stream.
fn visible(answered: &[(u32, Instant)], sightings: &Receiver<(u32, Instant)>) -> Result<Latency, Failure> {
    let mut seen = HashMap::new();
    let mut histogram = Latency::histogram();
    let end = Instant::now() + WITHIN;
    for (vehicle, at) in answered {
        while !seen.contains_key(vehicle) {
            let left = end.saturating_duration_since(Instant::now());
            let (other, when) = sightings
                .recv_timeout(left)
                .map_err(|_late| Failure::measurement(format!("vehicle {vehicle} is not in the stream")))?;
            seen.entry(other).or_insert(when);
        }
        // The change may be in the stream before the webhook's sender has its response.
        let took = seen.get(vehicle).map_or(Duration::ZERO, |when| when.saturating_duration_since(*at));
        histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
    Ok(Latency::of(&histogram))
}
