//! What `kubectl kustomize` renders for each overlay, and for base with each single component.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use fleet_testbed::{Progress, Tools};

use super::manifests::Manifests;
use super::repository;

/// kubectl and the checkers. `cargo xtask test` fetches them beforehand. Otherwise this fetches them now.
pub(super) fn tools() -> &'static Tools {
    static TOOLS: LazyLock<Tools> =
        LazyLock::new(|| Tools::ensure(&Progress::stderr()).unwrap_or_else(|error| panic!("{error}")));
    &TOOLS
}

/// Every overlay, then base with every component alone.
pub(super) fn rendered() -> &'static [Manifests] {
    static RENDERED: LazyLock<Vec<Manifests>> = LazyLock::new(|| {
        let overlays = folders("overlays").into_iter().map(|name| {
            let text = kustomize(&repository().join("deploy/k8s/overlays").join(&name));
            Manifests::parse(&format!("overlays/{name}"), &text)
        });
        let components = folders("components").into_iter().map(|name| {
            let text = with_component(&name);
            Manifests::parse(&format!("components/{name}"), &text)
        });
        overlays.chain(components).collect()
    });
    &RENDERED
}

/// One of them, by name.
pub(super) fn overlay(name: &str) -> &'static Manifests {
    rendered().iter().find(|manifests| manifests.name == name).unwrap_or_else(|| panic!("no {name}"))
}

fn folders(kind: &str) -> Vec<String> {
    let folder = repository().join("deploy/k8s").join(kind);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Base with one component, in a copy, because kustomize loads no folder by its absolute path.
fn with_component(component: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let source = repository().join("deploy/k8s");
    let copied = Command::new("cp").arg("-r").arg(source).arg(folder.path().join("k8s")).status().unwrap();
    assert!(copied.success());
    let both = folder.path().join("k8s/both");
    fs::create_dir(&both).unwrap();
    let text = format!(
        "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1\nresources: [../base]\ncomponents: \
         [../components/{component}]\n"
    );
    fs::write(both.join("kustomization.yaml"), text).unwrap();
    kustomize(&both)
}

fn kustomize(folder: &Path) -> String {
    let output = tools().kubectl().arg("kustomize").arg(folder).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{}: {errors}", folder.display());
    String::from_utf8(output.stdout).unwrap()
}
