//! How long after its 200 a report is visible in `vehicle_positions`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::load::{End, Latency, whole_answer};
use crate::provider::{Provider, Status};
use crate::sql::Sql;

const VISIBLE: &str = "SELECT FROM vehicle_positions \
     WHERE provider = $1 AND provider_vehicle_id = $2 AND position_at = $3";

/// Between two looks; a look itself takes a few hundred microseconds more.
const LOOK_AGAIN_AFTER: Duration = Duration::from_micros(200);

/// Nothing takes longer, or the run fails.
const VISIBLE_WITHIN: Duration = Duration::from_mins(2);

/// The marked vehicles: numbers that no load uses.
const FIRST_MARKED: u32 = 9_000_000;
const MARKED: u32 = 1_000;

/// What to look at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Freshness {
    pub(crate) target: SocketAddr,
    pub(crate) database_url: String,
    /// In turn, one vehicle at a time.
    pub(crate) providers: Vec<Provider>,
    pub(crate) end: End,
}

/// What was seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Milliseconds from the answer to the sight.
    pub(crate) all: Latency,
    /// The same, by provider.
    pub(crate) by_provider: BTreeMap<String, Latency>,
    /// Vehicles looked for.
    pub(crate) samples: u64,
    /// Milliseconds between two looks, on average.
    pub(crate) look_ms: f64,
}

/// Posts a marked vehicle's report, looks for it until it is there, and again.
pub(crate) fn run(freshness: &Freshness) -> Result<Seen, Failure> {
    let sql = Sql::connect(&freshness.database_url)?;
    let visible = sql.prepare(VISIBLE)?;
    let is_over = end(freshness.end);
    let mut histograms: BTreeMap<&str, Histogram<u64>> = BTreeMap::new();
    let (mut all, mut looks, mut looking) = (Latency::histogram(), 0_u64, Duration::ZERO);
    for (provider, number) in freshness.providers.iter().cycle().zip(0_u32..) {
        if is_over() {
            break;
        }
        let status =
            Status { vehicle: FIRST_MARKED + number % MARKED, at_ms: Timestamp::now().as_millisecond() };
        let (slug, id) = (provider.slug(), provider.vehicle_id(status.vehicle));
        let at = Timestamp::from_millisecond(status.at_ms).unwrap_or_default();
        post(freshness.target, &provider.request(&provider.body(status)))?;
        let answered = Instant::now();
        loop {
            looks += 1;
            if sql.execute(&visible, &[&slug, &id, &at])? > 0 {
                break;
            }
            if answered.elapsed() > VISIBLE_WITHIN {
                return Err(Failure::measurement(format!("{slug}'s {id} is still not visible")));
            }
            thread::sleep(LOOK_AGAIN_AFTER);
        }
        let took = answered.elapsed();
        looking += took;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        all.saturating_record(micros);
        histograms.entry(slug).or_insert_with(Latency::histogram).saturating_record(micros);
        // At no fixed distance from the consumer's own rhythm.
        thread::sleep(Duration::from_micros(fastrand::u64(1_000..40_000)));
    }
    Ok(Seen {
        all: Latency::of(&all),
        by_provider: histograms
            .iter()
            .map(|(slug, found)| ((*slug).to_owned(), Latency::of(found)))
            .collect(),
        samples: all.len(),
        look_ms: looking.as_secs_f64() * 1000.0 / looks as f64,
    })
}

/// Says when it is over.
fn end(end: End) -> impl Fn() -> bool {
    let started = Instant::now();
    let closed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&closed);
    if let End::StdinCloses = end {
        thread::spawn(move || {
            drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
            told.store(true, Ordering::Release);
        });
    }
    move || match end {
        End::After(duration) => started.elapsed() >= duration,
        End::StdinCloses | End::Reports(_) => closed.load(Ordering::Acquire),
    }
}

/// On a connection of its own: one that waited for a report to show may have been closed as idle.
fn post(target: SocketAddr, request: &[u8]) -> Result<(), Failure> {
    let exchange = || {
        let mut stream = TcpStream::connect(target)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(request)?;
        let (mut answer, mut chunk) = (Vec::new(), [0; 1024]);
        loop {
            let bytes = stream.read(&mut chunk)?;
            answer.extend_from_slice(&chunk[..bytes]);
            if let Some(status) = whole_answer(&answer)? {
                return Ok(status);
            }
            if bytes == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    match exchange().map_err(Failure::io("post a marked report"))? {
        200 => Ok(()),
        status => Err(Failure::measurement(format!("a marked report was answered {status}"))),
    }
}
