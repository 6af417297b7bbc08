//! Settings, and how the programs refuse wrong ones.

use std::ffi::OsStr;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;

use tempfile::NamedTempFile;

use super::program::{Ended, Program, Site, binary, own_ip, run};
use crate::support::{TOKEN, TestDatabase};

const BINARIES: [&str; 2] = ["fleet-webhook-api", "fleet-consumer"];

/// Runs `check-config` of `name` with only these variables.
async fn check(name: &str, variables: &[(&str, &str)]) -> Ended {
    let variables = variables.iter().copied();
    run(binary(name, &["check-config"]).envs(variables)).await
}

#[tokio::test]
async fn everything_wrong_is_said_at_once() {
    let wrong = [
        ("FLEET_API__LISTNE", "0.0.0.0:80"),
        ("FLEET_API__MAX_BODY_BYTES", "many"),
        ("FLEET_CONSUMER__LEASE", "soon"),
        ("FLEET_COLOUR", "red"),
    ];
    for name in BINARIES {
        for arguments in [&[][..], &["check-config"]] {
            let ended = run(binary(name, arguments).envs(wrong)).await;
            assert_eq!(ended.code, Some(78), "{name} {arguments:?}: {ended:?}");
            for (variable, _value) in wrong {
                assert!(ended.errors.contains(variable), "{name} {arguments:?}: {}", ended.errors);
            }
        }
    }
}

#[tokio::test]
async fn an_api_without_a_provider_is_refused() {
    for arguments in [&[][..], &["check-config"]] {
        let ended = run(&mut binary("fleet-webhook-api", arguments)).await;
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(ended.errors.contains("FLEET_PROVIDERS__NIU__SECRETS"), "{ended:?}");
    }
    let consumer = check("fleet-consumer", &[]).await;
    assert_eq!(consumer.code, Some(0), "the consumer needs no provider: {consumer:?}");
}

#[tokio::test]
async fn every_wrong_provider_is_said_at_once() {
    let ended = check(
        "fleet-webhook-api",
        &[
            ("FLEET_PROVIDERS__NUI__SECRETS", TOKEN),
            ("FLEET_PROVIDERS__NIU__AUTH", "magic"),
            ("FLEET_PROVIDERS__SEGWAY__AUTH", "segway-md5"),
        ],
    )
    .await;
    assert_eq!(ended.code, Some(78), "{ended:?}");
    for named in ["FLEET_PROVIDERS__NUI__", "FLEET_PROVIDERS__NIU__AUTH", "FLEET_PROVIDERS__SEGWAY__SECRETS"]
    {
        assert!(ended.errors.contains(named), "{named}: {}", ended.errors);
    }
}

/// Both the program itself and `check-config` must refuse this value and name the variable.
async fn assert_refused(name: &str, variable: &str, value: &str) -> Ended {
    let mut last = None;
    let site = Site::new("postgres://nobody@127.0.0.1:1/none");
    for arguments in [&[][..], &["check-config"]] {
        let mut command = match name {
            "fleet-consumer" => site.consumer(arguments),
            _ => site.api(arguments),
        };
        let ended = run(command.env(variable, value)).await;
        let tried = format!("{name} {arguments:?} {variable}={value}");
        assert_eq!(ended.code, Some(78), "{tried}: {ended:?}");
        assert!(ended.errors.contains(variable), "{tried}: {ended:?}");
        last = Some(ended);
    }
    last.unwrap()
}

#[tokio::test]
async fn a_wrong_log_filter_is_refused() {
    for name in BINARIES {
        assert_refused(name, "FLEET_LOG", "fleet=louder").await;
    }
}

#[tokio::test]
async fn a_redis_url_that_can_never_work_is_refused() {
    for name in BINARIES {
        assert_refused(name, "FLEET_REDIS_URL", "cache").await;
    }
}

#[tokio::test]
async fn a_url_may_end_with_a_line_and_not_hold_one() {
    let database = TestDatabase::migrated().await;
    let mut site = Site::new(&format!("{}\n", database.url()));
    site.redis = format!(" {}\n", site.redis);
    for mut command in [site.api(&[]), site.consumer(&[])] {
        Program::start(&mut command).readiness(200).await;
    }
    for (name, variable, value) in [
        ("fleet-webhook-api", "FLEET_REDIS_URL", "redis://:hunter2@cache:1\nredis://:hunter2@other:1"),
        ("fleet-consumer", "FLEET_DATABASE_URL", "postgres://u:hunter2 @db/fleet"),
        ("fleet-consumer", "FLEET_TELEMETRY_DATABASE_URL", "postgres://u:hunter2@db\t/fleet"),
    ] {
        let ended = assert_refused(name, variable, value).await;
        assert!(!ended.errors.contains("hunter2"), "{ended:?}");
    }
}

