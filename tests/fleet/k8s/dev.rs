//! The servers of the development overlay.

use fleet_runtime::settings::load;
use fleet_webhook_api::sources::sources;

use super::manifests::{at, list, text};
use super::render::overlay;

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
    assert_eq!(flag("--appendonly"), "yes");
    assert_eq!(flag("--appendfsync"), "always");
    assert_eq!(flag("--maxmemory-policy"), "noeviction");
    let memory = flag("--maxmemory").strip_suffix("gb").unwrap().parse::<u64>().unwrap() << 30;
    let api = dev.pod("Deployment/fleet-webhook-api").unwrap();
    let environment = dev.environment(at(api.spec, "/containers/0")).unwrap();
    let settings = load(None, environment.into_iter()).unwrap();
    let caps: u64 = sources(&settings).unwrap().iter().map(|source| source.max_backlog_bytes).sum();
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
    let (user, password) = (variable("POSTGRES_USER"), variable("POSTGRES_PASSWORD"));
    assert!(password.starts_with("local-use-only-"));
    let url = format!("postgres://{user}:{password}@timescaledb:5432/{}", variable("POSTGRES_DB"));
    for pod in dev.our_pods() {
        let environment = dev.environment(at(pod.spec, "/containers/0")).unwrap();
        let given = |name: &str| environment.get(name).map(String::as_str);
        assert!([None, Some(url.as_str())].contains(&given("FLEET_DATABASE_URL")), "{}", pod.owner);
        assert!([None, Some("redis://redis:6379")].contains(&given("FLEET_REDIS_URL")), "{}", pod.owner);
        for (name, value) in environment.iter().filter(|(name, _)| name.ends_with("__SECRETS")) {
            assert!(value.starts_with("local-use-only-"), "{name}");
        }
    }
    for service in ["redis", "timescaledb"] {
        assert!(dev.find("Service", service).is_some(), "{service}");
    }
}
