//! The log files of programs under test: `<name>.log` in one folder. All programs of that name append to it.

use std::fs;
use std::path::{Path, PathBuf};

/// The number of log lines that a failure prints.
const TAIL_LINES: usize = 25;

/// The path of the log.
#[must_use]
pub fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

/// The whole log, or an empty text if there is no file.
#[must_use]
pub fn whole(folder: &Path, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(path(folder, name)).unwrap_or_default()).into_owned()
}

/// The last lines of the log.
#[must_use]
pub fn tail(folder: &Path, name: &str) -> String {
    let text = whole(folder, name);
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(TAIL_LINES);
    lines.split_at(start).1.join("\n")
}

/// Prints the last lines of every log in the folder to stderr.
pub fn print_tails(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "log"));
    paths.sort_unstable();
    for path in paths {
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            eprintln!("--- last lines of {name}'s log ---\n{}", tail(folder, name));
        }
    }
}
