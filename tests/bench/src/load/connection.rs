//! A keep-alive connection with at most one request in flight.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// Large enough for any response to a webhook.
const ANSWER_BYTES: usize = 4096;

/// The end of a chunked body, with the line end before it.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// A connection and its request.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    written: usize,
    answer: Vec<u8>,
    /// When the request should have been sent.
    pub(super) due: Instant,
    /// Reports in the request.
    pub(super) reports: u64,
    /// Whether a request is in flight.
    pub(super) is_busy: bool,
}

/// What happened on a readable or writable connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing yet.
    Waiting,
    /// A complete response with this status.
    Answered(u16),
    /// The server closed it before the first byte of a response.
    Closed,
}

impl Connection {
    pub(super) fn connect(target: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            stream: connect(target)?,
            request: Vec::new(),
            written: 0,
            answer: Vec::with_capacity(ANSWER_BYTES),
            due: Instant::now(),
            reports: 0,
            is_busy: false,
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Replaces a connection that the server closed, and keeps its request.
    pub(super) fn reconnect(&mut self, target: SocketAddr) -> io::Result<()> {
        self.stream = connect(target)?;
        self.written = 0;
        self.answer.clear();
        Ok(())
    }

    /// Starts a request.
    pub(super) fn send(&mut self, request: Vec<u8>, reports: u64, due: Instant) -> io::Result<()> {
        (self.request, self.reports, self.due) = (request, reports, due);
        self.is_busy = true;
        self.send_again()
    }

    /// Starts the last request again.
    pub(super) fn send_again(&mut self) -> io::Result<()> {
        self.written = 0;
        self.answer.clear();
        self.write()
    }

    /// Continues the request in flight. Reads by way of `chunk`.
    pub(super) fn advance(&mut self, chunk: &mut [u8]) -> io::Result<Progress> {
        match self.write().and_then(|()| self.read(chunk)) {
            Err(error) if is_closed(&error) && self.answer.is_empty() => Ok(Progress::Closed),
            progress => progress,
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while self.written < self.request.len() {
            match self.stream.write(&self.request[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, chunk: &mut [u8]) -> io::Result<Progress> {
        loop {
            match self.stream.read(chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => self.answer.extend_from_slice(&chunk[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Waiting),
                Err(error) => return Err(error),
            }
            // There is only one request, so nothing follows a complete response.
            if let Some(status) = whole_answer(&self.answer)? {
                return Ok(Progress::Answered(status));
            }
        }
    }
}

fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// The status of a response, if it is complete with its body.
pub(crate) fn whole_answer(bytes: &[u8]) -> io::Result<Option<u16>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    let httparse::Status::Complete(head_bytes) = parsed else { return Ok(None) };
    let header = |name: &str| {
        let header = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let is_whole = if header("transfer-encoding") == Some("chunked") {
        // JSON has no such line end, so that only the last chunk looks like this.
        bytes.ends_with(LAST_CHUNK)
    } else {
        let length = header("content-length").and_then(|text| text.parse::<usize>().ok());
        let body_bytes = length.ok_or_else(|| io::Error::other("a response has no length"))?;
        bytes.len() >= head_bytes + body_bytes
    };
    Ok(is_whole.then_some(answer.code.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::whole_answer;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";
        for end in 0..answer.len() {
            assert_eq!(whole_answer(&answer[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(whole_answer(answer).unwrap(), Some(503));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        for end in 0..chunked.len() {
            assert_eq!(whole_answer(&chunked[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(whole_answer(chunked).unwrap(), Some(200));
        assert!(whole_answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(whole_answer(b"nonsense\r\n\r\n").is_err());
    }
}