/// A TOML parser's error may quote the line, which may contain a secret.
#[tokio::test]
async fn a_broken_file_does_not_show_its_secrets() {
    for text in
        ["redis_url = \"redis://:hunter2@cache:1\nredis://:hunter2@other\"\n", "redis_url = hunter2\n"]
    {
        let file = toml(text);
        for name in BINARIES {
            let ended = run(&mut binary(name, &["--config", file.path().to_str().unwrap()])).await;
            assert_eq!(ended.code, Some(78), "{ended:?}");
            assert!(ended.errors.contains("line "), "{ended:?}");
            assert!(!ended.errors.contains("hunter2"), "{ended:?}");
        }
    }
}

#[tokio::test]
async fn a_wrong_command_line_is_told_from_a_wrong_configuration() {
    for name in BINARIES {
        for (arguments, status) in
            [(&["no-such-command"][..], 64), (&["--no-such-flag"], 64), (&["--help"], 0), (&["--version"], 0)]
        {
            let ended = run(&mut binary(name, arguments)).await;
            assert_eq!(ended.code, Some(status), "{name} {arguments:?}: {ended:?}");
            let (said, silent) =
                if status == 0 { (&ended.output, &ended.errors) } else { (&ended.errors, &ended.output) };
            assert!(!said.is_empty() && silent.is_empty(), "{name} {arguments:?}: {ended:?}");
        }
        let advice = run(&mut binary(name, &["--config"])).await;
        assert_eq!(advice.code, Some(64), "{name}: an option without its value: {advice:?}");
        // The advice is a command that exists.
        let refused = run(binary(name, &[]).env("FLEET_COLOUR", "red")).await;
        let (_, advice) = refused.errors.split_once("check it with `").unwrap();
        let mut words = advice.split('`').next().unwrap().split(' ');
        assert_eq!(words.next(), Some(name), "{refused:?}");
        let arguments: Vec<_> = words.chain(["--help"]).collect();
        assert_eq!(run(&mut binary(name, &arguments)).await.code, Some(0), "{refused:?}");
    }
}

