//! CPU time and memory of processes, from /proc.

use std::collections::BTreeMap;

use procfs::process::{Process, all_processes};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The pids to measure, by the name in the tables.
pub(crate) type Watched = BTreeMap<String, u32>;

/// Microseconds of CPU time, by the same names.
pub(crate) type CpuMicros = BTreeMap<String, f64>;

/// Resident memory of a process, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Now.
    pub(crate) resident: u64,
    /// The peak (VmHWM).
    pub(crate) peak: u64,
}

/// User and system time of every watched process and of its children, including ended ones (PostgreSQL forks
/// a process for each connection, Redis one to rewrite its file).
///
/// The kernel reports CPU time in ticks of 10 ms, so measure over seconds.
///
/// # Errors
///
/// [`Failure::Proc`] if a watched process has ended.
pub(crate) fn cpu(watched: &Watched) -> Result<CpuMicros, Failure> {
    let mut used = BTreeMap::new();
    for (name, &pid) in watched {
        used.insert(name.clone(), tree_cpu_micros(pid)?);
    }
    Ok(used)
}

/// CPU microseconds between two measurements.
pub(crate) fn since(before: &CpuMicros, after: &CpuMicros) -> CpuMicros {
    let spent =
        |(name, &end): (&String, &f64)| (name.clone(), end - before.get(name).copied().unwrap_or(0.0));
    after.iter().map(spent).collect()
}

/// CPU microseconds of this process alone.
pub(crate) fn own_cpu_micros() -> Result<f64, Failure> {
    let stat = Process::myself()?.stat()?;
    Ok(micros(stat.utime + stat.stime))
}

/// CPU microseconds of this process' children that have ended.
pub(crate) fn own_children_cpu_micros() -> Result<f64, Failure> {
    let stat = Process::myself()?.stat()?;
    Ok(micros(u64::try_from(stat.cutime + stat.cstime).unwrap_or_default()))
}

/// Resident memory of one process.
pub(crate) fn memory(pid: u32) -> Result<Memory, Failure> {
    let status = process(pid)?.status()?;
    let bytes = |kib: Option<u64>| kib.unwrap_or_default() * 1024;
    Ok(Memory { resident: bytes(status.vmrss), peak: bytes(status.vmhwm) })
}

/// The parent of a process.
pub(crate) fn parent_of(pid: u32) -> Result<u32, Failure> {
    let parent = process(pid)?.stat()?.ppid;
    u32::try_from(parent).map_err(|_| Failure::measurement(format!("process {pid} has no parent")))
}

fn tree_cpu_micros(root: u32) -> Result<f64, Failure> {
    let mut stats = Vec::new();
    for process in all_processes()? {
        // A process that ends meanwhile is counted by its parent.
        if let Ok(stat) = process.and_then(|process| process.stat()) {
            stats.push(stat);
        }
    }
    let root = i32::try_from(root).map_err(|_| Failure::measurement("a process id is out of range"))?;
    let mut ticks = None;
    let mut family = vec![root];
    while let Some(pid) = family.pop() {
        for stat in &stats {
            if stat.pid == pid {
                let ended = u64::try_from(stat.cutime + stat.cstime).unwrap_or_default();
                *ticks.get_or_insert(0) += stat.utime + stat.stime + ended;
            } else if stat.ppid == pid {
                family.push(stat.pid);
            }
        }
    }
    ticks
        .map(micros)
        .ok_or_else(|| Failure::measurement(format!("process {root} ended while it was measured")))
}

fn process(pid: u32) -> Result<Process, Failure> {
    let pid = i32::try_from(pid).map_err(|_| Failure::measurement("a process id is out of range"))?;
    Ok(Process::new(pid)?)
}

fn micros(ticks: u64) -> f64 {
    ticks as f64 * 1e6 / procfs::ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// Starts a shell whose child uses the CPU and ends. Then the shell waits.
    #[test]
    fn a_childs_time_counts_while_it_runs_and_after_it_has_ended() {
        let script = "(i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done); echo done; read line";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let watched = Watched::from([("shell".to_owned(), shell.id())]);
        let used = || cpu(&watched).unwrap()["shell"];
        let start = Instant::now();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.as_mut().unwrap()), &mut line)
            .unwrap();
        let after = used();
        let elapsed_micros = start.elapsed().as_micros() as f64;
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert!(after > 20_000.0, "{after} us of CPU in {elapsed_micros} us");
        assert!(after < elapsed_micros + 50_000.0, "{after} us of CPU in {elapsed_micros} us");
        assert!(cpu(&watched).is_err(), "an ended process has no figures");
    }

    #[test]
    fn memory_is_in_bytes() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.resident > 1 << 20 && memory.resident < 4 << 30, "{memory:?}");
        assert!(memory.peak >= memory.resident / 2, "{memory:?}");
        let _used = Duration::from_secs_f64(own_cpu_micros().unwrap() / 1e6);
    }
}
