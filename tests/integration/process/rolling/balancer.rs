//! A load balancer in front of two APIs: keep-alive connections with a steady rate of webhooks.
//!
//! Each connection has one thread and one blocking socket, because this leaves the services the most CPU time.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::process::program::report;
use crate::support::{DEADLINE, TOKEN};

/// One API, as the load balancer sees it.
pub(super) struct Backend {
    address: SocketAddr,
    /// Webhooks that the API has accepted.
    pub(super) answered: AtomicUsize,
    /// The API has begun its shutdown. From now on every response must close its connection.
    pub(super) stopping: AtomicBool,
}

impl Backend {
    pub(super) fn new(address: SocketAddr) -> Arc<Self> {
        Arc::new(Self { address, answered: AtomicUsize::new(0), stopping: AtomicBool::new(false) })
    }
}

/// What happened to the requests and the connections.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Webhooks with a 200 response.
    pub(super) answered: usize,
    /// Requests without a response, because the API was closing the idle connection. They are retried on another
    /// connection.
    pub(super) repeated: usize,
    /// Connections closed by a response with `Connection: close`.
    pub(super) drained: usize,
    /// Connections that the API closed while they were idle.
    pub(super) closed_idle: usize,
}

impl Counts {
    fn plus(self, other: &Self) -> Self {
        Self {
            answered: self.answered + other.answered,
            repeated: self.repeated + other.repeated,
            drained: self.drained + other.drained,
            closed_idle: self.closed_idle + other.closed_idle,
        }
    }
}

struct Shared {
    /// The APIs for new connections.
    backends: Mutex<[Arc<Backend>; 2]>,
    opened: AtomicUsize,
    number: AtomicUsize,
    answered: AtomicUsize,
    stop: AtomicBool,
}

/// The load, which stops when it is dropped.
pub(super) struct Balancer {
    shared: Arc<Shared>,
    connections: Vec<JoinHandle<Counts>>,
}

