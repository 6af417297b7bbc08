//! README.md is short, and every link of every document leads somewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::text::{anchor, headings, markdown_files, prose, read, root};

#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 170, "README.md has {lines} lines: move details to the pages in docs");
}

#[test]
fn the_readme_leads_to_every_page() {
    let readme = read("README.md");
    for document in markdown_files().iter().filter(|document| *document != "README.md") {
        assert!(readme.contains(&format!("]({document})")), "README.md has no link to {document}");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for document in markdown_files() {
        let text = prose(&read(&document));
        for link in links(&text) {
            followed += 1;
            if let Err(reason) = follow(&document, link) {
                broken.push(format!("{document}: {link}: {reason}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(followed > 100, "{followed} links");
}

/// The targets of `[text](target)`, except those of other sites.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
}

fn follow(document: &str, link: &str) -> Result<(), String> {
    let (path, fragment) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let from = root().join(document);
    let target = if path.is_empty() { from } else { from.parent().unwrap().join(path) };
    if !target.exists() {
        return Err("there is no such file".to_owned());
    }
    match fragment {
        Some(fragment) if !anchors(&target).contains(fragment) => Err("there is no such heading".to_owned()),
        Some(_) | None => Ok(()),
    }
}

/// The anchors of a document. Equal headings are numbered from the second on.
fn anchors(path: &Path) -> BTreeSet<String> {
    let text = prose(&std::fs::read_to_string(path).unwrap());
    let mut seen = BTreeMap::<String, usize>::new();
    let anchors = headings(&text).map(|heading| {
        let anchor = anchor(heading);
        let count = seen.entry(anchor.clone()).and_modify(|count| *count += 1).or_default();
        if *count == 0 { anchor } else { format!("{anchor}-{count}") }
    });
    anchors.collect()
}
