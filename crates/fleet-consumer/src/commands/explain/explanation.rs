//! What is known of a vehicle, and which messages say so.

use std::cmp::Ordering;

use fleet_providers::{Attribute, DropReason, Provider};
use fleet_store::StoredVehicle;
use uuid::Uuid;

use crate::commands::attribute_text::AttributeText;

/// How many of the vehicle's newest events are read.
pub(crate) const MAX_EVENTS: i64 = 1_000;

/// What is known of a vehicle, and why.
#[derive(Debug)]
pub(crate) struct Explanation {
    pub(super) provider: &'static Provider,
    pub(super) vehicle: StoredVehicle,
    /// How many of its newest events were read.
    pub(super) events: usize,
    /// How many of those this version cannot parse.
    pub(super) unparsable: usize,
    pub(super) attributes: Vec<Explained>,
}

/// One attribute.
#[derive(Debug)]
pub(super) struct Explained {
    pub(super) attribute: Attribute,
    /// The value in the vehicle's row.
    pub(super) stored: Option<AttributeText>,
    /// The message that set it, if telemetry has it.
    pub(super) set_by: Option<SetBy>,
    pub(super) later: Later,
}

/// The message that set a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetBy {
    /// The message that has its event in telemetry.
    Original(Uuid),
    /// A repetition of this message. The repetition has no row in telemetry.
    Repetition(Uuid),
}

/// The events after a stored value: how many of each kind, and the newest of each.
#[derive(Debug, Default)]
pub(super) struct Later {
    pub(super) without_it: u64,
    pub(super) older: Count<AttributeText>,
    pub(super) received_earlier: Count<AttributeText>,
    /// Events that should have changed the value.
    pub(super) newer: Count<AttributeText>,
    pub(super) dropped: Vec<(DropReason, Count<String>)>,
}

/// How many events there were, and the newest one with its message.
#[derive(Debug)]
pub(super) struct Count<T> {
    pub(super) count: u64,
    pub(super) newest: Option<(T, Uuid)>,
}

impl<T> Default for Count<T> {
    fn default() -> Self {
        Self { count: 0, newest: None }
    }
}

impl<T> Count<T> {
    /// Call it for the newest event first.
    pub(super) fn add(&mut self, said: T, message_id: Uuid) {
        self.count += 1;
        self.newest.get_or_insert((said, message_id));
    }
}

impl Later {
    pub(super) fn add(&mut self, said: AttributeText, stored: &AttributeText, message_id: Uuid) {
        let place = match said.at.cmp(&stored.at).then(said.received_at.cmp(&stored.received_at)) {
            Ordering::Equal => return,
            Ordering::Greater if stored.receipt().is_none() && said.at == stored.at => {
                return;
            }
            Ordering::Greater => &mut self.newer,
            Ordering::Less if said.at == stored.at => &mut self.received_earlier,
            Ordering::Less => &mut self.older,
        };
        place.add(said, message_id);
    }

    pub(super) fn add_dropped(&mut self, reason: DropReason, written: String, message_id: Uuid) {
        let found = self.dropped.iter_mut().find(|(found, _)| *found == reason);
        match found {
            Some((_, count)) => count.add(written, message_id),
            None => {
                let mut count = Count::default();
                count.add(written, message_id);
                self.dropped.push((reason, count));
            }
        }
    }
}
