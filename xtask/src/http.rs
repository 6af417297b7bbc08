//! As much HTTP as it takes to ask a process for its health and its metrics.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Bounds connecting, and each read and write.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status, such as 200.
    pub(crate) status: u16,
    /// Everything after its head.
    pub(crate) body: String,
}

/// Whether a GET of `path` on this loopback port is answered with 200.
pub(crate) fn is_ok(port: u16, path: &str) -> bool {
    get(port, path, TIMEOUT).is_ok_and(|answer| answer.status == 200)
}

/// GETs `path` from this loopback port on a connection of its own; `timeout` bounds connecting, and each read and write.
pub(crate) fn get(port: u16, path: &str, timeout: Duration) -> io::Result<Answer> {
    ask(port, &format!("GET {path}"), "", "", timeout)
}

/// POSTs `body` with one more header, such as `token: x`.
pub(crate) fn post(port: u16, path: &str, header: &str, body: &str) -> io::Result<Answer> {
    let headers = format!("{header}\r\nContent-Length: {}\r\n", body.len());
    ask(port, &format!("POST {path}"), &headers, body, TIMEOUT)
}

fn ask(port: u16, request: &str, headers: &str, body: &str, timeout: Duration) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}Connection: close\r\n\r\n{body}"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let malformed = || io::Error::other("the answer is not HTTP");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
    Ok(Answer { status, body: body.to_owned() })
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
                let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
                request
            });
            assert_eq!(is_ok(port, "/readyz"), ready);
            assert_eq!(server.join().unwrap(), "GET /readyz HTTP/1.1");
        }
    }
}
