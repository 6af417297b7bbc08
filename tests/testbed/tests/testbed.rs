//! Tests the testbed with real servers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use fleet_testbed::{
    DatabaseLogin, Error, MemoryLimits, Postgres, PostgresOptions, Progress, Proxy, Redis, Root, Source,
    StandbyOptions, Tools,
};

/// Logs in as `fleet`, sends a command and reads this many bytes of the reply.
fn ask(redis: &Redis, command: &str, reply_bytes: usize) -> std::io::Result<String> {
    ask_as("fleet fleet", redis, command, reply_bytes)
}

fn ask_as(login: &str, redis: &Redis, command: &str, reply_bytes: usize) -> std::io::Result<String> {
    const LOGGED_IN: &str = "+OK\r\n";
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port()))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(format!("AUTH {login}\r\n{command}\r\n").as_bytes())?;
    let mut reply = vec![0; LOGGED_IN.len() + reply_bytes];
    stream.read_exact(&mut reply)?;
    let reply = String::from_utf8(reply).map_err(std::io::Error::other)?;
    reply.strip_prefix(LOGGED_IN).map(str::to_owned).ok_or_else(|| std::io::Error::other(reply.clone()))
}

#[test]
fn redis_keeps_an_answered_write_through_kill_9() {
    let mut redis = Redis::private(&["--maxmemory", "8mb"]).unwrap();
    let port = redis.port();
    assert_eq!(ask(&redis, "SET key kept", 5).unwrap(), "+OK\r\n");
    redis.kill().unwrap();
    assert!(ask(&redis, "PING", 7).is_err(), "killed, it must not answer");
    redis.restart().unwrap();
    assert_eq!(redis.port(), port);
    assert_eq!(ask(&redis, "GET key", 10).unwrap(), "$4\r\nkept\r\n");
    assert!(ask(&redis, "CONFIG GET maxmemory", 32).unwrap().contains("8388608"), "the extra arguments stay");
}

#[test]
fn a_paused_redis_answers_again_after_resume() {
    let mut redis = Redis::private(&[]).unwrap();
    redis.pause().unwrap();
    assert!(ask(&redis, "PING", 7).is_err(), "paused, it must not answer");
    redis.resume().unwrap();
    assert_eq!(ask(&redis, "PING", 7).unwrap(), "+PONG\r\n");
}

#[test]
fn a_redis_has_the_shipped_users_for_its_own_keys_and_for_the_tests() {
    let login = "api local-use-only-api";
    let root = Root::ensure(&Progress::silent()).unwrap();
    for (redis, tests) in [(Redis::private(&[]).unwrap(), true), (Redis::start(&root, &[]).unwrap(), false)] {
        assert_eq!(ask_as(login, &redis, "RPUSH fleet:{niu}:queue x", 4).unwrap(), ":1\r\n");
        let pushed = ask_as(login, &redis, "RPUSH test-1:{niu}:queue x", 4).unwrap();
        assert_eq!(pushed == ":1\r\n", tests, "{pushed}");
        assert_eq!(ask_as(login, &redis, "RPUSH other:{niu}:queue x", 7).unwrap(), "-NOPERM");
        assert!(ask(&redis, "CONFIG GET maxmemory", 36).unwrap().contains("1073741824"));
    }
}

#[test]
fn a_postgres_has_the_shipped_logins_unless_told_otherwise() {
    let count =
        "SELECT count(*) FROM pg_roles WHERE rolname IN ('migrator', 'consumer', 'reader', 'operator')";
    assert_eq!(Postgres::private(&[]).unwrap().psql(count).unwrap(), "4");
    let bare = PostgresOptions { without_logins: true, ..PostgresOptions::default() };
    assert_eq!(Postgres::private_with(bare).unwrap().psql(count).unwrap(), "0");
}

