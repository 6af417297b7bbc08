//! Finds the message that set each attribute of a vehicle, and the later ones that did not change it.

use fleet_providers::{Attribute, Limits, ParseError, Provider, StoredEvent, VehicleEvent};
use fleet_runtime::settings::Settings;
use fleet_store::{StateStore, StoreError, StoredVehicleEvent, TelemetryStore};
use jiff::SignedDuration;
use uuid::Uuid;

use crate::commands::attribute_text::{AttributeText, attribute_texts};
use crate::commands::explain::explanation::{Explained, Explanation, Later, MAX_EVENTS, SetBy};
use crate::connect::Databases;

/// The most events that are read to find the one that set a value.
const MAX_CANDIDATES: i64 = 100;

/// An event, parsed by this version.
struct Parsed<'a> {
    stored: &'a StoredVehicleEvent,
    event: VehicleEvent<'a>,
}

/// Explains the current state of a vehicle. `None` if the provider has reported no such vehicle.
///
/// # Errors
///
/// Any [`StoreError`].
pub(crate) async fn explain(
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
    for (attribute, stored) in attribute_texts(&vehicle.attributes) {
        let set_by = match &stored {
            None => None,
            Some(stored) => match find(&parsed, attribute, stored) {
                Some(found) => Some(found),
                // Its event may be older than the newest events.
                None => find_older(&telemetry, provider, &limits, vehicle_id, (attribute, stored)).await?,
            },
        };
        let later = later(&parsed, attribute, stored.as_ref());
        attributes.push(Explained { attribute, stored, set_by, later });
    }
    let (events, unparsable) = (stored.len(), stored.len() - parsed.len());
    Ok(Some(Explanation { provider, vehicle, events, unparsable, attributes }))
}

/// Looks for the message around the value's receipt, then around the time of the value.
async fn find_older(
    telemetry: &TelemetryStore,
    provider: &Provider,
    limits: &Limits,
    vehicle_id: Uuid,
    (attribute, stored): (Attribute, &AttributeText),
) -> Result<Option<SetBy>, StoreError> {
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

/// An event's value of an attribute.
fn said(event: &VehicleEvent<'_>, attribute: Attribute) -> Option<AttributeText> {
    attribute_texts(&event.attributes)
        .into_iter()
        .find_map(|(found, said)| said.filter(|_| found == attribute))
}

/// The message whose event has exactly the stored value.
fn find(events: &[Parsed<'_>], attribute: Attribute, stored: &AttributeText) -> Option<SetBy> {
    let matching = events.iter().filter_map(|parsed| {
        let said = said(&parsed.event, attribute)?;
        let is_same = said.value == stored.value && said.at == stored.at;
        is_same.then_some((said, parsed.stored.message_id))
    });
    let mut repeated = None;
    for (said, message_id) in matching {
        match stored.receipt() {
            Some(receipt) if said.received_at != receipt => repeated = Some(SetBy::Repetition(message_id)),
            Some(_) | None => return Some(SetBy::Original(message_id)),
        }
    }
    repeated
}

/// Counts the events that were observed or received later than a stored value.
fn later(events: &[Parsed<'_>], attribute: Attribute, stored: Option<&AttributeText>) -> Later {
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
            (None, _) => later.without_it += 1,
            (Some(said), None) => later.newer.add(said, row.message_id),
            (Some(said), Some(stored)) => later.add(said, stored, row.message_id),
        }
    }
    later
}
