//! HTTP requests to a program under test: health, metrics, webhooks.

use std::io;
use std::time::Duration;

use ureq::Agent;

/// The timeout of requests that specify none.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// The API closes connections that were idle for `FLEET_API__HEADER_TIMEOUT`. The client stops reusing a
/// connection before that.
const MAX_IDLE: Duration = Duration::from_secs(3);

/// A response, whatever its status.
#[derive(Debug)]
pub struct Response {
    /// The status, such as 200.
    pub status: u16,
    /// The complete body.
    pub body: String,
}

/// A client with a connection pool, which its clones share.
#[derive(Clone, Debug)]
pub struct Client(Agent);

impl Client {
    /// Creates a client. `timeout` covers a whole request, from connecting to the end of the body.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        let config = Agent::config_builder()
            // A 503 is an ordinary response for these callers.
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            .max_idle_age(MAX_IDLE)
            .max_redirects(0)
            .proxy(None)
            .build();
        Self(config.into())
    }

    /// Sends a GET for `path` to this loopback port.
    ///
    /// # Errors
    ///
    /// If there is no complete response within the timeout.
    pub fn get(&self, port: u16, path: &str) -> io::Result<Response> {
        read(self.0.get(url(port, path)).call())
    }

    /// Posts `body` as JSON with one additional header, a name and a value.
    ///
    /// # Errors
    ///
    /// If there is no complete response within the timeout.
    pub fn post(
        &self,
        port: u16,
        path: &str,
        (name, value): (&str, &str),
        body: &str,
    ) -> io::Result<Response> {
        let request = self.0.post(url(port, path)).header(name, value);
        read(request.header("content-type", "application/json").send(body))
    }
}

/// Whether a GET of `path` on this loopback port returns 200 within `timeout`, on a new connection.
#[must_use]
pub fn is_ok(port: u16, path: &str, timeout: Duration) -> bool {
    get(port, path, timeout).is_ok_and(|response| response.status == 200)
}

/// Sends a GET for `path` to this loopback port, on a new connection.
///
/// # Errors
///
/// If there is no complete response within the timeout.
pub fn get(port: u16, path: &str, timeout: Duration) -> io::Result<Response> {
    Client::new(timeout).get(port, path)
}

fn url(port: u16, path: &str) -> String {
    format!("http://127.0.0.1:{port}{path}")
}

fn read(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> io::Result<Response> {
    let mut response = response.map_err(ureq::Error::into_io)?;
    let body = response.body_mut().read_to_string().map_err(ureq::Error::into_io)?;
    Ok(Response { status: response.status().as_u16(), body })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::{Client, TIMEOUT, is_ok};

    /// Serves these responses, on one connection each or all on one, and returns the request lines.
    fn serve(responses: [&'static str; 2], share_connection: bool) -> (u16, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let mut lines = Vec::new();
            let mut open = None;
            for response in responses {
                let mut reader = match open.take() {
                    Some(reader) if share_connection => reader,
                    _ => BufReader::new(listener.accept().unwrap().0),
                };
                lines.push(read_request(&mut reader));
                write!(reader.get_mut(), "HTTP/1.1 {response}").unwrap();
                open = Some(reader);
            }
            lines
        });
        (port, server)
    }

    fn read_request(reader: &mut impl BufRead) -> String {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim_end().is_empty() {
                break;
            }
            lines.push(line.trim_end().to_ascii_lowercase());
        }
        let length = lines.iter().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body).unwrap();
        lines.swap_remove(0)
    }

    #[test]
    fn only_200_is_ok() {
        let responses =
            ["200 OK\r\ncontent-length: 0\r\n\r\n", "503 Unavailable\r\ncontent-length: 0\r\n\r\n"];
        let (port, server) = serve(responses, false);
        assert!(is_ok(port, "/readyz", TIMEOUT));
        assert!(!is_ok(port, "/readyz", TIMEOUT));
        assert_eq!(server.join().unwrap(), ["get /readyz http/1.1"; 2]);
        assert!(!is_ok(port, "/readyz", TIMEOUT), "the server is gone");
    }

    #[test]
    fn one_connection_serves_several_webhooks() {
        let responses = ["200 OK\r\ncontent-length: 2\r\n\r\nok", "503 Busy\r\nContent-Length: 0\r\n\r\n"];
        let (port, server) = serve(responses, true);
        let client = Client::new(TIMEOUT);
        let post = || client.post(port, "/webhooks/niu", ("token", "t"), "[1]");
        let first = post().unwrap();
        assert_eq!((first.status, first.body.as_str()), (200, "ok"));
        assert_eq!(post().unwrap().status, 503);
        assert_eq!(server.join().unwrap(), ["post /webhooks/niu http/1.1"; 2]);
        assert!(post().is_err());
    }
}
