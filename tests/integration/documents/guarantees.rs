//! docs/guarantees.md and docs/security.md: every guarantee names tests, and every test that either page names exists.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::Path;

use super::text::{read, root, rust_files, tick_quoted};

/// One `###` section of the page.
struct Guarantee<'a> {
    title: &'a str,
    text: &'a str,
}

fn guarantees(page: &str) -> Vec<Guarantee<'_>> {
    let sections = page.split("\n## ").flat_map(|section| section.split("\n### ").skip(1));
    let guarantees = sections.map(|section| {
        let (title, text) = section.split_once('\n').unwrap();
        Guarantee { title, text }
    });
    guarantees.collect()
}

/// The tests in a text, each named as `module::function`.
fn named_tests(text: &str) -> Vec<&str> {
    let lower = |letter: char| {
        letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_' || letter == ':'
    };
    let names = tick_quoted(text).filter(|quoted| quoted.contains("::") && quoted.chars().all(lower));
    names.collect()
}

/// A function of this name is in the file or folder of the module, or in a file with an inline module of its name.
fn assert_tests_exist(tests: &[&str]) {
    let sources = rust_files(&root()).map(|path| (module_path(&path), fs::read_to_string(&path).unwrap()));
    let sources: Vec<_> = sources.collect();
    for test in tests {
        let (module, function) = test.rsplit_once("::").unwrap();
        let module = module.rsplit("::").next().unwrap();
        let exists = sources.iter().any(|(modules, source)| {
            let in_module =
                modules.iter().any(|name| name == module) || source.contains(&format!("mod {module} {{"));
            in_module && source.contains(&format!("fn {function}("))
        });
        assert!(exists, "there is no test {test}");
    }
}

/// Folders and file name of a source, as modules are named.
fn module_path(path: &Path) -> Vec<String> {
    let names = path.with_extension("");
    let names = names.components().map(|name| name.as_os_str().to_string_lossy().into_owned());
    names.collect()
}

#[test]
fn every_guarantee_names_tests_that_exist() {
    let page = read("docs/guarantees.md");
    let guarantees = guarantees(&page);
    assert!(guarantees.len() >= 25, "{} guarantees", guarantees.len());
    for Guarantee { title, text } in guarantees {
        let conditions = text.lines().filter(|line| line.starts_with("- Conditions: ")).count();
        assert_eq!(conditions, 1, "{title}: conditions");
        let (_meaning, tests) =
            text.split_once("\n- Tests: ").unwrap_or_else(|| panic!("{title}: no line of tests"));
        let tests = named_tests(tests);
        assert!(!tests.is_empty(), "{title}: no test");
        assert_tests_exist(&tests);
    }
}

#[test]
fn every_defence_names_tests_that_exist() {
    let page = read("docs/security.md");
    let tests = named_tests(&page);
    assert!(tests.len() >= 15, "{tests:?}");
    assert_tests_exist(&tests);
}
