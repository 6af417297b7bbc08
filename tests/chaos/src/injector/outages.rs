//! When Redis could not accept webhooks.

use jiff::{SignedDuration, Timestamp};

use crate::kind::Kind;

/// How long after an outage a push may still fail. A push that began without Redis times out after 1 s, and
/// pushes queued behind it begin a little later.
const AFTERMATH: SignedDuration = SignedDuration::from_millis(2_200);

/// The periods without Redis.
#[derive(Default)]
pub(super) struct Outages {
    all: Vec<Outage>,
}

struct Outage {
    kind: Kind,
    target: usize,
    since: Timestamp,
    /// `None` while the outage lasts.
    until: Option<Timestamp>,
}

impl Outages {
    /// A fault takes Redis away now.
    pub(super) fn begin(&mut self, kind: Kind, target: usize) {
        self.all.push(Outage { kind, target, since: Timestamp::now(), until: None });
    }

    /// Redis has recovered from a fault. Nothing happens if the fault did not take it away.
    pub(super) fn end(&mut self, kind: Kind, target: usize) {
        let is_it =
            |outage: &&mut Outage| outage.until.is_none() && (outage.kind, outage.target) == (kind, target);
        if let Some(outage) = self.all.iter_mut().find(is_it) {
            outage.until = Some(Timestamp::now());
        }
    }

    /// Whether Redis was unavailable at that time, or shortly before.
    pub(super) fn was_without_redis(&self, at: Timestamp) -> bool {
        self.all.iter().any(|outage| {
            let until =
                outage.until.map_or(Timestamp::MAX, |until| until.saturating_add(AFTERMATH).unwrap_or(until));
            (outage.since..=until).contains(&at)
        })
    }
}
