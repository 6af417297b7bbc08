//! As much HTTP as it takes to ask whether a process is ready.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Bounds connecting, and each read and write.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Whether a GET of `path` on this loopback port is answered with 200.
pub(crate) fn is_ok(port: u16, path: &str) -> bool {
    status_line(port, path).is_ok_and(|line| line.starts_with(b"HTTP/1.1 200"))
}

fn status_line(port: u16, path: &str) -> io::Result<[u8; 12]> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    let mut line = [0; 12];
    stream.read_exact(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::is_ok;

    #[test]
    fn only_200_is_ready() {
        for (answer, ready) in [("200 OK", true), ("503 Service Unavailable", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let request = BufReader::new(stream.try_clone().unwrap()).lines().next().unwrap().unwrap();
                // In one piece: the client hangs up as soon as it has seen the status.
                let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
                request
            });
            assert_eq!(is_ok(port, "/readyz"), ready);
            assert_eq!(server.join().unwrap(), "GET /readyz HTTP/1.1");
        }
    }
}
