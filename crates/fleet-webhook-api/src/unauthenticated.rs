//! Bodies that arrive in pieces before their sender is verified, because the signature is in the body or over it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_runtime::http::{Cause, Exposed, Peer};

/// The bound of one provider's unauthenticated bodies. A body that arrives whole, as a provider's does, does not count, and
/// neither does a body of which nothing has arrived yet. When there is no room for more bytes, the connection whose body has
/// not grown for the longest time is closed. A client that sends its body without pausing therefore succeeds, however many
/// others send slowly or stop.
#[derive(Debug)]
pub(crate) struct UnauthenticatedBodies {
    max_bytes: usize,
    awaited: Mutex<Awaited>,
}

#[derive(Debug, Default)]
struct Awaited {
    bytes: usize,
    /// The bodies of which some bytes have arrived, in the order in which they grew last.
    bodies: BTreeMap<Turn, Partial>,
    next: Turn,
}

/// Counts the times that any body grew.
type Turn = u64;

#[derive(Debug)]
struct Partial {
    bytes: usize,
    peer: Peer,
}

/// A body whose rest has not arrived yet; dropped when it is complete or given up.
#[derive(Debug)]
pub(crate) struct AwaitedBody {
    all: Arc<UnauthenticatedBodies>,
    peer: Peer,
    /// Its key; `None` until some bytes have arrived.
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

    /// A body of which no bytes have been counted yet.
    pub(crate) fn wait(self: &Arc<Self>, peer: &Peer) -> AwaitedBody {
        AwaitedBody { all: Arc::clone(self), peer: peer.clone(), turn: None, _exposed: peer.expose() }
    }

    fn lock(&self) -> MutexGuard<'_, Awaited> {
        // The sum and its parts agree also after a panic.
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AwaitedBody {
    /// Counts bytes that have arrived, and makes room for them.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if this body was given up for another one, or if it alone exceeds the bound.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let mut awaited = self.all.lock();
        let before = match self.turn.take() {
            None => 0,
            Some(turn) => awaited.remove(turn).ok_or(NoRoom)?.bytes,
        };
        let own = before.saturating_add(bytes);
        while awaited.bytes.saturating_add(own) > self.all.max_bytes {
            let (_oldest, Partial { peer, .. }) = awaited.pop().ok_or(NoRoom)?;
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
