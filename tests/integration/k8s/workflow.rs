//! `.github/workflows`: the public CI runs the same commands that everybody can run.

use serde_json::Value;

use super::manifests::{at, list, text};
use super::read;

fn workflow() -> Value {
    yaml_serde::from_str(&read(".github/workflows/ci.yml")).unwrap()
}

fn steps(workflow: &Value) -> Vec<&Value> {
    let jobs = at(workflow, "/jobs").as_object().unwrap();
    jobs.values().flat_map(|job| list(job, "/steps")).collect()
}

#[test]
fn actions_are_pinned_and_may_only_read() {
    let workflow = workflow();
    assert_eq!(at(&workflow, "/permissions"), &serde_json::json!({ "contents": "read" }));
    assert!(at(&workflow, "/concurrency/group").is_string());
    for job in at(&workflow, "/jobs").as_object().unwrap().values() {
        assert!(at(job, "/permissions").is_null(), "{job}");
        assert!(at(job, "/timeout-minutes").is_u64(), "{job}");
    }
    for step in steps(&workflow) {
        let uses = text(step, "/uses");
        if !uses.is_empty() {
            let (_, commit) = uses.split_once('@').unwrap();
            let pinned = commit.len() == 40 && commit.bytes().all(|digit| digit.is_ascii_hexdigit());
            assert!(pinned, "{uses}");
            assert_eq!(at(step, "/with/persist-credentials"), &serde_json::json!(false), "{uses}");
        }
    }
}

#[test]
fn it_runs_the_projects_own_commands() {
    let workflow = workflow();
    let commands: Vec<_> = steps(&workflow).into_iter().map(|step| text(step, "/run")).collect();
    assert!(commands.iter().any(|run| run.ends_with("cargo xtask ci")), "{commands:?}");
    let built: Vec<_> = commands.iter().filter_map(|run| run.split("--target ").nth(1)).collect();
    let dockerfile = read("Dockerfile");
    let stages = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")?.split_once(" AS "));
    let images: Vec<_> = stages.map(|(_, stage)| stage).filter(|stage| *stage != "build").collect();
    for image in images {
        assert!(built.iter().any(|target| target.starts_with(image)), "{image} is not built: {built:?}");
    }
}
