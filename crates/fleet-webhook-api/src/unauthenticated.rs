//! Bodies that arrive in pieces before their sender is known, because the signature is over the body.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fleet_runtime::http::{Exposed, Peer};

/// A body is not judged by its pace before this, if there are others.
const GRACE: Duration = Duration::from_millis(100);

/// What bounds one provider's bodies of unknown senders. A body that arrives whole, as a provider's does, is not among
/// them. When there is no room for more bytes, the connection is closed whose body has come most slowly: whoever sends a
/// body without pausing gets it in, however many others trickle or stop.
#[derive(Debug)]
pub(crate) struct UnauthenticatedBodies {
    max_bytes: usize,
    awaited: Mutex<Awaited>,
}

#[derive(Debug, Default)]
struct Awaited {
    bytes: usize,
    /// In the order in which their requests came.
    bodies: BTreeMap<u64, Progress>,
    next: u64,
}

/// How far a body has come.
#[derive(Debug)]
struct Progress {
    since: Instant,
    bytes: usize,
    peer: Peer,
}

/// A body that is awaited; dropped when it is here, or will not come.
#[derive(Debug)]
pub(crate) struct AwaitedBody {
    all: Arc<UnauthenticatedBodies>,
    number: u64,
    _exposed: Exposed,
}

/// There is no room for the body.
#[derive(Debug)]
pub(crate) struct NoRoom;

impl UnauthenticatedBodies {
    pub(crate) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { max_bytes, awaited: Mutex::default() })
    }

    /// A body of which nothing has been counted yet.
    pub(crate) fn wait(self: &Arc<Self>, peer: &Peer) -> AwaitedBody {
        let mut awaited = self.lock();
        let number = awaited.next;
        awaited.next += 1;
        awaited.bodies.insert(number, Progress { since: Instant::now(), bytes: 0, peer: peer.clone() });
        AwaitedBody { all: Arc::clone(self), number, _exposed: peer.unknown() }
    }

    fn lock(&self) -> MutexGuard<'_, Awaited> {
        // Nothing that could panic leaves the sum and its parts apart.
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AwaitedBody {
    /// Counts bytes that have arrived, and makes room for them.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if this body had to make room for another one, or if it is larger than all of them may be.
    pub(crate) fn add(&self, bytes: usize) -> Result<(), NoRoom> {
        let mut awaited = self.all.lock();
        while awaited.bytes.saturating_add(bytes) > self.all.max_bytes {
            let slowest = awaited.slowest(self.number, Instant::now()).ok_or(NoRoom)?;
            if let Some(Progress { peer, .. }) = awaited.remove(slowest) {
                peer.make_room();
            }
        }
        let own = awaited.bodies.get_mut(&self.number).ok_or(NoRoom)?;
        own.bytes += bytes;
        awaited.bytes += bytes;
        Ok(())
    }
}

impl Drop for AwaitedBody {
    fn drop(&mut self) {
        let _gone_already = self.all.lock().remove(self.number);
    }
}

impl Awaited {
    fn remove(&mut self, number: u64) -> Option<Progress> {
        let body = self.bodies.remove(&number)?;
        self.bytes -= body.bytes;
        Some(body)
    }

    /// The body, other than this one, that has come most slowly; the oldest one if all of them are new.
    fn slowest(&self, except: u64, now: Instant) -> Option<u64> {
        let others = || self.bodies.iter().filter(|(number, _body)| **number != except);
        let judged = others().filter(|(_number, body)| body.age(now) >= GRACE);
        let slowest = judged.min_by(|(_, a), (_, b)| {
            // Bytes a time, without a division.
            let pace = |one: &Progress, other: &Progress| one.bytes as u128 * other.age(now).as_micros();
            pace(a, b).cmp(&pace(b, a))
        });
        slowest.or_else(|| others().next()).map(|(number, _body)| *number)
    }
}

impl Progress {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}
