//! Posts requests, and retries them with the same bytes on 503 or without a response.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::mpsc::Receiver;
use uuid::Uuid;

use crate::counts::{Counts, bump};
use crate::error::Error;
use crate::record::Record;
use crate::wire::{Expect, Webhook};

/// The maximum `Retry-After` of the API that is respected.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(2);
/// The pause between attempts if the API sends no `Retry-After`.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_millis(250);
/// The timeout of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// One of the run's connections. Clones share everything.
#[derive(Clone, Debug)]
pub struct Sender {
    client: Client,
    api: String,
    retry_for: Duration,
    counts: Arc<Counts>,
    record: Arc<Mutex<Record>>,
}

enum Answer {
    /// Acknowledged. The API received it at this time, epoch ms.
    Accepted(i64),
    Unauthorized,
    /// Retry after this time.
    Again(Duration),
    /// Unexpected; do not retry.
    Other,
}

impl Sender {
    /// A client for the API at `api`, a base URL.
    ///
    /// # Errors
    ///
    /// If the HTTP client cannot be built.
    pub fn new(
        api: &str,
        retry_for: Duration,
        counts: Arc<Counts>,
        record: Arc<Mutex<Record>>,
    ) -> Result<Self, Error> {
        let client =
            Client::builder().no_proxy().timeout(ATTEMPT_TIMEOUT).build().map_err(Error::HttpClient)?;
        Ok(Self { client, api: api.trim_end_matches('/').to_owned(), retry_for, counts, record })
    }

    /// Sends requests until the queue is closed and empty.
    pub async fn drain(self, queue: Arc<AsyncMutex<Receiver<Arc<Webhook>>>>) {
        loop {
            let webhook = queue.lock().await.recv().await;
            match webhook {
                Some(webhook) => self.deliver(&webhook).await,
                None => return,
            }
        }
    }

    async fn deliver(&self, webhook: &Webhook) {
        bump(&self.counts.posted);
        let deadline = Instant::now() + self.retry_for;
        let mut doubtful = 0;
        loop {
            match (self.attempt(webhook).await, webhook.expect) {
                (Answer::Accepted(received_ms), Expect::Accepted) => {
                    self.record().acknowledge(webhook, doubtful, received_ms);
                    return bump(&self.counts.answered_200);
                }
                (Answer::Unauthorized, Expect::Refused) => {
                    self.record().refuse(webhook);
                    return bump(&self.counts.refused_401);
                }
                (Answer::Again(_), _) if Instant::now() >= deadline => {
                    return bump(&self.counts.unacknowledged);
                }
                (Answer::Again(pause), _) => {
                    // The API may have queued it although the response was lost: at-least-once delivery.
                    doubtful += 1;
                    bump(&self.counts.retried);
                    tokio::time::sleep(pause).await;
                }
                (Answer::Accepted(_), Expect::Refused)
                | (Answer::Unauthorized, Expect::Accepted)
                | (Answer::Other, _) => return bump(&self.counts.answered_other),
            }
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn attempt(&self, webhook: &Webhook) -> Answer {
        let url = format!("{}{}", self.api, webhook.path);
        let mut request = self.client.post(url).header(CONTENT_TYPE, webhook.content_type);
        if let Some((header, value)) = &webhook.credential {
            request = request.header(*header, value);
        }
        let started = Instant::now();
        let Ok(response) = request.body(webhook.body.clone()).send().await else {
            return Answer::Again(RETRY_AFTER_DEFAULT);
        };
        let (status, pause) = (response.status(), retry_after(&response));
        let received_ms = received_ms(&response);
        // The body must be read to its end, or the connection cannot be reused.
        if response.bytes().await.is_err() && status.is_success() {
            return Answer::Again(RETRY_AFTER_DEFAULT);
        }
        self.counts.answer_times.observe(started.elapsed());
        match status {
            StatusCode::OK => received_ms.map_or(Answer::Other, Answer::Accepted),
            StatusCode::UNAUTHORIZED => Answer::Unauthorized,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Answer::Again(pause),
            status if status.is_server_error() => Answer::Again(pause),
            _ => Answer::Other,
        }
    }
}

/// When the API received the request, taken from the message id, a UUIDv7.
fn received_ms(response: &Response) -> Option<i64> {
    let id: Uuid = response.headers().get("x-request-id")?.to_str().ok()?.parse().ok()?;
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    i64::try_from(seconds * 1_000 + u64::from(nanoseconds / 1_000_000)).ok()
}

fn retry_after(response: &Response) -> Duration {
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(RETRY_AFTER_DEFAULT, Duration::from_secs).min(MAX_RETRY_AFTER)
}
