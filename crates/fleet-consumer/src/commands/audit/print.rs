//! Prints the ledgers.

use std::collections::BTreeSet;
use std::fmt;

use comfy_table::Table;
use fleet_queue::Durability;

use crate::commands::audit::ledgers::{Audit, AuditedDatabase, AuditedQueue};
use crate::observe::witness::Unaccounted;

impl fmt::Display for Audit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut queues = Table::new();
        queues.set_header(["queue", "accepted", "waiting", "leased", "settled", "unaccounted", "balances"]);
        for of_provider in self.queues.chunk_by(|one, next| one.queue.provider() == next.queue.provider()) {
            for queue in of_provider {
                queues.add_row(row(queue.queue.to_string(), queue.counts(), queue.balances()));
            }
            if let [first, _second, ..] = of_provider {
                let counts = of_provider.iter().map(AuditedQueue::counts);
                let sums = counts.fold([0_u64; 5], |sums: [u64; 5], counts| {
                    std::array::from_fn(|column| sums[column].saturating_add(counts[column]))
                });
                let name = format!("{} in all", first.queue.provider());
                queues.add_row(row(name, sums, of_provider.iter().all(AuditedQueue::balances)));
            }
        }
        let mut settled = Table::new();
        let header =
            ["provider", "inserted", "duplicate", "dead letters", "through telemetry", "through state"];
        settled.set_header(header);
        for (provider, totals) in &self.settled {
            let counts = [
                totals.inserted,
                totals.duplicate,
                totals.dead_lettered,
                totals.telemetry_records,
                totals.state_records,
            ];
            let mut row = vec![provider.clone()];
            row.extend(counts.map(|count| count.to_string()));
            settled.add_row(row);
        }
        write!(formatter, "Messages, by the queues' ledgers:\n{queues}\n\n")?;
        writeln!(
            formatter,
            "Records (events, and messages without any), by the databases' ledgers:\n{settled}"
        )?;
        for queue in &self.queues {
            queue.explain(formatter)?;
        }
        let weaknesses: BTreeSet<_> = self.durability.values().flat_map(Durability::weaknesses).collect();
        for weakness in weaknesses {
            writeln!(formatter, "Redis is set up weaker than it should be: {weakness}")?;
        }
        let unseen: BTreeSet<_> = self.durability.values().flat_map(Durability::unseen).collect();
        if !unseen.is_empty() {
            let unseen = unseen.into_iter().collect::<Vec<_>>().join(", ");
            writeln!(
                formatter,
                "This user may not read all of Redis' settings. Make sure that Redis has: {unseen}."
            )?;
        }
        self.databases.iter().try_for_each(|database| database.explain(formatter))
    }
}

impl AuditedDatabase {
    /// Explains what needs attention.
    fn explain(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, durability, wanted_standbys } = self;
        let name = kind.name();
        for weakness in durability.weaknesses(*wanted_standbys) {
            writeln!(formatter, "The {name} database is set up weaker than it should be: {weakness}")?;
        }
        match durability.synchronous_standbys() {
            None => writeln!(
                formatter,
                "This login may not see the synchronous standbys of the {name} database. Check pg_stat_replication."
            ),
            Some(0) => Ok(()),
            Some(standbys) => {
                writeln!(
                    formatter,
                    "{standbys} synchronous standbys have each commit of the {name} database."
                )
            }
        }
    }
}

fn row(name: String, counts: [u64; 5], balances: bool) -> Vec<String> {
    let mut row = vec![name];
    row.extend(counts.map(|count| count.to_string()));
    row.push(if balances { "yes" } else { "NO" }.to_owned());
    row
}

impl AuditedQueue {
    /// Explains what needs attention, below the tables.
    fn explain(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue: name, is_configured, held, unaccounted, status, at_rest: _ } = self;
        if !is_configured {
            writeln!(
                formatter,
                "{name}: the settings do not name this queue. Consumers work on it until it is empty."
            )?;
        }
        for broken in self.broken() {
            writeln!(formatter, "{name}: {broken}")?;
        }
        if status.parked > 0 {
            let parked = status.parked;
            writeln!(
                formatter,
                "{name}: {parked} batches are stored in one database and wait for the other one."
            )?;
        }
        if held.is_none() {
            writeln!(formatter, "{name}: this user may not count the messages of claimed batches (HKEYS).")?;
        }
        let lost = held.as_ref().map_or(0, |held| held.claimed_messages.saturating_sub(held.messages));
        if lost > 0 && status.has_ledger() {
            writeln!(
                formatter,
                "{name}: {lost} claimed messages are in no batch that has an owner's record: see the runbook, \
                 FleetLedgerUnbalanced."
            )?;
        }
        if let Unaccounted { messages: messages @ 1.., since } = unaccounted {
            let since = since.map_or_else(String::new, |since| format!(" since {since}"));
            writeln!(
                formatter,
                "{name}: up to {messages} webhooks that were answered 200 are unaccounted for{since}, not counting later \
                 ones: see the runbook, FleetWebhooksUnaccounted. When you have decided what to do, run \
                 fleet-consumer accept-loss"
            )?;
        }
        Ok(())
    }
}
