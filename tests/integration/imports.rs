//! Imports between the files of a crate go one way: no file imports, through whichever others, a file that imports it.
//!
//! A name is followed through re-exports to the file that defines it, so that a `lib.rs` of nothing but `mod` and `pub use`
//! takes part in no circle. Unit tests in a file do not count.

mod graph;
mod names;

use std::fs;
use std::path::{Path, PathBuf};

use self::graph::circles;
use self::names::imports;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The roots of every crate but these tests: `src/lib.rs` and `src/main.rs`.
fn roots() -> Vec<PathBuf> {
    let folders = ["crates", "tests"].into_iter().flat_map(|folder| {
        let entries = fs::read_dir(repository().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path())
    });
    let folders = folders.chain([repository().join("xtask")]);
    let roots = folders.flat_map(|folder| ["lib.rs", "main.rs"].map(|file| folder.join("src").join(file)));
    roots.filter(|root| root.is_file()).collect()
}

#[test]
fn no_file_imports_one_that_imports_it() {
    let roots = roots();
    assert!(roots.len() >= 15, "{roots:?}");
    let mut found = Vec::new();
    for root in &roots {
        let imports = imports(root);
        let name = root.strip_prefix(repository()).unwrap().display();
        found.extend(circles(&imports).into_iter().map(|circle| format!("{name}: {}", circle.join(" <-> "))));
    }
    assert!(found.is_empty(), "circles of imports:\n{}", found.join("\n"));
}

/// The imports of a crate of these files, the first being its root.
fn of_crate(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    circles(&imports(&folder.path().join(files[0].0)))
}

#[test]
fn a_circle_is_found_through_siblings_parents_and_paths_in_the_text() {
    let siblings = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "use crate::b::B;\npub struct A(B);"),
        ("b.rs", "pub struct B;\nfn f(_: super::a::A) {}"),
    ];
    assert_eq!(of_crate(&siblings), [["a", "b"]]);
    let parent = [
        ("lib.rs", "mod a;"),
        ("a.rs", "mod child;\nuse child::Child;\npub struct A;"),
        ("a/child.rs", "use super::A;\npub struct Child(A);"),
    ];
    assert_eq!(of_crate(&parent), [["a", "a::child"]]);
    let through_the_root = [
        ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::{B as Bee};"),
        ("a.rs", "use crate::Bee;\npub struct A(Bee);"),
        ("b.rs", "use crate::A;\npub struct B;"),
    ];
    assert_eq!(of_crate(&through_the_root), [["a", "b"]]);
}

#[test]
fn what_goes_one_way_is_no_circle() {
    let facade = [
        ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;"),
        ("a.rs", "pub struct A;"),
        ("b.rs", "use crate::A;\npub struct B(A);"),
    ];
    assert_eq!(of_crate(&facade), Vec::<Vec<String>>::new());
    let in_a_test = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "pub struct A;\n#[cfg(test)]\nmod tests {\n use super::super::b::B;\n}"),
        ("b.rs", "use crate::a::A;\npub struct B(A);"),
    ];
    assert_eq!(of_crate(&in_a_test), Vec::<Vec<String>>::new());
}
