//! Why a vehicle is shown as it is: which message brought each attribute, and why later ones did not change it.

mod report;

pub use self::report::unknown;

use fleet_providers::{Attribute, DropReason, Limits, ParseError, Provider, StoredEvent, VehicleEvent};
use fleet_runtime::settings::Settings;
use fleet_store::{StateStore, StoreError, StoredVehicle, StoredVehicleEvent, TelemetryStore};
use jiff::SignedDuration;
use uuid::Uuid;

use crate::service::Databases;
use crate::shown::{Shown, shown};

/// How many of the vehicle's newest events are looked at.
pub const MAX_EVENTS: i64 = 1_000;

/// Most events that are looked at to find the one that brought a value.
const MAX_CANDIDATES: i64 = 100;

/// What is known of a vehicle, and why.
#[derive(Debug)]
pub struct Explanation {
    provider: &'static Provider,
    vehicle: StoredVehicle,
    /// How many of its newest events were looked at.
    events: usize,
    /// Of those, the ones that cannot be parsed any more.
    unparsable: usize,
    attributes: Vec<Explained>,
}

/// One attribute.
#[derive(Debug)]
struct Explained {
    attribute: Attribute,
    /// What the vehicle's row says.
    stored: Option<Shown>,
    /// The message that brought it, if telemetry has it.
    brought_by: Option<Bringer>,
    later: Later,
}

/// The message that brought a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bringer {
    /// This one.
    First(Uuid),
    /// A repetition of this one, which has no row of its own.
    Repetition(Uuid),
}

/// What the events behind a stored value say about it: how many of each kind, and the last of them.
#[derive(Debug, Default)]
struct Later {
    silent: u64,
    older: Count<Shown>,
    received_earlier: Count<Shown>,
    /// What should have counted: the state lags behind telemetry.
    newer: Count<Shown>,
    dropped: Vec<(DropReason, Count<String>)>,
}

/// How many there were, and the newest of them with its message.
#[derive(Debug)]
struct Count<T> {
    count: u64,
    newest: Option<(T, Uuid)>,
}

impl<T> Default for Count<T> {
    fn default() -> Self {
        Self { count: 0, newest: None }
    }
}

impl<T> Count<T> {
    /// Events come from the newest to the oldest.
    fn add(&mut self, said: T, message_id: Uuid) {
        self.count += 1;
        self.newest.get_or_insert((said, message_id));
    }
}

/// An event as it is parsed now.
struct Parsed<'a> {
    stored: &'a StoredVehicleEvent,
    event: VehicleEvent<'a>,
}

/// Explains what is known of the vehicle that this provider names so; none if nothing is.
///
/// # Errors
///
/// Any [`StoreError`].
pub async fn explain(
    settings: &Settings,
    provider: &'static Provider,
    provider_vehicle_id: &str,
) -> Result<Option<Explanation>, StoreError> {
    let databases = Databases::new(settings)?;
    let (state, telemetry) = (StateStore::new(databases.state), TelemetryStore::new(databases.telemetry));
    let vehicle_id = fleet_providers::vehicle_id(provider.slug, provider_vehicle_id);
    let Some(vehicle) = state.vehicles(&[vehicle_id]).await?.pop() else {
        return Ok(None);
    };
    let days = i64::from(settings.retention.telemetry_days);
    let limits = Limits { max_age: SignedDuration::from_hours(days * 24), ..Limits::default() };
    let stored = telemetry.newest_events(vehicle_id, MAX_EVENTS).await?;
    let parsed: Vec<_> = stored.iter().filter_map(|event| parse(provider, &limits, event).ok()).collect();
    let mut attributes = Vec::new();
    for (attribute, stored) in shown(&vehicle.attributes) {
        let brought_by = match &stored {
            None => None,
            Some(stored) => match find(&parsed, attribute, stored) {
                Some(found) => Some(found),
                // It may be older than the newest events.
                None => older_bringer(&telemetry, provider, &limits, vehicle_id, (attribute, stored)).await?,
            },
        };
        let later = later(&parsed, attribute, stored.as_ref());
        attributes.push(Explained { attribute, stored, brought_by, later });
    }
    let (events, unparsable) = (stored.len(), stored.len() - parsed.len());
    Ok(Some(Explanation { provider, vehicle, events, unparsable, attributes }))
}