#[tokio::test]
async fn a_wrong_argument_of_a_command_is_no_wrong_configuration() {
    for arguments in [
        &["replay"][..],
        &["replay", "--from", "yesterday", "--to", "2026-01-02"],
        &["replay", "--from", "2026-01-02", "--to", "2026-01-01"],
        &["replay", "--from", "2026-01-01", "--to", "2026-01-02", "--provider", "nobody"],
        &["trace", "no-id"],
        &["explain", "nobody", "vehicle"],
        &["dead-letters", "no-such-command"],
        &["parse-isolated", "nobody", "1"],
    ] {
        let ended = run(&mut binary("fleet-consumer", arguments)).await;
        assert_eq!(ended.code, Some(64), "{arguments:?}: {ended:?}");
        assert!(!ended.errors.contains("Correct the configuration"), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_a_wrong_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    for name in BINARIES {
        let ended = run(&mut binary(name, &["--config", folder])).await;
        assert_eq!(ended.code, Some(78), "{name}: {ended:?}");
        assert!(ended.errors.contains(folder), "{name}: {ended:?}");
        assert_refused(name, "FLEET_TLS__CA_FILE", folder).await;
    }
    assert_refused("fleet-webhook-api", "FLEET_PROVIDERS__NIU__SECRETS_FILE", folder).await;
}

#[tokio::test]
async fn a_database_url_that_can_never_work_is_refused() {
    for variable in ["FLEET_DATABASE_URL", "FLEET_TELEMETRY_DATABASE_URL"] {
        assert_refused("fleet-consumer", variable, "postgres://fleet@db:many/fleet").await;
    }
}

#[tokio::test]
async fn the_configuration_in_effect_is_shown_without_secrets() {
    let variables = [
        ("FLEET_REDIS_URL", "redis://:hunter2@cache:6379/1"),
        ("FLEET_DATABASE_URL", "postgres://fleet:hunter2@db/fleet"),
        ("FLEET_TELEMETRY_DATABASE_URL", "postgres://db/telemetry?user=fleet&password=hunter2"),
        ("FLEET_PROVIDERS__NIU__SECRETS", "hunter2,hunter2-old"),
        ("FLEET_PROVIDERS__NIU__AUTH", "header:hunter2"),
        ("FLEET_CONSUMER__LEASE", "45s"),
    ];
    for name in BINARIES {
        let Ended { code, output, errors, .. } = check(name, &variables).await;
        assert_eq!(code, Some(0), "{name}: {errors}");
        assert!(!format!("{output}{errors}").contains("hunter2"), "{name}: {output}{errors}");
        for line in [
            "FLEET_REDIS_URL=redis://[redacted]@cache:6379/1",
            "FLEET_DATABASE_URL=postgres://[redacted]@db/fleet",
            "FLEET_PROVIDERS__NIU__SECRETS=[redacted],[redacted]",
            "FLEET_PROVIDERS__NIU__AUTH=header:[redacted]",
            "FLEET_CONSUMER__LEASE=45s",
            "FLEET_API__LISTEN=127.0.0.1:8080",
        ] {
            assert!(output.lines().any(|shown| shown == line), "{name}, {line}: {output}");
        }
    }
}

#[tokio::test]
async fn a_secret_in_the_wrong_place_is_not_shown() {
    for (name, value) in [
        ("FLEET_PROVIDERS__NIU", "hunter2"),
        ("FLEET_PROVIDERS__NIU__AUTH", "hunter2"),
        // A provider without secrets.
        ("FLEET_PROVIDERS__NIU__AUTH", "header:hunter2"),
        ("FLEET_PROVIDERS__NIU__AUTH", "query:hunter2"),
    ] {
        let ended = check("fleet-webhook-api", &[(name, value)]).await;
        assert_eq!(ended.code, Some(78), "{value}: {ended:?}");
        assert!(ended.errors.contains("FLEET_PROVIDERS__NIU"), "{value}: {ended:?}");
        assert!(!format!("{ended:?}").contains("hunter2"), "{value}: {ended:?}");
    }
}

#[tokio::test]
async fn variables_of_tests_and_of_kubernetes_are_ignored() {
    let variables = [
        ("FLEET_TEST_ANYTHING", "x"),
        ("FLEET_WEBHOOK_API_PORT", "tcp://10.0.0.1:80"),
        ("FLEET_WEBHOOK_API_SERVICE_HOST", "10.0.0.1"),
        ("FLEET_PROVIDERS__NIU__SECRETS", TOKEN),
    ];
    for name in BINARIES {
        let ended = check(name, &variables).await;
        assert_eq!(ended.code, Some(0), "{name}: {ended:?}");
        let ended = check(name, &[variables[3], ("FLEET_CONSUMER_PORT", "1")]).await;
        assert_eq!(ended.code, Some(78), "{name}: {ended:?}");
        assert!(ended.errors.contains("FLEET_CONSUMER_PORT"), "{name}: {ended:?}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_are_refused_where_they_matter() {
    let odd = OsStr::from_bytes(b"hunter2\xff");
    for name in BINARIES {
        let secrets = ("FLEET_PROVIDERS__NIU__SECRETS", TOKEN);
        let elsewhere = run(binary(name, &["check-config"]).envs([secrets]).env("LS_COLORS", odd)).await;
        assert_eq!(elsewhere.code, Some(0), "{name}: {elsewhere:?}");
        let ended = run(binary(name, &["check-config"]).env("FLEET_DATABASE_URL", odd)).await;
        assert_eq!(ended.code, Some(78), "{name}: {ended:?}");
        assert!(ended.errors.contains("FLEET_DATABASE_URL: the value is not UTF-8"), "{ended:?}");
        assert!(!ended.errors.contains("hunter2"), "{ended:?}");
    }
}

fn toml(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[tokio::test]
async fn the_environment_wins_over_the_file() {
    let file = toml(
        "redis_url = \"redis://file:1\"\n[queue]\nprefix = \"file\"\n[providers.niu]\nsecrets = \"from-file\"\n",
    );
    let path = file.path().to_str().unwrap();
    for name in BINARIES {
        // Before and after the subcommand.
        for arguments in [["--config", path, "check-config"], ["check-config", "--config", path]] {
            let ended = run(binary(name, &arguments).env("FLEET_QUEUE__PREFIX", "environment")).await;
            assert_eq!(ended.code, Some(0), "{name}: {ended:?}");
            for line in [
                "FLEET_REDIS_URL=redis://file:1",
                "FLEET_QUEUE__PREFIX=environment",
                "FLEET_PROVIDERS__NIU__SECRETS=[redacted]",
            ] {
                assert!(ended.output.lines().any(|shown| shown == line), "{line}: {ended:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_file_is_refused() {
    let wrong = toml("colour = \"red\"\n[api]\nlistne = \"0.0.0.0:80\"\n");
    let broken = toml("[api\n");
    for name in BINARIES {
        for (path, said) in [
            (wrong.path().to_str().unwrap(), "colour"),
            (wrong.path().to_str().unwrap(), "listne"),
            (broken.path().to_str().unwrap(), "line 1"),
            ("/nowhere/fleet.toml", "/nowhere/fleet.toml"),
        ] {
            let ended = run(&mut binary(name, &["--config", path])).await;
            assert_eq!(ended.code, Some(78), "{name} {said}: {ended:?}");
            assert!(ended.errors.contains(said), "{name} {said}: {ended:?}");
        }
    }
}

#[tokio::test]
async fn a_taken_port_fails_the_start() {
    let site = Site::new("postgres://nobody@127.0.0.1:1/none");
    let taken = TcpListener::bind(SocketAddr::new(own_ip(), 8080)).unwrap();
    let taken = taken.local_addr().map(|address| (taken, address.to_string()));
    let (_listener, address) = taken.unwrap();
    for (mut command, variable) in [
        (site.api(&[]), "FLEET_API__LISTEN"),
        (site.api(&[]), "FLEET_ADMIN__LISTEN"),
        (site.consumer(&[]), "FLEET_ADMIN__LISTEN"),
    ] {
        let ended = run(command.env(variable, &address)).await;
        assert_eq!(ended.code, Some(1), "{variable}: {ended:?}");
        assert!(ended.errors.contains(&address) && ended.errors.contains(variable), "{ended:?}");
    }
}
