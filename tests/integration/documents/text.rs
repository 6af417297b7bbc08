//! Reading the documents: files, sections, code, headings, words.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What follows a heading, up to the next one of its level.
pub(crate) fn section(document: &str, heading: &str) -> String {
    let start = document.find(&format!("\n## {heading}\n"));
    let start = start.unwrap_or_else(|| panic!("there is no section {heading:?}"));
    let body = &document[start + heading.len() + 5..];
    body.split("\n## ").next().unwrap().to_owned()
}

/// The fenced blocks of a language.
pub(crate) fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap()).collect()
}

/// What stands between single backticks.
pub(crate) fn tick_quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Every word in `text` that starts with `prefix` and goes on in `rest`.
pub(crate) fn words<'a>(text: &'a str, prefix: &str, rest: impl Fn(char) -> bool) -> BTreeSet<&'a str> {
    let starts = text.match_indices(prefix).map(|(start, _)| &text[start..]);
    let words = starts.map(|tail| {
        let end = tail.find(|letter| !rest(letter)).unwrap_or(tail.len());
        &tail[..end]
    });
    words.filter(|word| word.len() > prefix.len()).collect()
}

/// A heading's anchor, as repositories' web pages make it.
pub(crate) fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The headings of a document that has no line with a leading `#` in its code.
pub(crate) fn headings(document: &str) -> impl Iterator<Item = &str> {
    let lines = document.lines().filter(|line| line.starts_with('#'));
    lines.map(|line| line.trim_start_matches('#').trim())
}

/// A document without its fenced blocks.
pub(crate) fn prose(document: &str) -> String {
    let mut fenced = false;
    let lines = document.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Every Rust file in a folder and the folders in it.
pub(crate) fn rust_files(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let files = files(folder).into_iter();
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
}

/// Every document of the repository, as its path from the root.
pub(crate) fn markdown_files() -> Vec<String> {
    let root = root();
    let documents = files(&root).into_iter();
    let documents = documents.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect()
}

/// Every file in a folder and the folders in it, except build results and hidden ones.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let shown = paths.into_iter().filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name != "target" && !name.starts_with('.')
    });
    shown.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
