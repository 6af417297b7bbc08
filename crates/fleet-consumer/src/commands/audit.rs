//! `fleet-consumer audit`: whether the ledgers of the queues and of both databases balance.

pub mod ledgers;
mod print;

use std::process::ExitCode;

use fleet_runtime::cli;
use fleet_runtime::settings::Settings;
use fleet_runtime::stdout::print;

use crate::commands::audit::ledgers::Audit;

/// Runs the command.
pub async fn run(settings: &Settings) -> ExitCode {
    let audit = match Audit::read(settings).await {
        Ok(audit) => audit,
        Err(error) => return cli::fail(error),
    };
    print(&audit);
    if !audit.balances() {
        cli::fail(
            "the ledger does not balance: something else writes to these keys or tables, or a message was lost",
        )
    } else if audit.loses_at_restart() {
        cli::fail("the ledger balances, but the next restart of Redis would drop the queues: see above")
    } else {
        ExitCode::SUCCESS
    }
}
