//! Unauthenticated clients that try to exhaust the API, and honest senders that use new connections
//! meanwhile.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fleet_runtime::open_files::allow_open_files;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::load::Latency;
use crate::provider::{Provider, Status};

/// What the attackers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Shape {
    /// Nothing.
    Idle,
    /// Incomplete request headers, as large as the API reads.
    HalfHeads,
    /// Unsigned bodies, one byte at a time.
    SlowBodies,
    /// Unsigned bodies that stop one byte before their end.
    StoppedBodies,
    /// Unsigned forms with many parameters, one request after another.
    ManyParameters,
    /// Unsigned bodies of the maximum size, one request after another.
    LargeForms,
}

/// Attackers that run until standard input ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Flood {
    /// The address to attack.
    pub(crate) target: SocketAddr,
    /// What they send.
    pub(crate) shape: Shape,
    /// The number of attackers. Each has one connection and opens another one when it is closed.
    pub(crate) attackers: usize,
}

/// Senders of honest webhooks, each on a new connection, until standard input ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Newcomers {
    /// The address to send to.
    pub(crate) target: SocketAddr,
    /// Webhooks a second for each provider.
    pub(crate) per_second: f64,
}

/// The outcomes of the honest webhooks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Welcomed {
    /// Responses by status. 0 stands for no response.
    pub(crate) answers: BTreeMap<u16, u64>,
    /// The time from before the connection is opened to the response.
    pub(crate) latency: Latency,
}

/// The pause between two bytes of a slow body.
const DRIP: Duration = Duration::from_millis(200);

/// How long an attacker waits after its connection was closed. Even so, ten thousand attackers open thousands
/// of connections a second.
const COMES_BACK_AFTER: Duration = Duration::from_secs(2);

/// The timeout of an honest sender.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Shape {
    /// The bytes that a connection starts with.
    fn beginning(self) -> Vec<u8> {
        let head = |length: usize| {
            format!(
                "POST /webhooks/segway/vehicle/status HTTP/1.1\r\nhost: f\r\n\
                 content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n"
            )
        };
        let text = match self {
            Self::Idle => String::new(),
            Self::HalfHeads => format!("POST /webhooks/niu HTTP/1.1\r\nhost: f\r\nx: {}", "y".repeat(15_000)),
            Self::SlowBodies => head(1_000),
            Self::StoppedBodies => head(16 * 1024) + &"x".repeat(16 * 1024 - 1),
            Self::ManyParameters => {
                let form = "a=1&".repeat(16 * 1024 / 4);
                head(form.len()) + &form
            }
            Self::LargeForms => {
                let form = format!("iotCode=1&signature={}&x={}", "0".repeat(32), "y".repeat(16_000));
                head(form.len()) + &form
            }
        };
        text.into_bytes()
    }

    /// How long an attacker waits between two connections.
    fn pause(self) -> Duration {
        match self {
            Self::ManyParameters | Self::LargeForms => Duration::ZERO,
            Self::Idle | Self::HalfHeads | Self::SlowBodies | Self::StoppedBodies => COMES_BACK_AFTER,
        }
    }

    fn drips(self) -> bool {
        self == Self::SlowBodies
    }
}

/// Attacks until standard input ends. Returns the number of connections made.
pub(crate) fn attack(flood: &Flood) -> Result<u64, Failure> {
    let files = u64::try_from(flood.attackers).unwrap_or(u64::MAX).saturating_add(64);
    allow_open_files(files).map_err(|error| Failure::measurement(error.to_string()))?;
    crate::runtime::current_thread()?.block_on(async {
        let mut attackers = JoinSet::new();
        let beginning: Arc<[u8]> = flood.shape.beginning().into();
        let made = Arc::new(AtomicU64::new(0));
        for _ in 0..flood.attackers {
            let (flood, beginning, made) = (flood.clone(), Arc::clone(&beginning), Arc::clone(&made));
            attackers.spawn(async move {
                loop {
                    if let Ok(stream) = TcpStream::connect(flood.target).await {
                        made.fetch_add(1, Ordering::Relaxed);
                        let _closed = bother(stream, flood.shape, &beginning).await;
                    }
                    tokio::time::sleep(flood.shape.pause()).await;
                }
            });
        }
        stdin_closes().await;
        Ok(made.load(Ordering::Relaxed))
    })
}

async fn bother(mut stream: TcpStream, shape: Shape, beginning: &[u8]) -> std::io::Result<()> {
    let mut answer = vec![0; 4096];
    stream.write_all(beginning).await?;
    loop {
        tokio::select! {
            read = stream.read(&mut answer) => {
                if read? == 0 {
                    return Ok(());
                }
            }
            () = tokio::time::sleep(DRIP), if shape.drips() => stream.write_all(b"x").await?,
        }
    }
}

/// Posts until standard input ends.
pub(crate) fn newcomers(newcomers: &Newcomers) -> Result<Welcomed, Failure> {
    crate::runtime::current_thread()?.block_on(async {
        let mut senders = JoinSet::new();
        let stopping = Arc::new(AtomicBool::new(false));
        for provider in Provider::ALL {
            senders.spawn(send(provider, newcomers.clone(), Arc::clone(&stopping)));
        }
        stdin_closes().await;
        stopping.store(true, Ordering::Relaxed);
        let (mut answers, mut latency) = (BTreeMap::new(), Latency::histogram());
        while let Some(sent) = senders.join_next().await {
            let (own, micros) = sent.map_err(|_panicked| Failure::measurement("a sender panicked"))?;
            own.into_iter().for_each(|(status, count)| *answers.entry(status).or_default() += count);
            // Fails only for different bounds, and these are equal.
            let _added = latency.add(&micros);
        }
        Ok(Welcomed { answers, latency: Latency::of(&latency) })
    })
}

/// Sends each webhook when it is due, whether or not earlier ones got a response.
async fn send(
    provider: Provider,
    newcomers: Newcomers,
    stopping: Arc<AtomicBool>,
) -> (BTreeMap<u16, u64>, Histogram<u64>) {
    let (mut answers, mut latency) = (BTreeMap::new(), Latency::histogram());
    let mut interval = tokio::time::interval(Duration::from_secs_f64(1.0 / newcomers.per_second));
    let mut posts = JoinSet::new();
    let mut vehicle = 0;
    while !stopping.load(Ordering::Relaxed) {
        let due = interval.tick().await;
        vehicle = (vehicle + 1) % 1_000;
        let at_ms = jiff::Timestamp::now().as_millisecond();
        let request = provider.request(&provider.body(Status { vehicle, at_ms }));
        posts.spawn(async move {
            let asked = tokio::time::timeout(TIMEOUT, post(newcomers.target, &request)).await;
            (asked.ok().and_then(Result::ok).unwrap_or(0), due.elapsed())
        });
    }
    while let Some(posted) = posts.join_next().await {
        let Ok((status, took)) = posted else { continue };
        *answers.entry(status).or_default() += 1;
        latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
    (answers, latency)
}

/// The status of the response.
async fn post(target: SocketAddr, request: &[u8]) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(target).await?;
    stream.write_all(request).await?;
    let mut line = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut line).await?;
    let digits = std::str::from_utf8(&line[9..]).ok().and_then(|text| text.parse().ok());
    Ok(digits.unwrap_or(0))
}

/// Reads on its own thread, because waiting for standard input would block the runtime's tasks.
async fn stdin_closes() {
    let reading = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    // Any result, including an error, means that standard input has ended.
    let _ended = tokio::task::spawn_blocking(reading).await;
}
