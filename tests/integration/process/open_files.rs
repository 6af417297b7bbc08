//! The limit of open files with which the API starts.

use std::process::Command;

use super::program::{Program, Site, prepared, run};

/// Nothing listens on this port.
const NO_DATABASE: &str = "postgres://fleet@127.0.0.1:1/none";

fn api(arguments: &[&str], max_connections: &str) -> Command {
    let mut command = Site::new(NO_DATABASE).api(arguments);
    command.env("FLEET_API__MAX_CONNECTIONS", max_connections);
    command
}

#[tokio::test]
async fn a_low_soft_limit_is_raised_to_what_the_connections_need() {
    let mut api = Program::start(&mut prepared(&api(&[], "1000"), "ulimit -Sn 64"));
    api.readiness(200).await;
    assert_eq!(api.metric("process_max_fds").await, 1122.0);
}

#[tokio::test]
async fn a_hard_limit_that_is_too_low_is_refused_with_both_remedies() {
    for arguments in [&[][..], &["check-config"]] {
        let ended = run(&mut prepared(&api(arguments, "1000"), "ulimit -n 512")).await;
        assert_eq!(ended.code, Some(78), "{ended:?}");
        for said in
            ["is 512, and 1122 are needed", "raise the limit (ulimit -Hn", "lower this setting to 390"]
        {
            assert!(ended.errors.contains(said), "{said}: {}", ended.errors);
        }
        assert!(ended.errors.contains("FLEET_API__MAX_CONNECTIONS"), "{}", ended.errors);
    }
    let mut advised = Program::start(&mut prepared(&api(&[], "390"), "ulimit -n 512"));
    advised.readiness(200).await;
}
