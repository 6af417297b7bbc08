//! Parses a page of stored telemetry again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fleet_providers::{Limits, StoredEvent, VehicleEvent, provider};
use fleet_store::{Correction, Derived, EventKey, StoredTelemetry};

use crate::commands::replay::outcome::Outcome;

/// An event of a page, parsed by this version.
pub(super) struct Parsed<'a> {
    pub(super) provider: &'static str,
    pub(super) event: VehicleEvent<'a>,
}

/// Parses a page. Returns its events, and what they correct in telemetry.
pub(super) fn parse_page<'a>(
    limits: &Limits,
    page: &'a [StoredTelemetry],
    outcome: &mut Outcome,
) -> (Vec<Parsed<'a>>, Vec<Correction>) {
    let (mut parsed, mut corrections) = (Vec::new(), Vec::new());
    for row in page {
        let Some(raw) = &row.raw else { continue };
        outcome.events += 1;
        let (provider, event) = match reparse(limits, row, raw) {
            Ok(event) => event,
            Err(reason) => {
                outcome.unparsable.entry(reason).or_insert((0, row.message_id)).0 += 1;
                continue;
            }
        };
        let VehicleEvent { vehicle_id, observed_at, event_id, .. } = event;
        let derived = Derived::from(&event.attributes);
        if row.key != (EventKey { vehicle_id, observed_at, event_id }) {
            outcome.other_identity += 1;
        } else if row.derived != derived {
            corrections.push(Correction { key: row.key, derived });
        }
        parsed.push(Parsed { provider, event });
    }
    (parsed, corrections)
}

fn reparse<'a>(
    limits: &Limits,
    row: &'a StoredTelemetry,
    raw: &'a str,
) -> Result<(&'static str, VehicleEvent<'a>), &'static str> {
    let provider = provider(&row.provider).ok_or("unknown_provider")?;
    let StoredTelemetry { received_at, ref topic, key: EventKey { event_id, .. }, .. } = *row;
    let stored = StoredEvent { topic, received_at, raw, event_id };
    // The parsers are pure, so a panic leaves nothing half done.
    let parsed = catch_unwind(AssertUnwindSafe(|| provider.reparse(&stored, limits)));
    match parsed {
        Ok(parsed) => parsed.map(|event| (provider.slug, event)).map_err(|error| error.reason()),
        Err(_panic) => Err("parser_panic"),
    }
}
