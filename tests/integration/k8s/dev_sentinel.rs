//! The primary, the replica and the Sentinels of the overlay `dev-sentinel`.

use fleet_runtime::settings::load;

use super::manifests::{at, list, text};
use super::render::overlay;
use crate::documents::text::read;

const COMPONENT: &str = "deploy/k8s/components/redis-sentinel";

#[test]
fn both_servers_keep_what_they_accept() {
    let dev = overlay("overlays/dev-sentinel");
    let arguments = |owner: &str| -> Vec<String> {
        let pod = dev.pod(owner).unwrap();
        list(pod.spec, "/containers/0/args").iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let single = overlay("overlays/dev").pod("StatefulSet/redis").unwrap();
    let single: Vec<_> = list(single.spec, "/containers/0/args")
        .iter()
        .map(|word| word.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(arguments("StatefulSet/redis-node"), single, "the same settings as the single Redis");
    assert!(dev.pod("StatefulSet/redis").is_none(), "the single Redis is replaced");
    assert!(dev.find("Service", "redis").is_none());
}

#[test]
fn the_users_are_those_of_compose_and_of_replication() {
    let users = read(&format!("{COMPONENT}/users.acl"));
    assert_eq!(users, read("compose/users.acl") + &read("compose/replication.acl"));
    let script = read(&format!("{COMPONENT}/start-redis.sh"));
    assert!(script.contains("--masteruser replica --masterauth local-use-only-replica"));
    let sentinels = read(&format!("{COMPONENT}/sentinel.conf"));
    for line in ["sentinel auth-user fleet sentinel", "sentinel auth-pass fleet local-use-only-sentinel"] {
        assert!(sentinels.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn the_services_ask_every_sentinel_and_wait_for_the_replica() {
    let dev = overlay("overlays/dev-sentinel");
    let sentinels =
        at(dev.find("StatefulSet", "redis-sentinel").expect("the Sentinels are rendered"), "/spec/replicas")
            .as_u64()
            .unwrap();
    for (owner, user) in [("Deployment/fleet-webhook-api", "api"), ("Deployment/fleet-consumer", "consumer")]
    {
        let pod = dev.pod(owner).unwrap();
        let environment = dev.environment(at(pod.spec, "/containers/0")).unwrap();
        let hosts: Vec<_> =
            (0..sentinels).map(|number| format!("redis-sentinel-{number}.redis-sentinel:26379")).collect();
        let url = format!("redis://{user}:local-use-only-{user}@{}", hosts.join(","));
        assert_eq!(environment.get("FLEET_REDIS_URL"), Some(&url), "{owner}");
        let settings = load(None, environment.clone().into_iter()).unwrap();
        let monitored = settings.redis.sentinel_name.as_deref().expect("a name");
        let conf = read(&format!("{COMPONENT}/sentinel.conf"));
        assert!(conf.contains(&format!("sentinel monitor {monitored} redis-node-0.redis-node 6379 2\n")));
        let login = (
            environment["FLEET_REDIS__SENTINEL_USER"].as_str(),
            &environment["FLEET_REDIS__SENTINEL_PASSWORD"],
        );
        assert!(conf.contains(&format!("user {} on >{} ", login.0, login.1)), "{owner}");
    }
    let api = dev.pod("Deployment/fleet-webhook-api").unwrap();
    let environment = dev.environment(at(api.spec, "/containers/0")).unwrap();
    let replicas = load(None, environment.into_iter()).unwrap().queue.replicas;
    let servers =
        dev.find("StatefulSet", "redis-node").map(|found| at(found, "/spec/replicas").as_u64().unwrap());
    assert_eq!(servers, Some(u64::from(replicas) + 1), "every replica that can be promoted confirms");
    let names = ["redis-node", "redis-sentinel"];
    assert!(names.iter().all(|name| {
        dev.find("Service", name).is_some_and(|service| text(service, "/spec/clusterIP") == "None")
    }));
}
