//! Bodies that arrive in pieces before their sender is known, because the signature is in the body or over it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_runtime::http::{Cause, Exposed, Peer};

/// What bounds one provider's bodies of unknown senders. A body that arrives whole, as a provider's does, is not among
/// them, and one of which nothing is here yet takes no room. When there is no room for more bytes, the connection is closed
/// whose body has not grown for longest: whoever sends a body without pausing gets it in, however many others trickle or
/// stop.
#[derive(Debug)]
pub(crate) struct UnauthenticatedBodies {
    max_bytes: usize,
    awaited: Mutex<Awaited>,
}

#[derive(Debug, Default)]
struct Awaited {
    bytes: usize,
    /// Those of which something is here, in the order in which they grew last.
    bodies: BTreeMap<Turn, Partial>,
    next: Turn,
}

/// When a body grew, among all the times that one did.
type Turn = u64;

#[derive(Debug)]
struct Partial {
    bytes: usize,
    peer: Peer,
}

/// A body that is awaited; dropped when it is here, or will not come.
#[derive(Debug)]
pub(crate) struct AwaitedBody {
    all: Arc<UnauthenticatedBodies>,
    peer: Peer,
    /// Under which it is found; `None` while nothing of it is here.
    turn: Option<Turn>,
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
        AwaitedBody { all: Arc::clone(self), peer: peer.clone(), turn: None, _exposed: peer.expose() }
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
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let mut awaited = self.all.lock();
        let before = match self.turn.take() {
            None => 0,
            Some(turn) => awaited.remove(turn).ok_or(NoRoom)?.bytes,
        };
        let own = before.saturating_add(bytes);
        while awaited.bytes.saturating_add(own) > self.all.max_bytes {
            let (_longest_ago, Partial { peer, .. }) = awaited.pop().ok_or(NoRoom)?;
            peer.make_room(Cause::BodyBytes);
        }
        if own > 0 {
            self.turn = Some(awaited.insert(Partial { bytes: own, peer: self.peer.clone() }));
        }
        Ok(())
    }
}

impl Drop for AwaitedBody {
    fn drop(&mut self) {
        if let Some(turn) = self.turn {
            let _gone_already = self.all.lock().remove(turn);
        }
    }
}

impl Awaited {
    fn insert(&mut self, body: Partial) -> Turn {
        let turn = self.next;
        self.next += 1;
        self.bytes += body.bytes;
        self.bodies.insert(turn, body);
        turn
    }

    fn remove(&mut self, turn: Turn) -> Option<Partial> {
        let body = self.bodies.remove(&turn)?;
        self.bytes -= body.bytes;
        Some(body)
    }

    fn pop(&mut self) -> Option<(Turn, Partial)> {
        let (turn, body) = self.bodies.pop_first()?;
        self.bytes -= body.bytes;
        Some((turn, body))
    }
}
