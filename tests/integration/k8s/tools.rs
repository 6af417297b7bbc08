//! Checks by other projects' tools: schemas, YAML, alert rules. All of them work offline.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::custom;
use super::manifests::{at, list};
use super::policies::unexported;
use super::render::{overlay, rendered, tools};
use super::{read, repository};

/// The oldest version that is supported, and the newest with a schema.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

/// Standard output and standard error of a command, and whether it succeeded.
fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let both = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&both).into_owned())
}

/// The lines of kubernetes-validate that are not INFO. It only warns about a kind without a schema, so the kinds
/// without one are listed.
fn schema_problems(text: &str) -> Vec<String> {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), text).unwrap();
    let mut command = tools().kubernetes_validate();
    command.arg("--strict").args(VERSIONS.iter().flat_map(|version| ["-k", version])).arg(file.path());
    let (success, said) = run(&mut command);
    let without_schema = |line: &str| {
        custom::KINDS.iter().any(|kind| line.contains(&format!("Couldn't find schema for kind {kind} ")))
    };
    let lines = said.lines().filter(|line| !line.starts_with("INFO ") && !without_schema(line));
    let problems: Vec<_> = lines.map(str::to_owned).collect();
    assert_eq!(success, problems.iter().all(|line| line.starts_with("WARN ")), "{said}");
    assert!(said.contains("INFO "), "nothing was validated: {said}");
    problems
}

#[test]
fn every_object_matches_its_schema() {
    let examples = read("deploy/k8s/examples/secret.example.yaml");
    let texts = rendered().iter().map(|manifests| manifests.text.as_str()).chain([examples.as_str()]);
    // All overlays contain base. Each object is checked once, and all of them in one run.
    let objects: BTreeSet<_> = texts.flat_map(|text| text.split("\n---\n")).collect();
    let all = objects.into_iter().map(|object| format!("---\n{object}\n")).collect::<String>();
    assert_eq!(schema_problems(&all), Vec::<String>::new());
}

#[test]
fn an_unknown_field_and_an_unknown_kind_do_not_match() {
    let good = &overlay("overlays/dev").text;
    let unknown = schema_problems(&good.replace("progressDeadlineSeconds:", "progressDeadline:"));
    assert!(unknown.iter().any(|line| line.contains("progressDeadline")), "{unknown:?}");
    let kind = schema_problems(&good.replace("kind: CronJob", "kind: CronnJob"));
    assert!(kind.iter().any(|line| line.starts_with("WARN ") && line.contains("CronnJob")), "{kind:?}");
}

fn yamllint(paths: &[&std::path::Path]) -> (bool, String) {
    let rules = "{extends: default, rules: {line-length: disable, document-start: disable, braces: \
                 {min-spaces-inside: 0, max-spaces-inside: 1}, comments: {min-spaces-from-content: 1}, truthy: \
                 {check-keys: false}, indentation: {indent-sequences: consistent}}}";
    run(tools().yamllint().args(["--strict", "-d", rules]).args(paths))
}

#[test]
fn every_yaml_file_is_well_formed_and_no_key_stands_twice() {
    let folders = ["deploy/k8s", ".github", "docker-compose.yml", "tests/integration/k8s"]
        .map(|path| repository().join(path));
    let (success, said) = yamllint(&folders.each_ref().map(std::path::PathBuf::as_path));
    assert!(success, "{said}");
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), "spec:\n  replicas: 1\n  replicas: 2\n").unwrap();
    let (success, said) = yamllint(&[file.path()]);
    assert!(!success && said.contains("duplication of key"), "{said}");
}

#[test]
fn alert_rules_are_valid_and_their_tests_pass() {
    let rules = repository().join("deploy/k8s/rules");
    for arguments in [["check", "rules", "fleet.rules.yaml"], ["test", "rules", "fleet.rules.test.yaml"]] {
        let (success, said) = run(tools().promtool().args(arguments).current_dir(&rules));
        assert!(success && said.contains("SUCCESS"), "{arguments:?}: {said}");
    }
    let (success, said) =
        run(tools().promtool().args(["check", "rules", "fleet.rules.test.yaml"]).current_dir(&rules));
    assert!(!success, "an invalid rules file passes: {said}");
}

#[test]
fn the_prometheus_rule_is_the_rules_file() {
    let file: Value = yaml_serde::from_str(&read("deploy/k8s/rules/fleet.rules.yaml")).unwrap();
    for name in ["overlays/staging", "overlays/production"] {
        let rule = overlay(name).find("PrometheusRule", "fleet").unwrap();
        assert_eq!(
            at(rule, "/spec"),
            &file,
            "copy it again: see \"Alerts and dashboard\" in deploy/k8s/README.md"
        );
    }
}

#[test]
fn every_alert_is_tested_and_asks_for_what_is_exported() {
    let file: Value = yaml_serde::from_str(&read("deploy/k8s/rules/fleet.rules.yaml")).unwrap();
    let tests = read("deploy/k8s/rules/fleet.rules.test.yaml");
    let rules: Vec<_> = list(&file, "/groups").iter().flat_map(|group| list(group, "/rules")).collect();
    assert!(!rules.is_empty());
    for rule in rules {
        let expression = at(rule, "/expr").as_str().unwrap();
        assert_eq!(unexported(expression), Vec::<String>::new(), "{rule}");
        if let Some(alert) = at(rule, "/alert").as_str() {
            assert!(tests.contains(&format!("alertname: {alert}")), "no test fires {alert}");
        }
    }
}
