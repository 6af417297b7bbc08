//! What each kind of fault does to the servers and the processes.

use std::thread;

use crate::database_side::{change_password, make_read_only};
use crate::kind::Kind;
use crate::query::Query;
use crate::redis_side;
use crate::refuse::refuse;
use crate::stage::Stage;
use fleet_harness::{Failure, POLL, Program};

/// A fault that begins.
#[derive(Clone, Copy)]
pub(super) struct Strike {
    pub(super) kind: Kind,
    pub(super) target: usize,
    /// The number of faults before this one.
    pub(super) turn: usize,
}

/// Begins a fault.
pub(super) fn strike(Strike { kind, target, turn }: Strike, stage: &mut Stage<'_>) -> Result<(), Failure> {
    match kind {
        Kind::KillApi => {
            if let Some(api) = stage.api.take() {
                api.kill()?;
            }
            stage.api = Some(stage.programs.start_api()?);
        }
        Kind::KillConsumer => {
            stage.consumers.remove(target).kill()?;
            stage.consumers.insert(target, stage.programs.start_consumer(target)?);
        }
        Kind::KillQuery => {
            if let Some(query) = &mut stage.query {
                query.program.take().map_or(Ok(()), Program::kill)?;
                query.program = Some(stage.programs.start_query()?);
            }
        }
        Kind::KillRedis => stage.redis.kill(turn)?,
        Kind::StopPostgres | Kind::DatabaseAway => stage.databases.primary(target)?.stop_immediate()?,
        Kind::FreezeConsumer => stage.consumers[target].freeze()?,
        Kind::FreezeConsumers => stage.consumers.iter_mut().try_for_each(Program::freeze)?,
        Kind::FreezeRedis => stage.redis.freeze(turn)?,
        Kind::RollConsumer => {
            let successor = stage.programs.start_consumer(target)?;
            retire_consumer(stage, target, successor)?;
        }
        Kind::CutConnections => {
            stage.redis.cut();
            stage.databases.cut();
            stage.query.iter().for_each(Query::cut);
        }
        Kind::BlackHole if target == 0 => stage.redis.black_hole(turn)?,
        Kind::BlackHole => stage.databases.black_hole(),
        Kind::FillRedis => stage.redis.fill(turn)?,
        Kind::ReadOnlyPostgres => make_read_only(stage.databases.primary(target)?, true)?,
        Kind::WrongPassword => change_password(stage.databases.primary(target)?, true)?,
        Kind::CloseConnections => redis_side::close_connections(&*stage.redis, turn)?,
        Kind::FailOver => stage.redis.fail_over(turn)?,
        Kind::UnwritableLogs => {
            let is_pipe = target == 0;
            stop_api(stage)?;
            stage.api = Some(stage.programs.start_unlogged_api(is_pipe)?);
            let successor = stage.programs.start_unlogged_consumer(target, is_pipe)?;
            retire_consumer(stage, target, successor)?;
        }
        Kind::LoseRedis => stage.redis.lose_primary(turn)?,
        Kind::LoseCutOffRedis => stage.redis.cut_off_replica(turn)?,
        Kind::LosePostgres => stage.databases.lose_primary()?,
        Kind::IsolateRedis => stage.redis.isolate(turn)?,
        Kind::LoseReplica => stage.redis.lose_replica(turn)?,
        Kind::KillBridge => {
            if let Some(bridge) = stage.amqp()?.bridge.take() {
                bridge.kill()?;
            }
            stage.amqp()?.bridge = stage.programs.start_bridge()?;
        }
        Kind::KillRabbitMq => stage.amqp()?.kill()?,
        Kind::CutBroker => stage.amqp()?.cut(),
        Kind::BlackHoleBroker => stage.amqp()?.black_hole(),
    }
    Ok(())
}

/// Ends a fault that lasts.
pub(super) fn end(kind: Kind, target: usize, stage: &mut Stage<'_>) -> Result<(), Failure> {
    match kind {
        Kind::StopPostgres | Kind::DatabaseAway => stage.databases.primary(target)?.restart()?,
        Kind::FreezeRedis => stage.redis.thaw()?,
        Kind::FreezeConsumer => stage.consumers[target].thaw()?,
        Kind::FreezeConsumers => stage.consumers.iter_mut().try_for_each(Program::thaw)?,
        Kind::BlackHole if target == 0 => stage.redis.heal(),
        Kind::BlackHole => stage.databases.heal(),
        Kind::FillRedis => redis_side::empty(&*stage.redis)?,
        Kind::ReadOnlyPostgres => make_read_only(stage.databases.primary(target)?, false)?,
        Kind::WrongPassword => change_password(stage.databases.primary(target)?, false)?,
        Kind::UnwritableLogs => {
            stop_api(stage)?;
            stage.api = Some(stage.programs.start_api()?);
            let successor = stage.programs.start_consumer(target)?;
            retire_consumer(stage, target, successor)?;
        }
        Kind::LoseCutOffRedis => stage.redis.lose_cut_off_primary()?,
        Kind::IsolateRedis => stage.redis.reunite()?,
        Kind::LoseReplica => stage.redis.replace_replica()?,
        Kind::BlackHoleBroker => stage.amqp()?.heal(),
        Kind::KillApi
        | Kind::KillConsumer
        | Kind::KillQuery
        | Kind::KillRedis
        | Kind::RollConsumer
        | Kind::CutConnections
        | Kind::CloseConnections
        | Kind::FailOver
        | Kind::LoseRedis
        | Kind::LosePostgres
        | Kind::KillBridge
        | Kind::KillRabbitMq
        | Kind::CutBroker => {
            return Err(refuse(format!("{} does not last and cannot be ended", kind.label())));
        }
    }
    Ok(())
}

/// Stops the API with SIGTERM and waits, because the next API needs its port.
fn stop_api(stage: &mut Stage<'_>) -> Result<(), Failure> {
    if let Some(mut api) = stage.api.take() {
        api.wait_up()?;
        api.ask_to_stop()?;
        while !api.has_stopped()? {
            thread::sleep(POLL);
        }
    }
    Ok(())
}

/// Sends SIGTERM to a consumer. Its successor already runs.
fn retire_consumer(stage: &mut Stage<'_>, index: usize, successor: Program) -> Result<(), Failure> {
    let mut old = std::mem::replace(&mut stage.consumers[index], successor);
    old.wait_up()?;
    old.ask_to_stop()?;
    stage.leaving.push(old);
    Ok(())
}

/// Fails if a process that should be running has ended by itself.
pub(super) fn check_processes(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let query = stage.query.as_mut().and_then(|query| query.program.as_mut());
    let bridge = stage.amqp.iter_mut().filter_map(|amqp| amqp.bridge.as_mut());
    for process in stage.api.iter_mut().chain(&mut stage.consumers).chain(query).chain(bridge) {
        process.check()?;
    }
    let mut still = Vec::new();
    for mut process in stage.leaving.drain(..) {
        if !process.has_stopped()? {
            still.push(process);
        }
    }
    stage.leaving = still;
    Ok(())
}