#[test]
fn a_standby_survives_its_primary_and_gets_a_standby_of_its_own() {
    let primary = Postgres::private(&[]).unwrap();
    primary.psql("CREATE TABLE kept (number int)").unwrap();
    let standby = Postgres::standby_of(&primary, StandbyOptions::default()).unwrap();
    assert!(standby.is_in_recovery().unwrap() && !primary.is_in_recovery().unwrap());
    primary.set_synchronous_standbys("ANY 1 (*)").unwrap();
    assert!(primary.has_synchronous_standby().unwrap());
    primary.psql("INSERT INTO kept VALUES (1)").unwrap();
    let error = standby.psql("INSERT INTO kept VALUES (2)").unwrap_err().to_string();
    assert!(error.contains("read-only transaction"), "{error}");

    let port = primary.port();
    primary.destroy().unwrap();
    standby.promote().unwrap();
    assert!(!standby.is_in_recovery().unwrap());
    // The setting was copied, so that writes need the next standby.
    let proxy = Proxy::start(standby.port()).unwrap();
    let options = StandbyOptions {
        name: "second".to_owned(),
        port: Some(port),
        primary_port: Some(proxy.port()),
        ..StandbyOptions::default()
    };
    let second = Postgres::standby_of(&standby, options).unwrap();
    assert_eq!(second.port(), port);
    standby.psql("INSERT INTO kept VALUES (3)").unwrap();
    proxy.black_hole();
    standby.psql("SET synchronous_commit = local; INSERT INTO kept VALUES (4)").unwrap();
    assert_eq!(standby.psql("SELECT string_agg(number::text, ' ') FROM kept").unwrap(), "1 3 4");
    assert_eq!(second.psql("SELECT string_agg(number::text, ' ') FROM kept").unwrap(), "1 3");
}

#[test]
fn redis_explains_arguments_it_does_not_know() {
    let error = Redis::private(&["--no-such-setting", "1"]).unwrap_err();
    assert!(
        matches!(&error, Error::Start { log_tail, .. } if log_tail.contains("no-such-setting")),
        "{error}"
    );
}

#[test]
fn postgres_recovers_after_every_way_to_stop_it() {
    let mut postgres = Postgres::private(&["max_connections=30"]).unwrap();
    assert_eq!(postgres.psql("SELECT 1").unwrap(), "1");
    assert_eq!(postgres.psql("SHOW max_connections").unwrap(), "30");
    postgres.psql("CREATE TABLE t AS SELECT 7 AS n").unwrap();

    postgres.stop_immediate().unwrap();
    assert!(postgres.psql("SELECT 1").is_err(), "stopped, it must not answer");
    postgres.restart().unwrap();
    assert_eq!(postgres.psql("SELECT n FROM t").unwrap(), "7");

    postgres.kill().unwrap();
    postgres.restart().unwrap();
    assert_eq!(postgres.psql("SELECT n FROM t").unwrap(), "7");

    postgres.pause().unwrap();
    postgres.resume().unwrap();
    assert_eq!(postgres.psql("SELECT n FROM t").unwrap(), "7");
    // Dropping a paused server must end it too.
    postgres.pause().unwrap();
}

