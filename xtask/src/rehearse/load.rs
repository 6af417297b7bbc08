//! The providers: a steady load that can be turned up and down, and a bomb.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::wire;

/// Connections that share the steady load, and that throw the bomb.
const CONNECTIONS: u64 = 8;

/// Events in an array of the steady load, and of the bomb.
const EVENTS: u64 = 10;
const BOMB_EVENTS: u64 = 100;

/// One webhook in so many is INVERS', with one event.
const INVERS_EVERY: u64 = 20;

/// Bounds connecting, each read and each write.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The API closes connections that are idle for `FLEET_API__HEADER_TIMEOUT`; none is used that is near it.
const IDLE: Duration = Duration::from_secs(3);

/// Before a webhook is sent again.
const RETRY: Duration = Duration::from_millis(200);

/// How often an idle sender looks for work.
const LOOK: Duration = Duration::from_millis(50);

/// Senders at work until dropped or [`Load::stop`]ped.
pub(super) struct Load {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

/// What the senders share.
struct Shared {
    api_port: u16,
    /// Of the first report, by the vehicles' clocks.
    start: Timestamp,
    /// Steady events a second, in thousandths.
    milli_rate: AtomicU64,
    /// The bomb's events that nobody has taken on yet.
    bomb_left: AtomicU64,
    /// The bomb's events that were answered 200.
    bomb_accepted: AtomicU64,
    /// All events that were answered 200.
    accepted: AtomicU64,
    /// Webhooks of the steady load, and when the next one is due.
    webhooks: AtomicU64,
    next_slot: Mutex<Instant>,
    /// The next reports' numbers.
    next_niu: AtomicU64,
    next_invers: AtomicU64,
    refused: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    /// Starts the senders; nothing is sent yet.
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

    /// Steady events a second from now on.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates; a rate is positive"
    )]
    pub(super) fn set_rate(&self, events_per_second: f64) {
        self.shared.milli_rate.store((events_per_second * 1_000.0) as u64, Ordering::Relaxed);
    }

    /// Sends this many events as fast as the API takes them, beside the steady load.
    pub(super) fn throw_bomb(&self, events: u64) {
        self.shared.bomb_left.store(events, Ordering::Relaxed);
    }

    /// How much of the bomb was answered 200.
    pub(super) fn bomb_accepted(&self) -> u64 {
        self.shared.bomb_accepted.load(Ordering::Relaxed)
    }

    /// Webhooks that had to be sent again.
    pub(super) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Ends the senders, each once its webhook is answered; the events answered 200.
    pub(super) fn stop(&mut self) -> u64 {
        self.join();
        self.shared.accepted.load(Ordering::Relaxed)
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            // A sender has nothing to tell; if it panicked, its events are missing from the count.
            drop(sender.join());
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.join();
    }
}

/// One of the connections that share the steady load.
fn steady(shared: &Shared) {
    let mut connection = None;
    while !shared.is_stopped() {
        let milli_rate = shared.milli_rate.load(Ordering::Relaxed);
        if milli_rate == 0 {
            thread::sleep(LOOK);
            continue;
        }
        let number = shared.webhooks.fetch_add(1, Ordering::Relaxed);
        let events = if number.is_multiple_of(INVERS_EVERY) { 1 } else { EVENTS };
        shared.wait_for_slot(Duration::from_micros(events * 1_000_000_000 / milli_rate));
        if events == 1 {
            let number = shared.next_invers.fetch_add(1, Ordering::Relaxed);
            shared.send_invers(&mut connection, number);
        } else {
            let first = shared.next_niu.fetch_add(events, Ordering::Relaxed);
            shared.send_niu(&mut connection, first, events);
        }
    }
}

/// One connection's share of the bomb.
fn bomb(shared: &Shared) {
    let mut connection = None;
    while !shared.is_stopped() {
        let take = |left: u64| (left > 0).then(|| left.saturating_sub(BOMB_EVENTS));
        match shared.bomb_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(left) => {
                let events = left.min(BOMB_EVENTS);
                let first = shared.next_niu.fetch_add(events, Ordering::Relaxed);
                shared.send_niu(&mut connection, first, events);
                shared.bomb_accepted.fetch_add(events, Ordering::Relaxed);
            }
            Err(_nothing_left) => thread::sleep(LOOK),
        }
    }
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits for the steady load's next turn, which is followed by a `pause`.
    fn wait_for_slot(&self, pause: Duration) {
        let slot = {
            let mut next = self.next_slot.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            // Late ones are not made up for: a slow API would be flooded when it is fast again.
            let slot = (*next).max(now.checked_sub(LOOK).unwrap_or(now));
            *next = slot + pause;
            slot
        };
        thread::sleep(slot.saturating_duration_since(Instant::now()));
    }

    fn send_niu(&self, connection: &mut Option<Connection>, first: u64, events: u64) {
        let header = format!("token: {}", wire::NIU_TOKEN);
        self.send(connection, "niu", &header, &wire::niu(self.start, first, events), events);
    }

    fn send_invers(&self, connection: &mut Option<Connection>, number: u64) {
        let header = format!("authorization: Bearer {}", wire::INVERS_TOKEN);
        self.send(connection, "invers", &header, &wire::invers(self.start, number), 1);
    }

    /// Sends until it is answered 200, as providers do; the same bytes are the same events, however often they arrive.
    fn send(
        &self,
        connection: &mut Option<Connection>,
        provider: &str,
        header: &str,
        body: &str,
        events: u64,
    ) {
        loop {
            let answer = match connection.take().filter(|open| open.used.elapsed() < IDLE) {
                Some(open) => Ok(open),
                None => Connection::open(self.api_port),
            }
            .and_then(|mut open| {
                let status = open.post(&format!("/webhooks/{provider}"), header, body)?;
                *connection = Some(open);
                Ok(status)
            });
            if matches!(answer, Ok(200)) {
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

/// A connection that is used again and again.
struct Connection {
    stream: BufReader<TcpStream>,
    used: Instant,
}

impl Connection {
    fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), used: Instant::now() })
    }

    /// POSTs JSON; the answer's status.
    fn post(&mut self, path: &str, header: &str, body: &str) -> io::Result<u16> {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{header}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut status = None;
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
            } else if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        io::copy(&mut self.stream.by_ref().take(length), &mut io::sink())?;
        self.used = Instant::now();
        status.ok_or_else(|| io::Error::other("the answer is not HTTP"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::Connection;

    #[test]
    fn one_connection_serves_several_webhooks() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            for answer in ["200 OK\r\ncontent-length: 2\r\n\r\nok", "503 Busy\r\nContent-Length: 0\r\n\r\n"] {
                let mut request = Vec::new();
                while !request.ends_with(b"[1]") {
                    let mut byte = [0];
                    reader.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                }
                reader.get_mut().write_all(format!("HTTP/1.1 {answer}").as_bytes()).unwrap();
            }
        });
        let mut connection = Connection::open(port).unwrap();
        assert_eq!(connection.post("/webhooks/niu", "token: t", "[1]").unwrap(), 200);
        assert_eq!(connection.post("/webhooks/niu", "token: t", "[1]").unwrap(), 503);
        server.join().unwrap();
        assert!(connection.post("/webhooks/niu", "token: t", "[1]").is_err());
    }
}
