//! `docker-compose.yml` and the `Dockerfile` agree with the binaries, with each other and with the repository.

mod dockerfile;
pub(crate) mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fleet_amqp_bridge::bridge_settings::bridge_settings;
use fleet_runtime::settings::{ConnectionUrl, Settings, load};
use fleet_testbed::{AmqpLogin, DatabaseLogin, RedisLogin};
use fleet_webhook_api::source_settings::source_settings;
use serde::Deserialize;

/// The services that run this project's image, and their commands.
const OURS: [(&str, &[&str]); 5] = [
    ("api", &["fleet-webhook-api"]),
    ("bridge", &["fleet-amqp-bridge"]),
    ("consumer", &["fleet-consumer"]),
    ("migrate", &["fleet-consumer", "migrate"]),
    ("query", &["fleet-query-api"]),
];

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Option<yaml_serde::Value>>,
}

#[derive(Deserialize)]
struct Service {
    image: Option<String>,
    build: Option<Build>,
    pull_policy: Option<String>,
    #[serde(default)]
    entrypoint: Vec<String>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    depends_on: BTreeMap<String, Dependency>,
    healthcheck: Option<HealthCheck>,
    deploy: Option<Deploy>,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    cap_drop: Vec<String>,
    stop_grace_period: Option<String>,
    #[serde(default)]
    profiles: Vec<String>,
}

#[derive(Deserialize)]
struct Build {
    context: String,
    args: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Dependency {
    condition: String,
}

#[derive(Deserialize)]
struct HealthCheck {
    test: Vec<String>,
}

#[derive(Deserialize)]
struct Deploy {
    replicas: u32,
}

impl Compose {
    fn read() -> Self {
        let mut file: yaml_serde::Value = yaml_serde::from_str(&text("docker-compose.yml")).unwrap();
        file.apply_merge().unwrap();
        yaml_serde::from_value(file).unwrap()
    }

    fn service(&self, name: &str) -> &Service {
        self.services.get(name).unwrap_or_else(|| panic!("no service is named {name}"))
    }