#[test]
fn the_printed_psql_command_reaches_the_database() {
    let postgres = Postgres::private(&[]).unwrap();
    let argv = postgres.psql_command(DatabaseLogin::Reader);
    let output = Command::new(&argv[0])
        .args(&argv[1..])
        .args(["-XAtc", "SELECT current_user, current_setting('timescaledb.telemetry_level')"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "reader|off\n", "{argv:?}");
}

#[test]
fn what_a_dead_process_left_is_removed() {
    let root = Root::ensure(&Progress::silent()).unwrap();
    let leftover = root.path().join("var/tmp/fleet-testbed/1-leftover");
    std::fs::create_dir_all(leftover.join("data")).unwrap();
    std::fs::write(leftover.join("owner.lock"), "").unwrap();
    let first = Redis::start(&root, &[]).unwrap();
    assert!(!leftover.exists());
    let second = Redis::start(&root, &[]).unwrap();
    assert_eq!(ask(&first, "PING", 7).unwrap(), "+PONG\r\n", "a living server's folder stays");
    drop((first, second));
}

#[test]
fn a_server_outlives_the_thread_that_started_it() {
    let redis = std::thread::spawn(|| Redis::private(&[]).unwrap()).join().unwrap();
    assert_eq!(ask(&redis, "PING", 7).unwrap(), "+PONG\r\n");
}

#[test]
fn external_servers_are_used_only_if_both_are_named() {
    let (redis, database) = (fleet_testbed::REDIS_URL_VARIABLE, fleet_testbed::DATABASE_URL_VARIABLE);
    let source =
        |set: &[&str]| Source::from_lookup(|name| set.contains(&name).then(|| format!("url of {name}")));
    assert_eq!(source(&[]).unwrap(), Source::Private);
    assert_eq!(
        source(&[redis, database]).unwrap(),
        Source::External {
            redis_url: format!("url of {redis}"),
            database_url: format!("url of {database}"),
            have_logins: false
        }
    );
    let compose = Source::from_lookup(|_| Some("compose".to_owned())).unwrap();
    assert!(matches!(compose, Source::External { have_logins: true, .. }), "{compose:?}");
    let only_redis = source(&[redis]).unwrap_err().to_string();
    assert!(
        only_redis.starts_with("FLEET_TEST_REDIS_URL is set but FLEET_TEST_DATABASE_URL is not"),
        "{only_redis}"
    );
    let only_database = source(&[database]).unwrap_err().to_string();
    assert!(only_database.starts_with("FLEET_TEST_DATABASE_URL is set but"), "{only_database}");
    assert_eq!(Source::from_lookup(|_| Some(" ".to_owned())).unwrap(), Source::Private);
}

#[test]
fn every_tool_runs() {
    let tools = Tools::ensure(&Progress::silent()).unwrap();
    let commands = [
        (tools.kubectl(), ["version", "--client"].as_slice()),
        (tools.promtool(), &["--version"]),
        (tools.kubernetes_validate(), &["--version"]),
        (tools.yamllint(), &["--version"]),
    ];
    for (mut command, arguments) in commands {
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// If control groups are unavailable, there is nothing to test: chaos and demo print that and go on.
#[test]
fn a_process_above_its_memory_limit_is_killed_and_counted() {
    let Ok(limits) = MemoryLimits::find() else { return };
    let run = |mebibytes: u32| {
        let group = limits.group(64 << 20).unwrap();
        // The script waits for standard input, so that it is in the group before it allocates memory.
        let script =
            format!("read line; head -c {} /dev/zero | tail -c {} | wc -c", mebibytes << 20, mebibytes << 20);
        let mut child = Command::new("sh");
        let mut child =
            child.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        group.add(child.id()).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let output = child.wait_with_output().unwrap();
        (group.has_killed(), String::from_utf8(output.stdout).unwrap(), group.peak_bytes())
    };
    let (killed, output, peak) = run(8);
    assert_eq!((killed, output.trim()), (false, "8388608"));
    assert!(peak.is_none_or(|peak| (8 << 20..=64 << 20).contains(&peak)), "{peak:?}");
    assert_eq!(limits.killed(), 0);
    let (killed, _output, _peak) = run(256);
    assert!(killed && limits.killed() > 0);

    // A group whose owner is gone, because no process has this id.
    let root = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map(std::path::Path::new);
    let root = root.into_iter().find(|root| root.join("cgroup.procs").exists()).unwrap();
    let leftover = root.join("fleet-testbed-4294967295-0-0");
    std::fs::create_dir(&leftover).unwrap();
    let mut orphan =
        Command::new("sleep").arg("60").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::fs::write(leftover.join("cgroup.procs"), orphan.id().to_string()).unwrap();
    drop(MemoryLimits::find().unwrap());
    assert!(!leftover.exists());
    assert!(!orphan.wait().unwrap().success(), "it was killed");
}
