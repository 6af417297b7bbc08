//! Memory limits for processes under test, like those of a container. Uses control groups, version 1 or 2.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{holds_within, send};
use crate::{Error, proc};

/// The prefix of the folder names. The owner's pid and start time follow, then a number.
const NAME: &str = "fleet-testbed-";

/// The number of groups that this process has created.
static MADE: AtomicU64 = AtomicU64::new(0);

/// How long killed processes may remain in a group.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Where this machine's groups are, and the names of their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hierarchy {
    root: &'static str,
    limit: &'static str,
    /// The swap limit. Version 1 limits the sum of memory and swap, version 2 swap alone. The file is missing
    /// without swap accounting.
    swap: &'static str,
    is_swap_a_sum: bool,
    /// The file with the line `oom_kill <count>`.
    kills: &'static str,
    peak: &'static str,
}

const V1: Hierarchy = Hierarchy {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    swap: "memory.memsw.limit_in_bytes",
    is_swap_a_sum: true,
    kills: "memory.oom_control",
    peak: "memory.max_usage_in_bytes",
};

const V2: Hierarchy = Hierarchy {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    swap: "memory.swap.max",
    is_swap_a_sum: false,
    kills: "memory.events",
    peak: "memory.peak",
};

/// Creates groups with a memory limit and counts the processes that were killed in them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MemoryLimits {
    hierarchy: Hierarchy,
    killed: Arc<AtomicU64>,
}

impl MemoryLimits {
    /// Finds out where groups can be created. Removes the groups of dead owners, including processes in them.
    ///
    /// # Errors
    ///
    /// A short reason why this machine cannot limit memory.
    pub fn find() -> Result<Self, String> {
        let mut reasons = Vec::new();
        for hierarchy in [V2, V1] {
            let limits = Self { hierarchy, killed: Arc::default() };
            remove_leftovers(Path::new(hierarchy.root));
            match limits.group(u64::from(u32::MAX)) {
                Ok(_removed_at_once) => return Ok(limits),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(reasons.join("; "))
    }

    /// Creates a group for one process. The kernel kills the process if it needs more than `bytes` and
    /// nothing can be reclaimed.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be created.
    pub fn group(&self, bytes: u64) -> Result<MemoryGroup, Error> {
        let pid = std::process::id();
        let (start, number) = (proc::start_of(pid).unwrap_or(0), MADE.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(self.hierarchy.root).join(format!("{NAME}{pid}-{start}-{number}"));
        let doing = format!("create the control group {}", folder.display());
        fs::create_dir(&folder).map_err(Error::io(&*doing))?;
        let group = MemoryGroup { limits: self.clone(), folder };
        group.limit(bytes).map_err(Error::io(doing))?;
        Ok(group)
    }

    /// The number of processes that were killed for memory in groups that have been dropped.
    #[must_use]
    pub fn killed(&self) -> u64 {
        self.killed.load(Ordering::Relaxed)
    }
}

/// The group of one process. Drop it after the process has ended, because dropping kills whatever still runs
/// in it.
#[derive(Debug)]
pub struct MemoryGroup {
    limits: MemoryLimits,
    folder: PathBuf,
}

impl MemoryGroup {
    fn limit(&self, bytes: u64) -> io::Result<()> {
        let Hierarchy { limit, swap, is_swap_a_sum, .. } = self.limits.hierarchy;
        write(&self.folder.join(limit), bytes)?;
        // A Kubernetes node has no swap.
        match write(&self.folder.join(swap), if is_swap_a_sum { bytes } else { 0 }) {
            // The kernel does not account for swap.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Moves a process into the group. Memory that it used before does not count.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be moved.
    pub fn add(&self, pid: u32) -> Result<(), Error> {
        let file = self.folder.join("cgroup.procs");
        write(&file, u64::from(pid)).map_err(Error::io(format!("write {pid} to {}", file.display())))
    }

    /// Whether a process in it was killed for memory.
    #[must_use]
    pub fn has_killed(&self) -> bool {
        self.kills() > 0
    }

    /// The peak memory usage, bytes, including memory that the kernel could reclaim, such as cached files.
    #[must_use]
    pub fn peak_bytes(&self) -> Option<u64> {
        fs::read_to_string(self.folder.join(self.limits.hierarchy.peak)).ok()?.trim().parse().ok()
    }

    fn kills(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join(self.limits.hierarchy.kills)).unwrap_or_default();
        count_of_kills(&text)
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        self.limits.killed.fetch_add(self.kills(), Ordering::Relaxed);
        // If removing fails, the next start removes the folder.
        remove(&self.folder);
    }
}

/// Writes to a kernel file without creating it. Outside of a control group hierarchy, creating it would
/// succeed.
fn write(file: &Path, value: u64) -> io::Result<()> {
    fs::File::options().write(true).open(file)?.write_all(value.to_string().as_bytes())
}

fn count_of_kills(text: &str) -> u64 {
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// Removes groups whose owner has ended.
fn remove_leftovers(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let owner = entry.file_name().to_str().and_then(owner_of);
        if owner.is_some_and(|(pid, start)| proc::start_of(pid) != Some(start)) {
            remove(&entry.path());
        }
    }
}

/// The owner's pid and start time in a group's name.
fn owner_of(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(NAME)?.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Kills the processes in the group and removes it.
fn remove(folder: &Path) {
    let pids = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for pid in pids.lines().filter_map(|line| line.parse().ok()) {
        let _ = send(pid, Signal::KILL);
    }
    // The kernel removes the folder with its files once the last process has ended.
    holds_within(GONE_WITHIN, || fs::remove_dir(folder).is_ok() || !folder.exists());
}

#[cfg(test)]
mod tests {
    use super::{count_of_kills, owner_of};

    #[test]
    fn both_versions_tell_of_kills() {
        assert_eq!(count_of_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3);
        assert_eq!(count_of_kills("low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n"), 1);
        assert_eq!(count_of_kills(""), 0);
    }

    #[test]
    fn a_name_tells_the_owner() {
        assert_eq!(owner_of("fleet-testbed-12-3456-0"), Some((12, 3456)));
        assert_eq!(
            [owner_of("fleet-testbed-x"), owner_of("user.slice"), owner_of("fleet-testbed-1")],
            [None; 3]
        );
    }
}
