//! `health`: asks the running service for its readiness, in containers without a shell or an HTTP client.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::exit::fail;

/// Timeout of connecting, and of each read and write.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the service whose admin listener is at `admin` whether it is ready. The exit status is 1 if it is not.
pub(crate) fn check(admin: SocketAddr) -> ExitCode {
    let address = reachable(admin);
    match status(address) {
        Ok(status) if &status == b"200" => ExitCode::SUCCESS,
        Ok(status) => fail(format!("not ready: the status of /readyz is {}", status.escape_ascii())),
        Err(error) => fail(format!("cannot ask http://{address}/readyz: {error}")),
    }
}

/// The loopback address if the service listens on every address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        one if !one.is_unspecified() => one,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}

fn status(address: SocketAddr) -> io::Result<[u8; 3]> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut start = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut start)?;
    let [.., a, b, c] = start;
    Ok([a, b, c])
}
