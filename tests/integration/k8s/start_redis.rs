//! The script that starts a Redis of the component `redis-sentinel`, with programs that respond as the servers would.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::documents::text::root;

const SCRIPT: &str = "deploy/k8s/components/redis-sentinel/start-redis.sh";

const ME: &str = "redis-node-0.redis-node";
const OTHER: &str = "redis-node-1.redis-node";

/// Responds with the file that has the command's name. Without such a file, the server does not respond.
const REDIS_CLI: &str = r#"#!/bin/sh
case "$*" in
    *get-master-addr-by-name*) cat "$RESPONSES/primary" ;;
    *"sentinel master"*) printf 'num-slaves\n%s\n' "$(cat "$RESPONSES/replicas")" ;;
    *role*) cat "$RESPONSES/role" ;;
    *info*) cat "$RESPONSES/info" ;;
esac
"#;

/// What the servers respond; `None` if they do not.
#[derive(Clone, Copy, Default)]
struct Servers<'a> {
    /// The primary that the Sentinels name.
    primary: Option<&'a str>,
    /// How many replicas the Sentinels know.
    replicas: Option<&'a str>,
    /// The role of the other Redis.
    role: Option<&'a str>,
    /// The keys of the other Redis.
    info: Option<&'a str>,
    /// Whether this server's disk has data.
    has_data: bool,
}

fn install(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

fn prepared(servers: Servers<'_>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path(), "redis-cli", REDIS_CLI);
    install(folder.path(), "redis-server", "#!/bin/sh\necho \"$*\"\n");
    install(folder.path(), "hostname", "#!/bin/sh\necho redis-node-0\n");
    let responses = [
        ("primary", servers.primary),
        ("replicas", servers.replicas),
        ("role", servers.role),
        ("info", servers.info),
    ];
    for (name, response) in responses {
        if let Some(response) = response {
            fs::write(folder.path().join(name), format!("{response}\n")).unwrap();
        }
    }
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    if servers.has_data {
        fs::create_dir(data.join("appendonlydir")).unwrap();
        fs::write(data.join("appendonlydir/appendonly.aof.1.base.rdb"), "x").unwrap();
    }
    folder
}

/// The first line that the script prints, and the arguments of the server that it starts. A script that waits gets SIGTERM and
/// must end with status 0.
fn decision(servers: Servers<'_>) -> (String, Option<String>) {
    let folder = prepared(servers);
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut script = Command::new("sh")
        .arg(root().join(SCRIPT))
        .args(["--appendonly", "yes"])
        .env("PATH", path)
        .env("RESPONSES", folder.path())
        .env("DATA", folder.path().join("data"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(script.stdout.take().unwrap()).lines();
    let said = lines.next().unwrap().unwrap();
    if said.starts_with("waiting: ") {
        kill_process(Pid::from_child(&script), Signal::TERM).unwrap();
    }
    let arguments = lines.next().map(Result::unwrap);
    assert!(script.wait().unwrap().success(), "{said}");
    (said, arguments)
}

#[test]
fn a_server_starts_as_the_sentinels_say() {
    let named = |primary| Servers { primary: Some(primary), replicas: Some("1"), ..Servers::default() };
    let (said, arguments) = decision(Servers { has_data: true, ..named(ME) });
    let arguments = arguments.unwrap();
    assert_eq!(said, "starting as the primary");
    assert!(arguments.ends_with("--appendonly yes") && !arguments.contains("--replicaof"), "{arguments}");
    for has_data in [false, true] {
        let (said, arguments) = decision(Servers { has_data, ..named(OTHER) });
        assert_eq!(said, format!("starting as a replica of {OTHER}"));
        assert!(arguments.unwrap().contains(&format!("--replicaof {OTHER} 6379")));
    }
}

#[test]
fn a_server_starts_empty_only_the_first_time() {
    let first = Servers { primary: Some(ME), replicas: Some("0"), ..Servers::default() };
    assert_eq!(decision(first).0, "starting as the primary");
    // The other one may have started first, as its replica.
    let other_waits = Servers { role: Some("slave"), info: Some("# Keyspace"), ..first };
    assert_eq!(decision(other_waits).0, "starting as the primary");
    let lost = [
        // The other one does not respond in this moment.
        Servers { replicas: Some("1"), ..first },
        Servers { replicas: Some("1"), role: Some("slave"), info: Some("db0:keys=3"), ..first },
        // The Sentinels have lost their disks, too.
        Servers { role: Some("slave"), info: Some("db0:keys=3"), ..first },
    ];
    for servers in lost {
        let (said, arguments) = decision(servers);
        assert!(said.starts_with("waiting: this disk is empty"), "{said}");
        assert_eq!(arguments, None);
    }
}

#[test]
fn without_sentinels_the_other_server_decides() {
    let (said, _arguments) = decision(Servers { role: Some("master"), has_data: true, ..Servers::default() });
    assert_eq!(said, format!("starting as a replica of {OTHER}"));
    let (said, _arguments) = decision(Servers { role: Some("slave"), has_data: true, ..Servers::default() });
    assert_eq!(said, "starting as the primary");
    for has_data in [false, true] {
        let (said, arguments) = decision(Servers { has_data, ..Servers::default() });
        assert_eq!(said, format!("waiting: neither {OTHER} nor two Sentinels respond"));
        assert_eq!(arguments, None);
    }
}
