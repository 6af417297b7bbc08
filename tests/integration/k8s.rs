//! `deploy/k8s`: every overlay renders to valid manifests that match the binaries' settings and keep this project's
//! policies.

mod balancer;
mod breakage;
mod custom;
mod dev;
mod dev_sentinel;
mod manifests;
mod policies;
mod render;
mod start_redis;
mod tools;
mod types;
mod workflow;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fleet_runtime::settings::load;
use manifests::{Manifests, list};
use render::rendered;

use crate::compose::assert_known;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_overlay_keeps_every_policy() {
    let mut violations = Vec::new();
    for manifests in rendered() {
        for (policy, violated) in policies::ALL {
            let found = violated(manifests).into_iter();
            violations.extend(found.map(|line| format!("{}: {policy}: {line}", manifests.name)));
        }
    }
    assert_eq!(violations, Vec::<String>::new());
}

#[test]
fn every_container_runs_a_command_that_exists() {
    let mut commands = BTreeSet::new();
    for pod in rendered().iter().flat_map(Manifests::our_pods) {
        for container in list(pod.spec, "/containers") {
            let words = list(container, "/command").iter().map(|word| word.as_str().unwrap().to_owned());
            commands.insert(words.collect::<Vec<_>>());
        }
    }
    assert_eq!(commands.len(), 6, "{commands:?}");
    commands.iter().for_each(|command| assert_known(command));
}

#[test]
fn every_variable_that_the_readme_names_is_known() {
    let readme = read("deploy/k8s/README.md").replace("<SLUG>", "NIU");
    let is_unknown = |name: &str| {
        let tried = load(None, std::iter::once((name.to_owned(), "1".to_owned())));
        tried.is_err_and(|error| error.to_string().contains("unknown field"))
    };
    assert!(is_unknown("FLEET_API__LISTNE"));
    let words = readme.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let names: BTreeSet<_> = words.filter(|word| word.starts_with("FLEET_")).collect();
    assert!(!names.is_empty());
    assert_eq!(names.into_iter().filter(|name| is_unknown(name)).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn every_overlay_and_every_component_is_rendered() {
    let folders = |path: &str| {
        let entries = std::fs::read_dir(repository().join(path)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
    };
    let all: BTreeSet<_> = rendered().iter().map(|manifests| manifests.name.clone()).collect();
    let expected = folders("deploy/k8s/overlays")
        .into_iter()
        .map(|name| format!("overlays/{name}"))
        .chain(folders("deploy/k8s/components").into_iter().map(|name| format!("components/{name}")));
    assert_eq!(all, expected.collect());
    let deployments = |manifests: &Manifests| manifests.of_kind("Deployment").count();
    // The API and the consumer, and only where they are asked for the query service and the bridge.
    for manifests in rendered() {
        let has_query = manifests.find("Deployment", "fleet-query-api").is_some();
        let is_of_bridge = manifests.name == "components/amqp-bridge";
        let wanted = 2 + usize::from(has_query) + usize::from(is_of_bridge);
        assert_eq!(deployments(manifests), wanted, "{}", manifests.name);
    }
}
