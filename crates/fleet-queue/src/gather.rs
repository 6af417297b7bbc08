//! Asks several servers at the same time.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::error::QueueError;

/// The answers of several servers, each with its place among those asked, and the failures.
pub(crate) struct Answers<T> {
    pub(crate) good: Vec<(usize, T)>,
    pub(crate) failed: Vec<(usize, QueueError)>,
}

/// Runs all questions at the same time. After the first answer it waits for the others only this much longer, so that a
/// server that swallows packets delays nothing. Without an answer it waits until all have failed; the caller bounds the time.
pub(crate) async fn gather<T: Send + 'static>(
    questions: impl IntoIterator<Item = impl Future<Output = Result<T, QueueError>> + Send + 'static>,
    grace: Duration,
) -> Answers<T> {
    let mut asked = JoinSet::new();
    for (place, question) in questions.into_iter().enumerate() {
        asked.spawn(async move { (place, question.await) });
    }
    let mut answers = Answers { good: Vec::new(), failed: Vec::new() };
    let mut enough = None;
    loop {
        let joined = match enough {
            None => asked.join_next().await,
            Some(at) => tokio::select! {
                biased;
                joined = asked.join_next() => joined,
                () = sleep_until(at) => None,
            },
        };
        match joined {
            Some(Ok((place, Ok(answer)))) => {
                answers.good.push((place, answer));
                enough.get_or_insert_with(|| Instant::now() + grace);
            }
            Some(Ok((place, Err(error)))) => answers.failed.push((place, error)),
            // A question never panics, and is aborted only with this set.
            Some(Err(_ended)) => {}
            None => break,
        }
    }
    answers.good.sort_by_key(|(place, _answer)| *place);
    answers.failed.sort_by_key(|(place, _error)| *place);
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(after_ms: u64, answer: Option<u8>) -> Result<u8, QueueError> {
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        answer.ok_or_else(|| QueueError::Connection("refused".to_owned()))
    }

    #[tokio::test]
    async fn a_silent_server_delays_nothing() {
        let asked = [answer(600_000, Some(1)), answer(20, Some(2)), answer(0, None), answer(0, Some(4))];
        let answers = gather(asked, Duration::from_secs(1)).await;
        assert_eq!(answers.good, [(1, 2), (3, 4)]);
        assert_eq!(answers.failed.len(), 1);
        let none = gather([answer(0, None), answer(20, None)], Duration::ZERO).await;
        assert_eq!((none.good.len(), none.failed.len()), (0, 2));
    }
}
