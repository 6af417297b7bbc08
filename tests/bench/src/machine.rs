//! The machine and the versions of a measurement.

use jiff::Timestamp;
use procfs::{CpuInfo, Current, Meminfo};
use serde::Serialize;

use crate::failure::Failure;
use crate::stage::Stage;

/// What a reader must know to compare two runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) command: String,
    pub(crate) commit: String,
    pub(crate) measured_at: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) compiler: String,
    pub(crate) redis: String,
    pub(crate) postgres: String,
    pub(crate) timescaledb: String,
}

impl Machine {
    /// Reads the facts from the kernel and the servers. The stage must have the product's schema.
    pub(crate) fn read(stage: &Stage, command: &str, commit: &str, compiler: &str) -> Result<Self, Failure> {
        let cpus = CpuInfo::current()?;
        Ok(Self {
            command: command.to_owned(),
            commit: commit.to_owned(),
            measured_at: format!("{:.0}", Timestamp::now()),
            cpu: cpus.model_name(0).unwrap_or("unknown").to_owned(),
            cores: cpus.num_cores(),
            memory_mib: Meminfo::current()?.mem_total / (1024 * 1024),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            compiler: compiler.to_owned(),
            redis: stage.redis.version()?,
            postgres: stage.sql.text("SELECT split_part(current_setting('server_version'), ' ', 1)")?,
            timescaledb: stage
                .sql
                .text("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")?,
        })
    }

    /// The same as a sentence.
    pub(crate) fn sentence(&self) -> String {
        let Self { command, commit, measured_at, cpu, cores, memory_mib, kernel, compiler, .. } = self;
        let (redis, postgres, timescaledb) = (&self.redis, &self.postgres, &self.timescaledb);
        format!(
            "`{command}` at commit `{commit}`, {measured_at}: {cores} cores of {cpu}, {memory_mib} MiB, Linux {kernel}, \
             {compiler}, Redis {redis}, PostgreSQL {postgres}, TimescaleDB {timescaledb}."
        )
    }
}
