//! After the run, the audit must detect that Redis was emptied.

use fleet_testbed::DatabaseLogin;

use crate::redis_side;
use crate::refuse::refuse;
use crate::stage::Stage;
use fleet_harness::{Failure, Interrupt, Program};

/// The number of webhooks that this step loses on purpose.
const WEBHOOKS: u32 = 20;

/// Loses webhooks that the API acknowledged. Requires that the audit fails until the loss is accepted.
pub(super) fn lose(stage: &mut Stage<'_>, interrupt: &Interrupt) -> Result<(), Failure> {
    stage.consumers.iter_mut().try_for_each(Program::freeze)?;
    let found = lose_unseen(stage, interrupt);
    stage.consumers.iter_mut().try_for_each(Program::thaw)?;
    found
}

fn lose_unseen(stage: &Stage<'_>, interrupt: &Interrupt) -> Result<(), Failure> {
    for number in 0..WEBHOOKS {
        let status = stage.post(&format!(r#"{{"sn":"LOST{number}"}}"#))?;
        if status != 200 {
            return Err(refuse(format!("a webhook got the status {status} although no fault was active")));
        }
    }
    let run = |command| stage.programs.consumer_command(command, DatabaseLogin::Consumer, interrupt);
    run("audit")?;
    redis_side::flush(&*stage.redis)?;
    match run("audit") {
        Err(Failure::Exit { .. }) => {}
        Err(failure) => return Err(failure),
        Ok(()) => return Err(refuse("the audit did not detect that Redis lost its history")),
    }
    run("accept-loss")?;
    run("audit")
}
