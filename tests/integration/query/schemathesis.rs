//! Schemathesis asks what the OpenAPI document allows and forbids, and checks every response against the document.
//!
//! It checks all that it can, with one exception: it does not read `/v1/vehicles/stream`, whose responses never end. What the document
//! cannot say about the parameters is in `schemathesis_rules.py`.

use std::process::Output;

use fastrand::Rng;
use fleet_testbed::{Progress, schemathesis};
use jiff::{SignedDuration, Timestamp};

use super::fleet::{id, random_fleet};
use super::rig::Rig;
use super::tracks::report;

/// The folder of the rules.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/query");

async fn run(rig: &Rig, rules: Option<&'static str>, examples: u32) -> Output {
    let document = format!("{}/openapi.json", rig.service.url);
    let run = move || {
        let mut command = schemathesis(&Progress::stderr()).unwrap_or_else(|error| panic!("{error}"));
        // It writes its caches there.
        let folder = tempfile::tempdir().unwrap();
        command.current_dir(folder.path()).env("PYTHONPATH", FOLDER).env("PYTHONDONTWRITEBYTECODE", "1");
        if let Some(rules) = rules {
            command.env("SCHEMATHESIS_HOOKS", rules);
        }
        command.arg("run").arg(document).args(["--exclude-path", "/v1/vehicles/stream"]);
        command.args(["--seed", "1", "--max-examples", &examples.to_string()]);
        command.args(["--generation-database", "none", "--no-color", "--continue-on-failure"]);
        command.output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn rig() -> Rig {
    let fleet = random_fleet(200, &mut Rng::with_seed(10));
    let rig = Rig::start(&fleet).await;
    let first = rig.service.json("/v1/vehicles?limit=1").await["vehicles"][0].clone();
    for seconds in 0..20 {
        let at = Timestamp::now() - SignedDuration::from_secs(seconds);
        report(&rig.client, id(&first), at, 1.0, 2.0).await;
    }
    rig
}

#[tokio::test]
async fn it_finds_nothing() {
    let output = run(&rig().await, Some("schemathesis_rules"), 100).await;
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains("3 covered / 3 selected"), "it followed no links: {printed}");
    let generated = printed.lines().find_map(|line| line.trim().split_once(" generated")).unwrap().0;
    assert!(generated.parse::<u32>().unwrap() > 500, "{printed}");
}

/// The check can fail: the document alone does not say which parameters exclude each other.
#[tokio::test]
async fn without_the_rules_it_finds_refused_requests() {
    let output = run(&rig().await, None, 10).await;
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("Schema-valid request rejected"), "{printed}");
}
