//! Reads `/proc`. Each PostgreSQL backend leads its own session, so no process group contains all of them.

use std::fs;
use std::path::Path;

/// The pids whose parent is `parent`.
pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    pids().filter(|&pid| stat(pid).is_some_and(|stat| stat.parent == parent)).collect()
}

/// Whether a process with this pid runs. A zombie does not count, because it holds no memory and no files.
pub(crate) fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z' && stat.state != 'X')
}

/// The state and the command line of a process, for error messages.
pub(crate) fn describe(pid: u32) -> String {
    let state = stat(pid).map_or('?', |stat| stat.state);
    let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let (command, waits) = (read("cmdline").replace('\0', " "), read("wchan"));
    format!("{pid} {state} {waits} {}", command.trim())
}

/// When the process started, in clock ticks since boot. Together with the pid it identifies a process
/// uniquely.
pub(crate) fn start_of(pid: u32) -> Option<u64> {
    stat(pid).map(|stat| stat.start)
}

/// The pids whose working directory is inside `folder`.
pub(crate) fn working_in(folder: &Path) -> Vec<u32> {
    pids()
        .filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder)))
        .collect()
}

struct Stat {
    state: char,
    parent: u32,
    start: u64,
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name is in parentheses and may contain spaces and parentheses itself.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // Field 22 of the whole line.
    let start = fields.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, start })
}
