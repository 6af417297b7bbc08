//! A short demo: its comparison must agree.
//!
//! `cargo xtask test` builds the binaries and passes their folder.

use std::path::PathBuf;
use std::process::Command;

/// Runs a short demo and returns what it printed. Its last line is the simulator's report.
fn demo(options: &[&str]) -> String {
    let folder = std::env::var_os("FLEET_TEST_BIN_DIR");
    let folder = folder.unwrap_or_else(|| panic!("FLEET_TEST_BIN_DIR is not set: run `cargo xtask test`"));
    let folder = PathBuf::from(folder);
    let mut command = Command::new(folder.join("xtask"));
    // Servers of its own. Those of the other tests have other keys and databases.
    for variable in ["FLEET_TEST_REDIS_URL", "FLEET_TEST_DATABASE_URL", "FLEET_TEST_LOGINS"] {
        command.env_remove(variable);
    }
    command.args(["demo", "--json", "--for", "5s", "--vehicles", "60", "--bin-dir"]).arg(&folder);
    let output = command.args(options).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run xtask: {error}"));
    let printed = String::from_utf8_lossy(&[output.stderr.as_slice(), &output.stdout].concat()).into_owned();
    assert!(output.status.success(), "{printed}");
    printed
}

#[test]
fn every_provider_by_webhook() {
    let printed = demo(&[]);
    assert!(printed.contains(r#""ok":true"#) && printed.contains(r#""published":0,"#), "{printed}");
    assert!(!printed.contains("RabbitMQ"), "it must not start one: {printed}");
}

#[test]
fn invers_by_amqp_and_the_others_by_webhook() {
    let printed = demo(&["--amqp", "--scenario", "duplicates"]);
    assert!(printed.contains(r#""ok":true"#) && printed.contains("OK: 60 vehicles"), "{printed}");
    assert!(!printed.contains(r#""confirmed":0,"#), "{printed}");
}
