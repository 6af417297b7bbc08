//! The shell commands that run in the containers of Redis and TimescaleDB before the servers, and TimescaleDB's health
//! check.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use fleet_testbed::{DatabaseLogin, Postgres, PostgresOptions};
use tempfile::TempDir;

use super::{Compose, text};

/// Writes a script that replaces one of the image's programs.
fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A shell command from the file as the container receives it: Compose turns `$$` into `$`.
fn shell(words: &str) -> String {
    words.replace("$$", "$")
}

fn command(words: &[String], programs: &Path) -> Command {
    let mut command = Command::new(&words[0]);
    let path = std::env::var("PATH").unwrap();
    command.args(&words[1..]).env("PATH", format!("{}:{path}", programs.display()));
    command
}

/// Runs `service`'s command with `file` mounted as it is in a clone that was made under `umask 077`. The image's own
/// program must find a copy with this mode in `folder` and get the arguments that the file names.
fn assert_copied_for_everybody(service: &str, file: &str, folder: &str, copy: &str, mode: u32) {
    let compose = Compose::read();
    let service = compose.service(service);
    let container = TempDir::new().unwrap();
    let inside = |path: &str| container.path().join(path.trim_start_matches('/'));
    for made in ["mnt", "programs", "docker-entrypoint-initdb.d"] {
        fs::create_dir(inside(made)).unwrap();
    }
    program(&inside("programs"), "docker-entrypoint.sh", r#"printf '<%s>' "$@""#);
    let mounted = inside("mnt").join(file);
    fs::write(&mounted, text(&format!("compose/{file}"))).unwrap();
    fs::set_permissions(&mounted, fs::Permissions::from_mode(0o600)).unwrap();

    let mut words: Vec<_> = service.entrypoint.iter().map(|word| shell(word)).collect();
    for path in [format!("/mnt/{file}"), folder.to_owned()] {
        assert_eq!(words[2].matches(&path).count(), 1, "{path}: {words:?}");
        words[2] = words[2].replace(&path, &inside(&path).display().to_string());
    }
    words.extend_from_slice(&service.command);
    let started = command(&words, &inside("programs")).output().unwrap();
    assert!(started.status.success(), "{started:?}");
    let arguments: String = service.command.iter().map(|argument| format!("<{argument}>")).collect();
    assert_eq!(String::from_utf8(started.stdout).unwrap(), arguments);
    let copied = inside(folder).join(copy);
    assert_eq!(fs::read_to_string(&copied).unwrap(), text(&format!("compose/{file}")));
    assert_eq!(fs::metadata(&copied).unwrap().permissions().mode() & 0o777, mode);

    fs::remove_file(&mounted).unwrap();
    let failed = command(&words, &inside("programs")).output().unwrap();
    assert!(!failed.status.success() && failed.stdout.is_empty(), "the server starts without it: {failed:?}");
}

#[test]
fn redis_reads_its_users_whatever_the_umask_of_the_clone() {
    let compose = Compose::read();
    assert_eq!(compose.redis_flag("--aclfile"), "/etc/redis/users.acl");
    assert_copied_for_everybody("redis", "users.acl", "/etc/redis", "users.acl", 0o444);
}

#[test]
fn timescaledb_runs_its_roles_whatever_the_umask_of_the_clone() {
    // The image sources scripts that are not executable. Then our script's `set -eu` would also apply to the image's
    // own script.
    let folder = "/docker-entrypoint-initdb.d";
    assert_copied_for_everybody("timescaledb", "roles.sh", folder, "900_roles.sh", 0o555);
    assert_eq!(Compose::read().service("timescaledb").command, ["postgres"], "the image's own command");
}

#[test]
fn timescaledb_reports_nothing_to_its_vendor() {
    let compose = Compose::read();
    assert_eq!(compose.service("timescaledb").environment["TIMESCALEDB_TELEMETRY"], "off");
}

/// The shell command of TimescaleDB's health check.
pub(crate) fn timescaledb_check() -> String {
    let compose = Compose::read();
    let test = &compose.service("timescaledb").healthcheck.as_ref().unwrap().test;
    assert_eq!(test[0], "CMD-SHELL");
    shell(&test[1])
}

/// Runs the health check of TimescaleDB against this server.
fn check_health(postgres: &Postgres, password: &str) -> Output {
    let programs = TempDir::new().unwrap();
    // Unlike the image's, this server listens only on the loopback address and asks for passwords there.
    program(programs.path(), "hostname", "echo 127.0.0.1");
    let psql = postgres.psql_command(DatabaseLogin::Admin);
    let (_url, psql) = psql.split_last().unwrap();
    program(programs.path(), "testbed-psql", &format!("exec {} \"$@\"", psql.join(" ")));
    let words = ["sh", "-c", &timescaledb_check().replace("psql ", "testbed-psql ")].map(str::to_owned);
    let mut command = command(&words, programs.path());
    command.env("PGPORT", postgres.port().to_string()).env("OPERATOR_PASSWORD", password).output().unwrap()
}

#[test]
fn timescaledb_is_healthy_only_with_the_logins() {
    let compose = Compose::read();
    let password = &compose.service("timescaledb").environment["OPERATOR_PASSWORD"];
    let server = Postgres::private(&[]).unwrap();
    let healthy = check_health(&server, password);
    assert!(healthy.status.success(), "{healthy:?}");
    let refused = check_health(&server, "another");
    assert!(!refused.status.success(), "{refused:?}");
    let without = PostgresOptions { without_logins: true, ..PostgresOptions::default() };
    let unhealthy = check_health(&Postgres::private_with(without).unwrap(), password);
    assert!(!unhealthy.status.success(), "{unhealthy:?}");
    let roles = text("compose/roles.sh");
    let last = roles.lines().rfind(|line| line.contains(" PASSWORD ")).unwrap();
    assert!(last.starts_with("CREATE ROLE operator "), "{last}: the health check does not wait for it");
}
