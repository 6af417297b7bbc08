//! Measures the time from a report's 200 until it is visible in `vehicle_positions`.

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

/// The pause between two queries. A query itself takes a few hundred microseconds more.
const QUERY_AGAIN_AFTER: Duration = Duration::from_micros(200);

/// The run fails if a report takes longer.
const VISIBLE_WITHIN: Duration = Duration::from_mins(2);

/// The numbers of the marked vehicles begin here. No load uses them.
const FIRST_MARKED: u32 = 9_000_000;
const MARKED: u32 = 1_000;

/// What to measure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Freshness {
    pub(crate) target: SocketAddr,
    pub(crate) database_url: String,
    /// The providers in turn, one vehicle at a time.
    pub(crate) providers: Vec<Provider>,
    pub(crate) end: End,
}

/// The results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Milliseconds from the response until the report is visible.
    pub(crate) all: Latency,
    /// The same for each provider.
    pub(crate) by_provider: BTreeMap<String, Latency>,
    /// The number of reports measured.
    pub(crate) samples: u64,
    /// The average time between two queries, ms.
    pub(crate) look_ms: f64,
}

/// Posts a marked vehicle's report, queries until it is visible, and repeats.
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
                return Err(Failure::measurement(format!(
                    "the report of {slug}'s {id} did not become visible in time"
                )));
            }
            thread::sleep(QUERY_AGAIN_AFTER);
        }
        let took = answered.elapsed();
        looking += took;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        all.saturating_record(micros);
        histograms.entry(slug).or_insert_with(Latency::histogram).saturating_record(micros);
        // A random pause, so that the posts are not synchronized with the consumer's own cycle.
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

/// Returns a function that tells whether the measurement is over.
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

/// Posts on a new connection, because the API may have closed an idle one while a report became visible.
pub(crate) fn post(target: SocketAddr, request: &[u8]) -> Result<(), Failure> {
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
        status => Err(Failure::measurement(format!("a marked report got the status {status}"))),
    }
}
