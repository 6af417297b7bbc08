//! After the run: a Redis that is emptied is found out, by what was seen of it before.

use fleet_testbed::DatabaseLogin;

use super::ask;
use super::stage::Stage;
use crate::refuse::refuse;
use fleet_harness::{Failure, Interrupt, Program};

/// Webhooks that are lost on purpose.
const WEBHOOKS: u32 = 20;

/// Loses webhooks that were answered 200, and requires that the audit says so until somebody accepts the loss.
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
            return Err(refuse(format!("a webhook without any fault was answered {status}")));
        }
    }
    let run = |command| stage.consumer_command(command, DatabaseLogin::Consumer, interrupt);
    run("audit")?;
    ask::server(&stage.redis, "FLUSHALL")?;
    match run("audit") {
        Err(Failure::Exit { .. }) => {}
        Err(failure) => return Err(failure),
        Ok(()) => return Err(refuse("the audit does not see that Redis has lost its history")),
    }
    run("accept-loss")?;
    run("audit")
}
