//! Settings of the topology that can never work are refused at the start.

use crate::process::program::{binary, run};
use crate::support::TOKEN;

/// Both programs, started and with `check-config`, refuse these variables with status 78 and with all of these texts.
async fn refused(variables: &[(&str, &str)], said: &[&str]) {
    for name in ["fleet-webhook-api", "fleet-consumer"] {
        for arguments in [&[][..], &["check-config"]] {
            let mut command = binary(name, arguments);
            command.env("FLEET_PROVIDERS__NIU__SECRETS", TOKEN).envs(variables.iter().copied());
            let ended = run(&mut command).await;
            assert_eq!(ended.code, Some(78), "{name} {variables:?}: {ended:?}");
            for text in said {
                assert!(ended.errors.contains(text), "{name} {variables:?}: {text}: {ended:?}");
            }
            assert!(!ended.errors.contains("hunter2"), "{ended:?}");
        }
    }
}

const URL: &str = "FLEET_REDIS_URL";
const TOPOLOGY: &str = "FLEET_REDIS__TOPOLOGY";
const NAME: &str = "FLEET_REDIS__SENTINEL_NAME";

#[tokio::test]
async fn a_topology_that_does_not_fit_the_other_settings() {
    refused(&[(TOPOLOGY, "ring")], &["FLEET_REDIS__TOPOLOGY", "single", "sentinel", "cluster"]).await;
    refused(&[(TOPOLOGY, "sentinel")], &["FLEET_REDIS__SENTINEL_NAME: is missing"]).await;
    refused(&[(TOPOLOGY, "sentinel"), (NAME, "")], &["FLEET_REDIS__SENTINEL_NAME: is missing"]).await;
    refused(
        &[
            (TOPOLOGY, "cluster"),
            (NAME, "fleet"),
            ("FLEET_REDIS__SENTINEL_PASSWORD", "hunter2"),
            (URL, "redis://a:1/4"),
        ],
        &[
            "FLEET_REDIS__SENTINEL_NAME: is only for Sentinels",
            "FLEET_REDIS__SENTINEL_PASSWORD: is only for Sentinels",
            "FLEET_REDIS_URL: must not have a database number",
        ],
    )
    .await;
    refused(&[(NAME, "fleet")], &["FLEET_REDIS__SENTINEL_NAME: is only for Sentinels"]).await;
    refused(
        &[(TOPOLOGY, "sentinel"), (NAME, "fleet"), ("FLEET_REDIS__SENTINEL_USER", "watcher")],
        &["FLEET_REDIS__SENTINEL_PASSWORD: is missing"],
    )
    .await;
}

#[tokio::test]
async fn a_url_with_a_wrong_host() {
    refused(
        &[(URL, "rediss://u:hunter2@a:1,,a:1,b:port,c:3#insecure")],
        &["FLEET_REDIS_URL: #insecure", "empty host (host 2)", "not valid (host 4)"],
    )
    .await;
    refused(&[(URL, "redis://a:1,b:2,a:1")], &["FLEET_REDIS_URL: names a host twice (host 3)"]).await;
    refused(&[(URL, "redis://u:hunter2/x@a:1")], &["FLEET_REDIS_URL: has an @", "%2F"]).await;
    refused(
        &[(URL, "unix:///run/redis.sock"), (TOPOLOGY, "cluster")],
        &["FLEET_REDIS_URL: must not be a Unix socket"],
    )
    .await;
}

#[tokio::test]
async fn several_hosts_and_a_password_are_shown_without_secrets() {
    let mut command = binary("fleet-consumer", &["check-config"]);
    command.envs([
        (URL, "redis://consumer:hunter2@a:1,b:2"),
        (TOPOLOGY, "sentinel"),
        (NAME, "fleet"),
        ("FLEET_REDIS__SENTINEL_PASSWORD", "hunter2"),
    ]);
    let ended = run(&mut command).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.output.contains("redis://[redacted]@a:1,b:2"), "{ended:?}");
    assert!(ended.output.contains("FLEET_REDIS__TOPOLOGY"), "{ended:?}");
    assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
}
