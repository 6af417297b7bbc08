//! Reads a request's body within its provider's bounds.

use std::pin::pin;

use axum::body::Bytes;
use fleet_runtime::http::Peer;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::OwnedSemaphorePermit;

use crate::admission::Admission;
use crate::outcome::Outcome;
use crate::permits::merge;
use crate::unauthenticated::AwaitedBody;

/// Reads the body of an authenticated request, and takes permits for its bytes.
///
/// # Errors
///
/// The outcome of the first bound that is exceeded.
pub(crate) async fn read(
    admission: &Admission,
    body: Incoming,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Outcome> {
    let mut permits = None;
    let body = in_time(admission, collect(admission, body, Account::Provider(&mut permits))).await?;
    Ok((body, permits))
}

/// Reads the body of an unauthenticated request.
///
/// # Errors
///
/// The outcome of the first bound that is exceeded.
pub(crate) async fn read_unauthenticated(
    admission: &Admission,
    body: Incoming,
    peer: &Peer,
) -> Result<Bytes, Outcome> {
    let account = Account::Unauthenticated { peer, arrived: 0, awaited: None };
    in_time(admission, collect(admission, body, account)).await
}

async fn in_time<T>(
    admission: &Admission,
    reading: impl Future<Output = Result<T, Outcome>>,
) -> Result<T, Outcome> {
    let mut reading = pin!(reading);
    // Most bodies arrive together with the headers, and need no timer.
    if let Some(read) = reading.as_mut().now_or_never() {
        return read;
    }
    tokio::time::timeout(admission.body_timeout(), reading).await.unwrap_or(Err(Outcome::BodyTimeout))
}

/// Counts bytes when they arrive, not when they are announced: announcing costs the sender nothing.
async fn collect(
    admission: &Admission,
    mut body: Incoming,
    mut account: Account<'_>,
) -> Result<Bytes, Outcome> {
    let mut first = Bytes::new();
    let mut whole = Vec::new();
    loop {
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => {
                account.wait(admission)?;
                body.frame().await
            }
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_broken| Outcome::BodyIncomplete)?;
        // Trailers are ignored.
        let Ok(data) = frame.into_data() else { continue };
        let length = u64::try_from(first.len() + whole.len() + data.len()).unwrap_or(u64::MAX);
        if length > admission.max_body_bytes() {
            return Err(Outcome::TooLarge);
        }
        account.charge(admission, data.len())?;
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.reserve_exact(first.len() + data.len() + account.announced(&body));
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.into() })
}

/// Whose bounds a body's bytes count against.
enum Account<'a> {
    /// The provider's.
    Provider(&'a mut Option<OwnedSemaphorePermit>),
    /// Those of unauthenticated clients. Bytes that arrive with the headers do not count, because they are verified before
    /// anything else is read.
    Unauthenticated { peer: &'a Peer, arrived: usize, awaited: Option<AwaitedBody> },
}

impl Account<'_> {
    fn charge(&mut self, admission: &Admission, bytes: usize) -> Result<(), Outcome> {
        match self {
            Self::Provider(permits) => merge(permits, Some(admission.admit_bytes(bytes)?)),
            Self::Unauthenticated { awaited: Some(awaited), .. } => {
                admission.admit_unauthenticated_bytes(awaited, bytes)?;
            }
            Self::Unauthenticated { arrived, awaited: None, .. } => *arrived += bytes,
        }
        Ok(())
    }

    /// How many bytes to reserve for the rest of the body; none for an unauthenticated client, whose announcement must not
    /// take memory.
    fn announced(&self, body: &Incoming) -> usize {
        match self {
            Self::Provider(_) => usize::try_from(body.size_hint().exact().unwrap_or(0)).unwrap_or(0),
            Self::Unauthenticated { .. } => 0,
        }
    }

    /// Notes that the rest of the body has not arrived yet.
    fn wait(&mut self, admission: &Admission) -> Result<(), Outcome> {
        match self {
            Self::Provider(_) | Self::Unauthenticated { awaited: Some(_), .. } => Ok(()),
            Self::Unauthenticated { peer, arrived, awaited } => {
                let awaited = awaited.insert(admission.await_unauthenticated(peer));
                admission.admit_unauthenticated_bytes(awaited, *arrived)
            }
        }
    }
}
