//! Which vehicles a replay changes, and how.

use std::collections::hash_map::Entry;

use fleet_providers::Attributes;
use fleet_store::{StoredVehicle, VehicleState};
use rustc_hash::FxHashMap;
use uuid::Uuid;

use crate::batch::fold::merge;
use crate::commands::attribute_text::{AttributeText, attribute_texts};

/// How many vehicles are printed with their values before and after.
pub(super) const SAMPLES: usize = 20;

/// The fields of a vehicle that are not attributes.
const OTHER_FIELDS: [&str; 3] = ["first_seen_at", "last_seen_at", "clock_skewed_at"];

/// How many fields a vehicle has.
const FIELDS: usize = Attributes::COUNT + OTHER_FIELDS.len();

/// The names of a vehicle's fields, in the order of [`Values`].
pub(super) fn field_names() -> impl Iterator<Item = &'static str> {
    let attributes = Attributes::default().texts().map(|(attribute, _)| attribute.name());
    attributes.into_iter().chain(OTHER_FIELDS)
}

/// A vehicle's fields as text.
pub(super) type Values = [Option<String>; FIELDS];

/// The changes of a whole replay. Every changed vehicle takes some bytes of memory, in a dry run half a kilobyte.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Vehicles that did not exist before.
    pub(super) created: u64,
    /// Created and changed vehicles, by field.
    pub(super) by_field: [u64; FIELDS],
    /// The first vehicles.
    pub(super) samples: Vec<Sample>,
    vehicles: FxHashMap<Uuid, Changed>,
    /// In a dry run, rows in which only receipts would change.
    receipts: FxHashMap<Uuid, StoredVehicle>,
    dry_run: bool,
}

/// A vehicle before and after.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) provider: &'static str,
    pub(super) provider_vehicle_id: String,
    pub(super) before: Values,
    pub(super) after: Values,
}

#[derive(Debug, Default)]
struct Changed {
    fields: [bool; FIELDS],
    sample: Option<usize>,
    /// In a dry run, the row as it would be by now.
    pending: Option<StoredVehicle>,
}

impl Changes {
    pub(super) fn new(dry_run: bool) -> Self {
        Self { dry_run, ..Self::default() }
    }

    /// How many vehicles existed before and have changed.
    pub(super) fn changed(&self) -> u64 {
        self.vehicles.len() as u64 - self.created
    }

    /// Adds what a page says about a vehicle whose row is `stored`. Returns whether that changes the row.
    pub(super) fn add(
        &mut self,
        provider: &'static str,
        stored: Option<&StoredVehicle>,
        page: &VehicleState<'_>,
    ) -> bool {
        let pending = self.vehicles.get(&page.vehicle_id).and_then(|changed| changed.pending.as_ref());
        let pending = self.receipts.get(&page.vehicle_id).or(pending);
        let before = pending.or(stored).map(StoredVehicle::state);
        let after = before.clone().map_or_else(
            || page.clone(),
            |mut state| {
                merge(&mut state, page);
                state
            },
        );
        let values_before = before.as_ref().map(values).unwrap_or_default();
        let values_after = values(&after);
        if before.as_ref() == Some(&after) {
            return false;
        }
        // A changed receipt is not printed, but it is written, because it decides ties. Rows of the previous release have none.
        if values_before == values_after {
            if self.dry_run {
                self.receipts.insert(page.vehicle_id, StoredVehicle::from(&after));
            }
            return true;
        }
        let pending = self.dry_run.then(|| StoredVehicle::from(&after));
        self.receipts.remove(&page.vehicle_id);
        let changed = match self.vehicles.entry(page.vehicle_id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.created += u64::from(stored.is_none());
                let sample = (self.samples.len() < SAMPLES).then_some(self.samples.len());
                if sample.is_some() {
                    self.samples.push(Sample {
                        provider,
                        provider_vehicle_id: page.provider_vehicle_id.to_owned(),
                        before: values_before.clone(),
                        after: Values::default(),
                    });
                }
                entry.insert(Changed { sample, ..Changed::default() })
            }
        };
        changed.pending = pending;
        for (field, (before, after)) in values_before.iter().zip(&values_after).enumerate() {
            if before != after && !changed.fields[field] {
                changed.fields[field] = true;
                self.by_field[field] += 1;
            }
        }
        if let Some(sample) = changed.sample.and_then(|sample| self.samples.get_mut(sample)) {
            sample.after = values_after;
        }
        true
    }
}

/// The fields as text.
fn values(state: &VehicleState<'_>) -> Values {
    let text =
        |text: Option<AttributeText>| text.map(|AttributeText { value, at, .. }| format!("{value} at {at}"));
    let attributes = attribute_texts(&state.attributes).map(|(_, value)| text(value));
    let others = [
        Some(state.first_seen_at.to_string()),
        Some(state.last_seen_at.to_string()),
        state.clock_skewed_at.map(|at| at.to_string()),
    ];
    let mut all = attributes.into_iter().chain(others);
    std::array::from_fn(|_| all.next().flatten())
}
