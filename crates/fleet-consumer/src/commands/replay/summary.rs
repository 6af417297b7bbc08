//! Prints the outcome of a replay.

use std::fmt;

use comfy_table::Table;

use crate::commands::replay::changes::{SAMPLES, field_names};
use crate::commands::replay::outcome::Outcome;

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dry_run {
            writeln!(formatter, "Dry run: nothing was written. It would have changed this:")?;
        }
        let counts = [
            ("events read", self.events),
            ("events that can no longer be parsed", self.unparsable.values().map(|(count, _)| count).sum()),
            ("events with another vehicle, time or id than their telemetry row", self.other_identity),
            ("telemetry rows corrected (lat, lon, speed_kmh, battery_percent)", self.corrected),
            ("vehicles created", self.changes.created),
            ("vehicles changed", self.changes.changed()),
        ];
        for (name, count) in counts {
            writeln!(formatter, "{count:>10} {name}")?;
        }
        self.write_unparsable(formatter)?;
        self.write_fields(formatter)?;
        self.write_samples(formatter)
    }
}

impl Outcome {
    fn write_unparsable(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unparsable.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table.set_header(["can no longer be parsed", "events", "a message of one"]);
        for (reason, (count, message_id)) in &self.unparsable {
            table.add_row([(*reason).to_owned(), count.to_string(), message_id.to_string()]);
        }
        writeln!(formatter, "\n{table}")
    }

    fn write_fields(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = field_names().zip(self.changes.by_field).filter(|(_field, count)| *count > 0);
        let rows: Vec<_> = rows.map(|(field, count)| [field.to_owned(), count.to_string()]).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table.set_header(["attribute", "vehicles"]).add_rows(rows);
        writeln!(formatter, "\n{table}")
    }

    fn write_samples(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.samples.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table.set_header(["vehicle", "attribute", "before", "after"]);
        for sample in &self.changes.samples {
            let fields = field_names().zip(sample.before.iter().zip(&sample.after));
            for (field, (before, after)) in fields.filter(|(_field, (before, after))| before != after) {
                let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
                let vehicle = format!("{} {}", sample.provider, sample.provider_vehicle_id);
                table.add_row([vehicle, field.to_owned(), shown(before), shown(after)]);
            }
        }
        let all = self.changes.created + self.changes.changed();
        if all > SAMPLES as u64 {
            writeln!(formatter, "\nThe first {SAMPLES} of {all} vehicles:\n{table}")
        } else {
            writeln!(formatter, "\n{table}")
        }
    }
}
