//! Which file of a crate uses names of which other one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

use super::graph::Graph;

/// How many re-exports a name is followed through.
const LONGEST_CHAIN: usize = 20;

/// A file of the crate, by its module's path.
#[derive(Default)]
struct File {
    /// Modules in files of their own.
    modules: BTreeSet<String>,
    /// What `use` binds: a name and the path it stands for. `*` has one entry a glob.
    bound: Vec<(String, Vec<String>)>,
    /// Paths that the file itself uses, those of `pub use` left out.
    used: Vec<Vec<String>>,
}

/// The graph of the files' imports, nodes named by module path; the root is `crate`.
pub(super) fn imports(root: &Path) -> Graph {
    let mut files = BTreeMap::new();
    read(root, root.parent().unwrap(), &[], &mut files);
    let mut graph = Graph::new();
    for (module, file) in &files {
        let targets = file.used.iter().filter_map(|path| defining_file(&files, module, path, LONGEST_CHAIN));
        let targets = targets.filter(|target| target != module).map(|target| name(&target)).collect();
        graph.insert(name(module), targets);
    }
    graph
}

type Files = BTreeMap<Vec<String>, File>;

fn name(module: &[String]) -> String {
    if module.is_empty() { "crate".to_owned() } else { module.join("::") }
}

/// Reads the file of a module, whose children lie in `folder`, and its children.
fn read(path: &Path, folder: &Path, module: &[String], files: &mut Files) {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = Reader::default();
    reader.visit_file(&syntax);
    for child in reader.file.modules.clone() {
        let (flat, nested) = (folder.join(format!("{child}.rs")), folder.join(&child).join("mod.rs"));
        let file = if flat.is_file() { flat } else { nested };
        read(&file, &folder.join(&child), &[module, &[child]].concat(), files);
    }
    files.insert(module.to_owned(), reader.file);
}

/// The file in which what `path` names in `module` is defined; `None` outside the crate.
fn defining_file(files: &Files, module: &[String], path: &[String], left: usize) -> Option<Vec<String>> {
    let mut at = module.to_vec();
    let mut rest = path;
    match rest.first().map(String::as_str)? {
        "crate" => {
            at.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {}
        first => {
            let file = &files[module];
            let is_bound = file.bound.iter().any(|(name, _path)| name == first);
            if !file.modules.contains(first) && !is_bound {
                return None;
            }
        }
    }
    while rest.first().is_some_and(|part| part == "super") {
        at.pop()?;
        rest = &rest[1..];
    }
    loop {
        let file = files.get(&at)?;
        let Some(part) = rest.first() else { return Some(at) };
        if file.modules.contains(part) {
            at.push(part.clone());
            rest = &rest[1..];
            continue;
        }
        let bound = file.bound.iter().find(|(name, path)| name == part && path.as_slice() != rest);
        let Some((_name, target)) = bound.filter(|_bound| left > 0) else { return Some(at) };
        return defining_file(files, &at, &[target.as_slice(), &rest[1..]].concat(), left - 1);
    }
}

#[derive(Default)]
struct Reader {
    file: File,
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if module.content.is_none() {
            self.file.modules.insert(module.ident.to_string());
        }
        visit::visit_item_mod(self, module);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut bound = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut bound);
        if matches!(item.vis, Visibility::Inherited) {
            self.file.used.extend(bound.iter().map(|(_name, path)| path.clone()));
        }
        self.file.bound.extend(bound);
    }

    /// `pub(crate)` and the like are no imports.
    fn visit_visibility(&mut self, _visibility: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.file.used.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}

/// Every name that a `use` binds, with its whole path.
fn flatten(tree: &UseTree, before: &mut Vec<String>, bound: &mut Vec<(String, Vec<String>)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, bound);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, bound)),
        UseTree::Glob(_) => bound.push(("*".to_owned(), before.clone())),
        UseTree::Name(name) if name.ident == "self" => {
            let last = before.last().cloned().unwrap_or_default();
            bound.push((last, before.clone()));
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            bound.push((name.clone(), [before.as_slice(), &[name]].concat()));
        }
        UseTree::Rename(rename) => {
            let path = [before.as_slice(), &[rename.ident.to_string()]].concat();
            bound.push((rename.rename.to_string(), path));
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "syn may add kinds of items; only these can have tests in them"
)]
fn is_for_tests(item: &Item) -> bool {
    let attributes: &[Attribute] = match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        _ => &[],
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
    })
}
