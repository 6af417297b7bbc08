//! As much HTTP as it takes to ask whether a process is ready.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Whether `/readyz` is answered with 200.
pub(crate) fn is_ready(admin: SocketAddr) -> bool {
    status_line(admin).is_ok_and(|line| line.starts_with(b"HTTP/1.1 200"))
}

fn status_line(admin: SocketAddr) -> io::Result<[u8; 12]> {
    let timeout = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&admin, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
    let mut line = [0; 12];
    stream.read_exact(&mut line)?;
    Ok(line)
}
