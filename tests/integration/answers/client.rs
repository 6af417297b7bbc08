//! An HTTP client for the tests: whole requests, and connections on which a test sends single bytes.

use std::time::Duration;

use md5::{Digest, Md5};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::support::{DEADLINE, TOKEN};

/// The header that authenticates NIU's requests.
pub(crate) const NIU_TOKEN: (&str, &str) = ("token", TOKEN);
/// The content type of Segway's webhooks.
pub(crate) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A response. Reading one fails if it has no UUIDv7 in `x-request-id`.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    headers: Vec<(String, String)>,
}

impl Answer {
    fn new(status: u16, headers: Vec<(String, String)>, body: String) -> Self {
        let answer = Self { status, body, headers };
        assert_eq!(answer.message_id().get_version_num(), 7, "{answer:?}");
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(given, _value)| given == name);
        let (_name, value) = values.next()?;
        assert!(values.next().is_none(), "{name} is there twice");
        Some(value)
    }

    pub(crate) fn message_id(&self) -> Uuid {
        let id = self.header("x-request-id").expect("every response has an id");
        id.parse().expect("the id is a UUID")
    }

    /// Status and name of a refusal. The body must be worded as documented and must not reveal anything else.
    pub(crate) fn refusal(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let body: serde_json::Value = serde_json::from_str(&self.body).expect("a refusal is JSON");
        let members = body.as_object().expect("a refusal is an object");
        let names: Vec<_> = members.keys().map(String::as_str).collect();
        assert_eq!(names, ["detail", "error"]);
        let retry = self.header("retry-after").map(|seconds| seconds.parse::<u64>().unwrap());
        assert_eq!(retry.is_some(), self.status == 503, "{self:?}");
        for internal in ["redis", "127.0.0.1", "secret-", TOKEN, ".rs", "timed out"] {
            assert!(!self.body.to_lowercase().contains(internal), "{self:?}");
        }
        (self.status, members["error"].as_str().unwrap().to_owned())
    }
}

/// Asserts that a refusal has this status and name.
pub(crate) fn assert_refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.refusal(), (status, error.to_owned()));
}

/// Posts `body` to `path`.
pub(crate) async fn post(
    api: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Answer {
    send(Method::POST, api, path, headers, body).await
}

/// Posts `body` as NIU.
pub(crate) async fn post_niu(api: &str, body: impl Into<Vec<u8>>) -> Answer {
    post(api, "/webhooks/niu", &[NIU_TOKEN], body).await
}

/// Posts a signed form as Segway.
pub(crate) async fn post_segway(api: &str, form: &str) -> Answer {
    let body = signed(form, crate::support::SEGWAY_SECRET);
    post(api, "/webhooks/segway/vehicle/status", &[FORM], body).await
}

/// Sends any request on a new connection.
pub(crate) async fn send(
    method: Method,
    api: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Answer {
    let client = reqwest::Client::builder().timeout(DEADLINE).build().unwrap();
    let mut request = client.request(method, format!("{api}{path}")).body(body.into());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
    };
    let headers = response.headers().iter().map(text).collect();
    Answer::new(status, headers, response.text().await.unwrap())
}

/// Signs a form as Segway does. The values are plain text and the parameters are in order.
pub(crate) fn signed(form: &str, secret: &str) -> String {
    let mut parameters: Vec<_> = form.split('&').collect();
    parameters.sort_unstable();
    let text = format!("{}&client_secret={secret}", parameters.join("&"));
    let digest = Md5::digest(text);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{form}&signature={hex}")
}

/// The request line and headers of a request.
pub(crate) fn head(target: &str, headers: &[(&str, &str)]) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("POST {target} HTTP/1.1\r\nhost: fleet\r\n{lines}\r\n")
}

/// A connection on which a test sends bytes one part at a time.
pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(crate) async fn open(api: &str) -> Self {
        let address = api.strip_prefix("http://").unwrap();
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends bytes to a server that may have closed the connection.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _closed = self.0.write_all(bytes.as_ref()).await;
    }

    /// Reads the next response. The connection may stay open.
    pub(crate) async fn answer(&mut self) -> Answer {
        let (status, headers) = self.answer_head().await;
        let length = headers.iter().find(|(name, _value)| name == "content-length");
        let length = length.map_or(0, |(_name, value)| value.parse().unwrap());
        let mut body = vec![0; length];
        within(self.0.read_exact(&mut body)).await.unwrap();
        Answer::new(status, headers, String::from_utf8(body).unwrap())
    }

    /// Waits until the server has begun to read the body of a request with `Expect: 100-continue`.
    pub(crate) async fn continued(&mut self) {
        assert_eq!(self.answer_head().await.0, 100);
    }

    /// Everything that the server sends until it closes the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        within(self.0.read_to_end(&mut rest)).await.unwrap();
        rest
    }

    /// Everything that the server has sent until it closed or reset the connection.
    pub(crate) async fn rest_or_cut(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _cut = within(self.0.read_to_end(&mut rest)).await;
        rest
    }

    async fn answer_head(&mut self) -> (u16, Vec<(String, String)>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = within(self.0.read_u8()).await;
            head.push(byte.unwrap_or_else(|_| panic!("closed after {:?}", String::from_utf8_lossy(&head))));
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        (status, lines.map(header).collect())
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    let limit: Duration = DEADLINE;
    tokio::time::timeout(limit, future).await.expect("the server answers or closes")
}
