//! A proxy between a client and a server that can close connections or discard all traffic.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::Error;

/// A TCP proxy from its own loopback port to another loopback port. Dropping it closes its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    passed_bytes: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// The target of new connections.
    target: SocketAddr,
    /// Whether all traffic is held back.
    is_black_hole: bool,
    /// The addresses of clients whose traffic is held back.
    blocked: HashSet<IpAddr>,
    is_dropped: bool,
    next_id: u64,
    connections: HashMap<u64, [TcpStream; 2]>,
}

impl Proxy {
    /// Listens on a free port and forwards connections to `target_port`, which need not be open yet.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is no free port.
    pub fn start(target_port: u16) -> Result<Self, Error> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("bind a proxy's port"))?;
        let port = listener.local_addr().map_err(Error::io("read a proxy's port"))?.port();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                target: loopback(target_port),
                is_black_hole: false,
                blocked: HashSet::new(),
                is_dropped: false,
                next_id: 0,
                connections: HashMap::new(),
            }),
            changed: Condvar::new(),
            passed_bytes: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Ok(Self { port, shared })
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of bytes that were forwarded so far, in both directions.
    #[must_use]
    pub fn passed_bytes(&self) -> u64 {
        self.shared.passed_bytes.load(Ordering::Relaxed)
    }

    /// Forwards new connections to another port. Open connections keep their target, as behind the address of
    /// a managed server after a failover.
    pub fn retarget(&self, target_port: u16) {
        self.shared.state().target = loopback(target_port);
    }

    /// Closes every connection. New ones are accepted.
    pub fn cut(&self) {
        self.shared.state().cut();
    }

    /// Holds back all traffic in both directions. Connections stay open, and new ones are accepted without a
    /// response.
    pub fn black_hole(&self) {
        self.shared.state().is_black_hole = true;
    }

    /// Like [`Proxy::black_hole`], only for connections from these addresses.
    pub fn block(&self, sources: &[Ipv4Addr]) {
        self.shared.state().blocked.extend(sources.iter().copied().map(IpAddr::V4));
    }

    /// Ends [`Proxy::block`].
    pub fn unblock(&self) {
        self.shared.state().blocked.clear();
        self.shared.changed.notify_all();
    }

    /// Ends [`Proxy::black_hole`]. Data sent meanwhile arrives now, as TCP retransmits it.
    pub fn heal(&self) {
        self.shared.state().is_black_hole = false;
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_dropped = true;
        state.cut();
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the accepting thread, which then sees that the proxy is closed.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

impl State {
    fn cut(&mut self) {
        for stream in self.connections.drain().flat_map(|(_, ends)| ends) {
            // Fails if the connection is already closed, which is fine.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until traffic of a client may pass. Returns false if the proxy is closed.
    fn wait_open(&self, client: IpAddr) -> bool {
        let mut state = self.state();
        while (state.is_black_hole || state.blocked.contains(&client)) && !state.is_dropped {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.is_dropped
    }

    /// Returns whether the other end took the bytes.
    fn forward(&self, bytes: &[u8], to: &mut TcpStream) -> bool {
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.passed_bytes.fetch_add(count, Ordering::Relaxed);
        to.write_all(bytes).is_ok()
    }

    fn register(&self, ends: [TcpStream; 2]) -> u64 {
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        state.connections.insert(id, ends);
        id
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.state().is_dropped {
            return;
        }
        let shared = Arc::clone(shared);
        if let Ok(client) = client {
            // If the server is unreachable, dropping the stream closes the client's connection.
            thread::spawn(move || drop(serve(client, &shared)));
        }
    }
}

fn serve(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let source = client.peer_addr()?.ip();
    if !shared.wait_open(source) {
        return Ok(());
    }
    let target = shared.state().target;
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let id = shared.register([client.try_clone()?, server.try_clone()?]);
    let back = {
        let (from, to, shared) = (server.try_clone()?, client.try_clone()?, Arc::clone(shared));
        thread::spawn(move || pass(from, to, source, &shared))
    };
    pass(client, server, source, shared);
    drop(back.join());
    shared.state().connections.remove(&id);
    Ok(())
}

/// Forwards bytes in one direction until either end closes, then closes both.
fn pass(mut from: TcpStream, mut to: TcpStream, source: IpAddr, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let passed = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => shared.wait_open(source) && shared.forward(&buffer[..length], &mut to),
        };
        if !passed {
            break;
        }
    }
    // Fails if the connection is already closed, which is fine.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A server that echoes every byte until the test ends.
    fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || io::copy(&mut stream.try_clone().unwrap(), &mut stream));
            }
        });
        port
    }

    fn client(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    }

    fn answers(stream: &mut TcpStream) -> io::Result<bool> {
        stream.write_all(b"x")?;
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        Ok(byte == *b"x")
    }

    #[test]
    fn a_cut_closes_connections_and_lets_new_ones_through() {
        let proxy = Proxy::start(echo()).unwrap();
        let mut stream = client(&proxy);
        assert!(answers(&mut stream).unwrap());
        proxy.cut();
        assert!(answers(&mut stream).is_err());
        assert!(answers(&mut client(&proxy)).unwrap());
    }

    #[test]
    fn a_black_hole_swallows_until_it_is_healed() {
        let proxy = Proxy::start(echo()).unwrap();
        let mut old = client(&proxy);
        assert!(answers(&mut old).unwrap());
        proxy.black_hole();
        let mut new = client(&proxy);
        for stream in [&mut old, &mut new] {
            stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let error = answers(stream).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        proxy.heal();
        for stream in [&mut old, &mut new] {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            assert_eq!(byte, *b"x");
        }
    }

    #[test]
    fn only_new_connections_go_to_a_new_target() {
        let proxy = Proxy::start(echo()).unwrap();
        let mut old = client(&proxy);
        assert!(answers(&mut old).unwrap());
        proxy.retarget(crate::free_port().unwrap());
        assert!(answers(&mut client(&proxy)).is_err(), "the server is gone");
        assert!(answers(&mut old).unwrap());
    }

    #[test]
    fn a_missing_server_hangs_up() {
        let port = crate::free_port().unwrap();
        let proxy = Proxy::start(port).unwrap();
        assert!(answers(&mut client(&proxy)).is_err());
    }
}