/// Looks for the message around the value's receipt, and then around its time.
async fn older_bringer(
    telemetry: &TelemetryStore,
    provider: &Provider,
    limits: &Limits,
    vehicle_id: Uuid,
    (attribute, stored): (Attribute, &Shown),
) -> Result<Option<Bringer>, StoreError> {
    let tries = stored.receipt().map(Some).into_iter().chain([None]);
    for received_at in tries {
        let events = telemetry.events_behind(vehicle_id, stored.at, received_at, MAX_CANDIDATES).await?;
        let parsed: Vec<_> = events.iter().filter_map(|event| parse(provider, limits, event).ok()).collect();
        if let Some(found) = find(&parsed, attribute, stored) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn parse<'a>(
    provider: &Provider,
    limits: &Limits,
    stored: &'a StoredVehicleEvent,
) -> Result<Parsed<'a>, ParseError> {
    let StoredVehicleEvent { event_id, received_at, topic, raw, .. } = stored;
    let event = StoredEvent { topic, received_at: *received_at, raw, event_id: *event_id };
    Ok(Parsed { stored, event: provider.reparse(&event, limits)? })
}

/// What an event says about an attribute.
fn said(event: &VehicleEvent<'_>, attribute: Attribute) -> Option<Shown> {
    shown(&event.attributes).into_iter().find_map(|(found, said)| said.filter(|_| found == attribute))
}

/// The message whose event says just what is stored.
fn find(events: &[Parsed<'_>], attribute: Attribute, stored: &Shown) -> Option<Bringer> {
    let matching = events.iter().filter_map(|parsed| {
        let said = said(&parsed.event, attribute)?;
        let is_same = said.value == stored.value && said.at == stored.at;
        is_same.then_some((said, parsed.stored.message_id))
    });
    let mut repeated = None;
    for (said, message_id) in matching {
        match stored.receipt() {
            Some(receipt) if said.received_at != receipt => repeated = Some(Bringer::Repetition(message_id)),
            Some(_) | None => return Some(Bringer::First(message_id)),
        }
    }
    repeated
}

/// What the events that were observed or received later than a stored value say about it.
fn later(events: &[Parsed<'_>], attribute: Attribute, stored: Option<&Shown>) -> Later {
    let mut later = Later::default();
    for Parsed { stored: row, event } in events {
        let is_later = stored.is_none_or(|stored| {
            let is_received_later = stored.receipt().is_some_and(|receipt| row.received_at > receipt);
            row.observed_at > stored.at || is_received_later
        });
        if !is_later {
            continue;
        }
        for dropped in event.dropped.iter().filter(|dropped| dropped.attribute == attribute) {
            later.add_dropped(dropped.reason, dropped.written.to_string(), row.message_id);
        }
        match (said(event, attribute), stored) {
            // A value that was dropped is counted above.
            (None, _) if event.dropped.iter().any(|dropped| dropped.attribute == attribute) => {}
            (None, _) => later.silent += 1,
            (Some(said), None) => later.newer.add(said, row.message_id),
            (Some(said), Some(stored)) => later.add(said, stored, row.message_id),
        }
    }
    later
}

impl Later {
    fn add(&mut self, said: Shown, stored: &Shown, message_id: Uuid) {
        let place = match said.at.cmp(&stored.at).then(said.received_at.cmp(&stored.received_at)) {
            std::cmp::Ordering::Equal => return,
            std::cmp::Ordering::Greater if stored.receipt().is_none() && said.at == stored.at => {
                return;
            }
            std::cmp::Ordering::Greater => &mut self.newer,
            std::cmp::Ordering::Less if said.at == stored.at => &mut self.received_earlier,
            std::cmp::Ordering::Less => &mut self.older,
        };
        place.add(said, message_id);
    }

    fn add_dropped(&mut self, reason: DropReason, written: String, message_id: Uuid) {
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
