//! The Redis and TimescaleDB of the development overlay.

use std::collections::BTreeSet;

use fleet_runtime::settings::load;
use fleet_webhook_api::source_settings::source_settings;

use super::manifests::{at, list, text};
use super::render::overlay;
use crate::compose::servers::timescaledb_check;
use crate::documents::text::read;

#[test]
fn redis_loses_nothing_and_has_room_for_every_cap() {
    let dev = overlay("overlays/dev");
    let redis = dev.pod("StatefulSet/redis").unwrap();
    let arguments: Vec<_> =
        list(redis.spec, "/containers/0/args").iter().map(|argument| argument.as_str().unwrap()).collect();
    let flag = |name: &str| {
        let at = arguments.iter().position(|argument| *argument == name);
        arguments[at.unwrap_or_else(|| panic!("redis-server is not given {name}")) + 1]
    };
    let acl = ["--aclfile", "/etc/redis/users.acl"];
    assert_eq!(arguments, [&fleet_testbed::REDIS_ARGUMENTS[..], &acl].concat(), "as in docker-compose.yml");
    assert_eq!(flag("--appendonly"), "yes");
    assert_eq!(flag("--appendfsync"), "always");
    assert_eq!(flag("--maxmemory-policy"), "noeviction");
    let memory = flag("--maxmemory").strip_suffix("gb").unwrap().parse::<u64>().unwrap() << 30;
    let api = dev.pod("Deployment/fleet-webhook-api").unwrap();
    let environment = dev.environment(at(api.spec, "/containers/0")).unwrap();
    let settings = load(None, environment.into_iter()).unwrap();
    let caps: u64 = source_settings(&settings).unwrap().iter().map(|source| source.max_backlog_bytes).sum();
    assert!(caps <= memory / 4 * 3, "{caps} of {memory} bytes leave no room for Redis' own");
}

#[test]
fn urls_name_the_services_and_their_credentials() {
    let dev = overlay("overlays/dev");
    let database = dev.pod("StatefulSet/timescaledb").unwrap();
    let variable = |name: &str| {
        let variables = list(database.spec, "/containers/0/env");
        let found = variables.iter().find(|variable| text(variable, "/name") == name);
        text(found.unwrap_or_else(|| panic!("no {name}")), "/value")
    };
    let database_name = variable("POSTGRES_DB");
    assert!(variable("POSTGRES_PASSWORD").starts_with("local-use-only-"));
    let logins = [
        ("Deployment/fleet-webhook-api", Some("api"), None),
        ("Deployment/fleet-consumer", Some("consumer"), Some("consumer")),
        ("Deployment/fleet-query-api", None, Some("reader")),
        ("Job/fleet-migrate", None, Some("migrator")),
        ("CronJob/fleet-retention", None, Some("migrator")),
    ];
    let acl = include_str!("../../../compose/users.acl");
    let pods = dev.our_pods();
    let owners: BTreeSet<_> = pods.iter().map(|pod| pod.owner.split("-0-").next().unwrap()).collect();
    assert_eq!(owners, logins.iter().map(|(owner, ..)| *owner).collect());
    for pod in pods {
        let (_, redis, postgres) = logins.iter().find(|(owner, ..)| pod.owner.starts_with(owner)).unwrap();
        let environment = dev.environment(at(pod.spec, "/containers/0")).unwrap();
        let given = |name: &str| environment.get(name).cloned();
        let url = |login: &str| {
            let password = variable(&format!("{}_PASSWORD", login.to_uppercase()));
            format!("postgres://{login}:{password}@timescaledb:5432/{database_name}")
        };
        assert_eq!(given("FLEET_DATABASE_URL"), postgres.map(url), "{}", pod.owner);
        let url = |user: &str| {
            let password = format!("local-use-only-{user}");
            assert!(acl.contains(&format!("user {user} on >{password} ")), "{user}");
            format!("redis://{user}:{password}@redis:6379")
        };
        assert_eq!(given("FLEET_REDIS_URL"), redis.map(url), "{}", pod.owner);
        for (name, value) in environment.iter().filter(|(name, _)| name.ends_with("__SECRETS")) {
            assert!(value.starts_with("local-use-only-"), "{name}");
        }
    }
    for service in ["redis", "timescaledb"] {
        assert!(dev.find("Service", service).is_some(), "{service}");
    }
}

#[test]
fn logins_are_those_of_compose() {
    for file in ["users.acl", "roles.sh"] {
        let copy = read(&format!("deploy/k8s/components/dev-services/{file}"));
        assert_eq!(copy, read(&format!("compose/{file}")), "{file}");
    }
    let dev = overlay("overlays/dev");
    let flags = list(dev.pod("StatefulSet/redis").unwrap().spec, "/containers/0/args");
    assert!(flags.iter().any(|flag| flag == "/etc/redis/users.acl"));
    let database = dev.pod("StatefulSet/timescaledb").unwrap();
    let roles =
        list(database.spec, "/volumes").iter().find(|volume| text(volume, "/name") == "roles").unwrap();
    assert_eq!(at(roles, "/configMap/defaultMode"), 0o555, "the image sources what is not executable");
    let environment = list(database.spec, "/containers/0/env");
    let telemetry = environment.iter().find(|variable| text(variable, "/name") == "TIMESCALEDB_TELEMETRY");
    assert_eq!(telemetry.map(|variable| text(variable, "/value")), Some("off"));
    let ready = list(database.spec, "/containers/0/readinessProbe/exec/command");
    let ready: Vec<_> = ready.iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(
        ready,
        ["sh", "-c", &timescaledb_check()],
        "ready only with the logins, as in docker-compose.yml"
    );
}