    fn settings(&self, name: &str) -> Settings {
        let environment = self.service(name).environment.clone();
        for variable in environment.keys() {
            assert!(variable.starts_with("FLEET_"), "{name}: nothing reads {variable}");
        }
        load(None, environment.into_iter()).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The `host:container` ports that `name` publishes. Each must be published on the loopback address only.
    fn loopback_ports(&self, name: &str) -> Vec<(u16, u16)> {
        let published = |port: &String| {
            let (host, container) = port
                .strip_prefix("127.0.0.1:")
                .unwrap_or_else(|| panic!("{name} publishes {port} on more than the loopback address"))
                .split_once(':')
                .unwrap();
            (host.parse().unwrap(), container.parse().unwrap())
        };
        self.service(name).ports.iter().map(published).collect()
    }

    /// The value of `flag` in the command of Redis.
    fn redis_flag(&self, flag: &str) -> &str {
        let command = &self.service("redis").command;
        let at = command.iter().position(|argument| argument == flag);
        let at = at.unwrap_or_else(|| panic!("redis-server is not given {flag}"));
        &command[at + 1]
    }
}

/// What is wrong with the default user of an ACL file, if anything. Nobody may log in as the default user, but it must
/// have every right, because Redis loads its append-only file with the default user's rights.
pub(crate) fn default_user_problem(acl: &str) -> Option<&'static str> {
    let words = acl.lines().find_map(|line| line.strip_prefix("user default "));
    let words: Vec<_> = words.unwrap_or_default().split_whitespace().collect();
    match words.split_first() {
        Some((&"off", ["resetpass", "~*", "&*", "+@all"])) => None,
        Some((&"off", _rights)) => {
            Some("the default user lacks rights: Redis would drop every transaction when it loads its file")
        }
        Some(_) | None => Some("the default user is not off: anybody can log in as it"),
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_environment_loads() {
    let compose = Compose::read();
    for (name, _command) in OURS {
        compose.settings(name);
    }
    let served = source_settings(&compose.settings("api")).unwrap();
    assert_eq!(served.len(), fleet_providers::PROVIDERS.len(), "every provider can be tried out");
    fleet_query_api::server::prepare(&compose.settings("query")).unwrap();
}

#[test]
fn example_secrets_say_so() {
    let compose = Compose::read();
    let environments = ["api", "query"].map(|name| &compose.service(name).environment);
    for (variable, value) in environments.into_iter().flatten() {
        if variable.ends_with("__SECRETS") {
            assert!(value.starts_with("local-use-only-"), "{variable}");
        }
    }
}

#[test]
fn images_are_pinned_and_ours_is_built_here() {
    let compose = Compose::read();
    for (name, service) in &compose.services {
        if OURS.iter().any(|(ours, _command)| ours == name) {
            assert_eq!(service.image.as_deref(), Some("fleet-webhook-ingest:local"), "{name}");
            assert_eq!(service.pull_policy.as_deref(), Some("never"), "{name}: no registry has this image");
            assert!(service.read_only, "{name}");
            assert_eq!(service.cap_drop, ["ALL"], "{name}");
        } else {
            let image = service.image.as_deref().unwrap_or_else(|| panic!("{name} has no image"));
            let (_name, tag) = image.split_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
            assert!(tag.split('.').count() >= 3, "{image} does not name a release");
        }
    }
    assert!(compose.service("redis").image.as_deref().unwrap().starts_with("redis:8."));
}

#[test]
fn one_service_builds_the_image_with_the_commit() {
    let compose = Compose::read();
    let builds = compose.services.iter().filter_map(|(name, service)| Some((name, service.build.as_ref()?)));
    let builds: Vec<_> = builds.collect();
    let [(name, build)] = builds.as_slice() else {
        panic!("{} services build: parallel builds of one tag conflict", builds.len());
    };
    // All other services depend on `migrate`, except the API, which must not wait for a database.
    assert_eq!((name.as_str(), build.context.as_str()), ("migrate", "."));
    let commit = BTreeMap::from([("GIT_COMMIT".to_owned(), "${GIT_COMMIT:-unknown}".to_owned())]);
    assert_eq!(build.args, commit);
    let readme = text("README.md");
    assert!(readme.contains("GIT_COMMIT=$(git rev-parse --short HEAD) docker compose up --build --wait"));
}

#[test]
fn timescaledb_is_new_enough() {
    let compose = Compose::read();
    let image = compose.service("timescaledb").image.as_deref().unwrap();
    let version = image.strip_prefix("timescale/timescaledb:2.").unwrap();
    let minor: u32 = version.split('.').next().unwrap().parse().unwrap();
    assert!(minor >= 19 && version.ends_with("-pg17"), "{image}");
}

#[test]
fn commands_are_known_to_the_binaries() {
    let compose = Compose::read();
    for (name, expected) in OURS {
        let service = compose.service(name);
        assert_eq!(service.command, expected, "{name}");
        assert_known(&service.command);
        if let Some(check) = &service.healthcheck {
            let (how, command) = check.test.split_first().unwrap();
            assert_eq!(how, "CMD", "{name}: the image has no shell");
            assert_eq!(command, [expected[0], "health"], "{name}");
            assert_known(command);
        }
    }
    for name in ["api", "bridge", "consumer", "query", "rabbitmq", "redis", "timescaledb"] {
        assert!(compose.service(name).healthcheck.is_some(), "{name}");
    }
}

pub(crate) fn assert_known(command: &[String]) {
    let (binary, subcommand) = command.split_first().unwrap();
    let folder = std::env::var("FLEET_TEST_BIN_DIR")
        .expect("FLEET_TEST_BIN_DIR is not set: run `cargo xtask test`, which builds the binaries");
    let help = Command::new(Path::new(&folder).join(binary)).args(subcommand).arg("--help").output().unwrap();
    assert!(help.status.success(), "{command:?}: {}", String::from_utf8_lossy(&help.stderr));
}

#[test]
fn ports_are_those_listened_on() {
    let compose = Compose::read();
    let api = compose.settings("api");
    let admin = api.admin.listen.unwrap();
    let query = compose.settings("query");
    let of_query = [query.query.listen, query.admin.listen.unwrap()];
    let [consumer, bridge] = ["consumer", "bridge"].map(|name| compose.settings(name).admin.listen.unwrap());
    for listen in [api.api.listen, admin, consumer, bridge].into_iter().chain(of_query) {
        assert!(listen.ip().is_unspecified(), "{listen} cannot be reached from other containers");
    }
    assert_eq!(compose.loopback_ports("api"), [(8080, api.api.listen.port())]);
    assert_eq!(compose.loopback_ports("query"), [(8081, query.query.listen.port())]);
    assert_eq!(compose.loopback_ports("redis"), [(6379, 6379)]);
    assert_eq!(compose.loopback_ports("timescaledb"), [(5432, 5432)]);
    assert_eq!(compose.loopback_ports("rabbitmq"), [(5672, 5672)]);
    assert!(compose.loopback_ports("consumer").is_empty(), "two replicas cannot share a port of the host");
}

#[test]
fn urls_name_services_and_their_credentials() {
    let compose = Compose::read();
    let database = &compose.service("timescaledb").environment;
    let [user, password, name] =
        ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"].map(|variable| database[variable].as_str());
    assert_eq!([user, password, name], ["fleet"; 3]);
    for (service, login) in [("consumer", "consumer"), ("migrate", "migrator"), ("query", "reader")] {
        let password = &database[&format!("{}_PASSWORD", login.to_uppercase())];
        let url = format!("postgres://{login}:{password}@timescaledb:5432/{name}");
        assert_eq!(compose.settings(service).database_url.expose(), url, "{service}");
    }
    let acl = text("compose/users.acl");
    for service in ["api", "consumer"] {
        let user = acl.lines().find_map(|line| line.strip_prefix(&format!("user {service} on >")));
        let password = user.and_then(|user| user.split(' ').next()).unwrap();
        let url = format!("redis://{service}:{password}@redis:6379");
        assert_eq!(compose.settings(service).redis_url.expose(), url, "{service}");
        assert!(password.starts_with("local-use-only-"), "{service}");
    }
    assert_eq!(default_user_problem(&acl), None);
    assert!(!acl.contains("client|setinfo"), "Redis 7.0 refuses a file with this subcommand");
    let check = &compose.service("redis").healthcheck.as_ref().unwrap().test;
    assert!(check[1].starts_with("REDISCLI_AUTH=local-use-only-api redis-cli --user api "), "{check:?}");
}

#[test]
fn volumes_are_declared_and_used() {
    let compose = Compose::read();
    let mounts = compose.services.values().flat_map(|service| &service.volumes);
    let mounts = mounts.map(|mount| mount.split(':').next().unwrap());
    let (files, used): (BTreeSet<_>, BTreeSet<_>) = mounts.partition(|mount| mount.starts_with("./"));
    let expected =
        ["rabbitmq.conf", "rabbitmq.json", "roles.sh", "users.acl"].map(|name| format!("./compose/{name}"));
    assert_eq!(files, expected.iter().map(String::as_str).collect());
    assert!(files.iter().all(|file| repository().join(file).is_file()), "{files:?}");
    let declared: BTreeSet<_> = compose.volumes.keys().map(String::as_str).collect();
    assert_eq!(used, declared);
    let mounted =
        |service: &str, mount: &str| compose.service(service).volumes.iter().any(|found| found == mount);
    assert!(mounted("redis", "redis:/data"));
    assert!(mounted("redis", "./compose/users.acl:/mnt/users.acl:ro"));
    assert!(mounted("timescaledb", "timescaledb:/var/lib/postgresql/data"));
    assert!(mounted("timescaledb", "./compose/roles.sh:/mnt/roles.sh:ro"));
}

#[test]
fn dependencies_exist_and_can_be_met() {
    let compose = Compose::read();
    for (name, service) in &compose.services {
        for (needed, Dependency { condition }) in &service.depends_on {
            let needed_service = compose.service(needed);
            match condition.as_str() {
                "service_healthy" => assert!(needed_service.healthcheck.is_some(), "{name} needs {needed}"),
                "service_completed_successfully" => assert_eq!(needed, "migrate", "{name}"),
                other => panic!("{name} needs {needed}: {other}?"),
            }
        }
    }
    let needs = |name: &str| compose.service(name).depends_on.keys().cloned().collect::<Vec<_>>();
    assert_eq!(needs("api"), ["redis"], "the API must not wait for the database");
    assert_eq!(needs("consumer"), ["migrate", "redis"]);
    assert_eq!(needs("bridge"), ["rabbitmq", "redis"], "the bridge needs no database");
    assert_eq!(needs("migrate"), ["timescaledb"]);
    assert_eq!(needs("query"), ["migrate"], "it needs no Redis");
    assert_eq!(compose.service("consumer").deploy.as_ref().map(|deploy| deploy.replicas), Some(2));
}

#[test]
fn redis_loses_nothing_and_has_room_for_every_cap() {
    let compose = Compose::read();
    assert_eq!(compose.redis_flag("--appendonly"), "yes");
    assert_eq!(compose.redis_flag("--appendfsync"), "always");
    assert_eq!(compose.redis_flag("--maxmemory-policy"), "noeviction");
    let gigabytes = compose.redis_flag("--maxmemory").strip_suffix("gb").unwrap();
    let memory = gigabytes.parse::<u64>().unwrap() << 30;
    let served = source_settings(&compose.settings("api")).unwrap();
    let caps: u64 = served.iter().map(|source| source.max_backlog_bytes).sum();
    assert!(caps <= memory / 4 * 3, "{caps} of {memory} bytes leave too little for Redis itself");
}

/// Tests, demo, chaos tests and benchmarks use the testbed's servers, which must have the same settings and files.
#[test]
fn the_testbed_runs_the_same_servers() {
    let compose = Compose::read();
    let arguments =
        [&["redis-server"][..], &fleet_testbed::REDIS_ARGUMENTS, &["--aclfile", "/etc/redis/users.acl"]];
    assert_eq!(compose.service("redis").command, arguments.concat());
    assert_eq!(fleet_testbed::redis_users(), text("compose/users.acl"));
    let database = &compose.service("timescaledb").environment;
    let url = "postgres://fleet:fleet@127.0.0.1:1/fleet";
    for (name, login) in [
        ("migrator", DatabaseLogin::Migrator),
        ("consumer", DatabaseLogin::Consumer),
        ("reader", DatabaseLogin::Reader),
        ("operator", DatabaseLogin::Operator),
    ] {
        let password = &database[&format!("{}_PASSWORD", name.to_uppercase())];
        assert_eq!(login.of(url), url.replace("fleet:fleet@", &format!("{name}:{password}@")));
    }
    let url = "redis://fleet:fleet@127.0.0.1:1";
    for (name, login) in
        [("api", RedisLogin::Api), ("consumer", RedisLogin::Consumer), ("operator", RedisLogin::Operator)]
    {
        let credentials = format!("{name}:local-use-only-{name}");
        assert_eq!(login.of(url), url.replace("fleet:fleet", &credentials));
        assert!(text("compose/users.acl").contains(&format!("user {}", credentials.replace(':', " on >"))));
    }
}

#[test]
fn docker_waits_longer_than_the_binaries() {
    let compose = Compose::read();
    let grace = |name: &str| match compose.service(name).stop_grace_period.as_deref() {
        Some("15s") => Duration::from_secs(15),
        Some("30s") => Duration::from_secs(30),
        Some("1m") => Duration::from_mins(1),
        other => panic!("{name}: stop_grace_period {other:?}"),
    };
    assert!(grace("api") > compose.settings("api").api.shutdown_timeout);
    assert!(grace("bridge") > compose.settings("bridge").amqp.shutdown_timeout);
    assert!(grace("consumer") > compose.settings("consumer").consumer.shutdown_timeout);
    assert!(grace("query") > compose.settings("query").query.shutdown_timeout);
}

/// The broker has the login of the testbed's, the queue exists, and neither starts without the profile.
#[test]
fn the_broker_is_like_the_testbeds_and_starts_only_when_asked_for() {
    let compose = Compose::read();
    for (name, service) in &compose.services {
        let expected: &[&str] = if ["bridge", "rabbitmq"].contains(&name.as_str()) { &["amqp"] } else { &[] };
        assert_eq!(service.profiles, expected, "{name}");
    }
    let settings = compose.settings("bridge");
    let bridge = bridge_settings(&settings).unwrap();
    let (user, password) = AmqpLogin::Consumer.credentials();
    let url = format!("amqp://{user}:{password}@rabbitmq:5672/customer");
    assert_eq!(settings.amqp.url.as_ref().map(ConnectionUrl::expose), Some(url.as_str()));
    let definitions: serde_json::Value = serde_json::from_str(&text("compose/rabbitmq.json")).unwrap();
    for login in [AmqpLogin::Admin, AmqpLogin::Consumer] {
        let (name, password) = login.credentials();
        let users = definitions["users"].as_array().unwrap();
        assert!(users.iter().any(|user| user["name"] == name && user["password"] == password), "{name}");
    }
    let queues: Vec<_> =
        definitions["queues"].as_array().unwrap().iter().map(|queue| &queue["name"]).collect();
    assert_eq!(queues, bridge.queues.iter().collect::<Vec<_>>());
    assert_eq!(settings.redis_url, compose.settings("api").redis_url, "the bridge has the API's login");
}