impl Balancer {
    /// Sends `rate` webhooks a second over this many connections. Each webhook has its own number.
    pub(super) fn start(rate: usize, connections: usize, backends: [Arc<Backend>; 2]) -> Self {
        let shared = Arc::new(Shared {
            backends: Mutex::new(backends),
            opened: AtomicUsize::new(0),
            number: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let period = Duration::from_secs(1) / u32::try_from(rate).unwrap();
        let start = Instant::now();
        let connection = |index: u32| {
            let shared = Arc::clone(&shared);
            let every = period * u32::try_from(connections).unwrap();
            std::thread::spawn(move || shared.keep_asking(start + period * index, every))
        };
        let connections = (0..u32::try_from(connections).unwrap()).map(connection).collect();
        Self { shared, connections }
    }

    /// Webhooks accepted so far.
    pub(super) fn answered(&self) -> usize {
        self.shared.answered.load(SeqCst)
    }

    /// Sends new connections to `backend` instead of to the API that was at this place.
    pub(super) fn replace(&self, place: usize, backend: &Arc<Backend>) -> Arc<Backend> {
        let mut backends = self.shared.backends.lock().unwrap();
        std::mem::replace(&mut backends[place], Arc::clone(backend))
    }

    /// Stops the load.
    pub(super) fn stop(mut self) -> Counts {
        let counts = self.end().into_iter().map(|ended| ended.expect("the thread has said why"));
        counts.fold(Counts::default(), |sum, counts| sum.plus(&counts))
    }

    fn end(&mut self) -> Vec<std::thread::Result<Counts>> {
        self.shared.stop.store(true, SeqCst);
        self.connections.drain(..).map(JoinHandle::join).collect()
    }
}

impl Drop for Balancer {
    /// If the test has failed, the load stops before the APIs do. Its errors would only distract.
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn connect(&self) -> Connection {
        let place = self.opened.fetch_add(1, SeqCst) % 2;
        let backend = Arc::clone(&self.backends.lock().unwrap()[place]);
        Connection::open(backend)
    }

    /// Sends a webhook at `due` and then once per `every`. Webhooks that are late are sent at once.
    fn keep_asking(&self, mut due: Instant, every: Duration) -> Counts {
        let mut counts = Counts::default();
        let mut connection = self.connect();
        while !self.stop.load(SeqCst) {
            if !connection.idle_until(due) {
                counts.closed_idle += 1;
                connection = self.connect();
                continue;
            }
            due += every;
            let body = report(self.number.fetch_add(1, SeqCst));
            let ended = loop {
                match connection.ask(&body) {
                    Asked::Answered { ended } => break ended,
                    Asked::NotTaken => {
                        counts.repeated += 1;
                        connection = self.connect();
                    }
                }
            };
            counts.answered += 1;
            self.answered.fetch_add(1, SeqCst);
            if ended {
                counts.drained += 1;
                connection = self.connect();
            }
        }
        counts
    }
}

/// How a request ended.
enum Asked {
    /// With 200. The response has also closed the connection if `ended`.
    Answered { ended: bool },
    /// The connection ended without a byte of a response.
    NotTaken,
}

struct Connection {
    stream: TcpStream,
    backend: Arc<Backend>,
}

impl Connection {
    fn open(backend: Arc<Backend>) -> Self {
        let stream = TcpStream::connect(backend.address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, backend }
    }

    /// Waits until `due`. Returns false as soon as the API has closed the connection.
    fn idle_until(&self, due: Instant) -> bool {
        // A late request must also check that the connection is open. A timeout of zero would mean no timeout.
        let wait = due.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
        self.stream.set_read_timeout(Some(wait)).unwrap();
        match self.stream.peek(&mut [0; 1]) {
            Ok(0) => false,
            Ok(_) => panic!("a response without a request"),
            Err(error) if is_timeout(error.kind()) => true,
            Err(error) => panic!("an idle connection was reset: {error}"),
        }
    }

    fn ask(&mut self, body: &str) -> Asked {
        let must_end = self.backend.stopping.load(SeqCst);
        let request = format!(
            "POST /webhooks/niu HTTP/1.1\r\nHost: {}\r\ntoken: {TOKEN}\r\nContent-Length: {}\r\n\r\n{body}",
            self.backend.address,
            body.len()
        );
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        if let Err(error) = self.stream.write_all(request.as_bytes()) {
            assert!(is_reset(error.kind()), "{error}");
            return Asked::NotTaken;
        }
        let Some(answer) = self.answer() else { return Asked::NotTaken };
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        self.backend.answered.fetch_add(1, SeqCst);
        let ended = answer.contains("\r\nconnection: close\r\n");
        assert!(ended || !must_end, "a response after SIGTERM without Connection: close: {answer}");
        if ended {
            let after = self.stream.read(&mut [0; 1]);
            assert_eq!(after.expect("a clean end after Connection: close"), 0);
        }
        Asked::Answered { ended }
    }

    /// A whole response. None if the connection ended before its first byte.
    fn answer(&mut self) -> Option<String> {
        let (mut answer, mut length) = (vec![0; 4096], 0);
        loop {
            let read = match self.stream.read(&mut answer[length..]) {
                Ok(read) => read,
                Err(error) if is_reset(error.kind()) => 0,
                Err(error) => panic!("no response: {error}"),
            };
            let so_far = std::str::from_utf8(&answer[..length]).unwrap();
            if read == 0 {
                assert!(so_far.is_empty(), "half a response: {so_far}");
                return None;
            }
            length += read;
            let so_far = std::str::from_utf8(&answer[..length]).unwrap();
            if whole_length(so_far) == Some(length) {
                return Some(so_far.to_owned());
            }
        }
    }
}

/// The length of the response that begins with `answer`. None until its headers are complete.
fn whole_length(answer: &str) -> Option<usize> {
    let (head, _body) = answer.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    Some(head.len() + 4 + length.unwrap().parse::<usize>().unwrap())
}

fn is_timeout(kind: ErrorKind) -> bool {
    kind == ErrorKind::WouldBlock || kind == ErrorKind::TimedOut
}

fn is_reset(kind: ErrorKind) -> bool {
    kind == ErrorKind::ConnectionReset || kind == ErrorKind::BrokenPipe
}
