//! Checks that the benchmark works: small cases on real servers with the workspace's binaries. `cargo xtask
//! test` runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::process::Command;

use serde_json::Value;

#[test]
fn the_small_cases_measure_something_plausible() {
    let bin_dir = std::env::var("FLEET_TEST_BIN_DIR");
    let bin_dir = bin_dir.expect("FLEET_TEST_BIN_DIR is not set: run `cargo xtask test`");
    let out = tempfile::tempdir().unwrap();
    let cases = ["drain", "idle", "freshness", "sizing", "amqp", "query"];
    let output = Command::new(env!("CARGO_BIN_EXE_fleet-bench"))
        .args(["run", "--quick", "--bin-dir", &bin_dir, "--out"])
        .arg(out.path())
        .args(cases)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let printed = String::from_utf8_lossy(&output.stdout);
    for case in cases {
        assert!(printed.contains(case), "{printed}");
        let text = fs::read_to_string(out.path().join(format!("{case}.json"))).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&file["case"], &file["quick"]), (&Value::from(case), &Value::from(true)), "{text}");
        for known in ["cpu", "kernel", "redis", "postgres", "timescaledb"] {
            assert!(file[known].as_str().is_some_and(|text| !text.is_empty()), "{known}: {text}");
        }
        // Every required figure was measured. A figure that was not is null.
        let checks = file["checks"].as_array().unwrap();
        assert!(!checks.is_empty() && checks.iter().all(|check| check["value"].is_f64()), "{text}");
    }
    let median = |case: &str, name: &str| {
        let text = fs::read_to_string(out.path().join(format!("{case}.json"))).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let series = file["series"].as_array().unwrap();
        let found = series.iter().find(|series| series["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {text}"))["median"].as_f64().unwrap()
    };
    // CPU time is counted in ticks of 10 ms. An unoptimised build uses several for 20,000 events.
    assert!(median("drain", "product: CPU an event, PostgreSQL") > 1.0);
    assert!(median("drain", "product: CPU an event, consumer") > 1.0);
    assert!(median("drain", "reference: CPU a row, PostgreSQL") > 1.0);
    assert!(median("amqp", "bridge: CPU an event, bridge") > 1.0);
    assert!(median("amqp", "with a consumer: events until telemetry") > 1.0);
    assert!(median("query", "1000: near: rate ÷ reference") > 0.0);
    assert!((150.0..250.0).contains(&median("query", "2000: changes stored")));
    let visible_ms = median("query", "2000: 20 streams: change visible, p50");
    assert!((1.0..10_000.0).contains(&visible_ms), "{visible_ms} ms");
    let commits = median("idle", "commits");
    assert!((20.0..2_000.0).contains(&commits), "{commits} commits/s");
    let fresh_ms = median("freshness", "p50");
    assert!((0.1..10_000.0).contains(&fresh_ms), "{fresh_ms} ms");
    assert!(median("freshness", "vehicles looked for") >= 5.0);
    let (message, memory) = (
        median("sizing", "niu: message with its envelope"),
        median("sizing", "niu: Redis: memory a message"),
    );
    assert!((message..2.0 * message).contains(&memory), "{memory} bytes of memory for {message}");
}

#[test]
fn a_failure_says_what_to_do_and_a_wrong_case_is_refused() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_fleet-bench")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, errors) = run(&["run", "--bin-dir", ".", "--out", "/dev/null/folder", "idle"]);
    assert_eq!(status, Some(1), "{errors}");
    assert!(errors.contains("create /dev/null/folder"), "{errors}");
    assert_eq!(run(&["run", "--bin-dir", ".", "--out", ".", "sleep"]).0, Some(2));
}
