//! The containers get exactly the settings that the binaries read.

use fleet_amqp_bridge::bridge_settings::bridge_settings;
use fleet_runtime::settings::{Settings, load};
use fleet_webhook_api::source_settings::source_settings;
use serde_json::Value;

use super::ports::has_port;
use crate::k8s::manifests::{Manifests, Pod, at, list, text};

pub(super) fn violations(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    for pod in manifests.our_pods() {
        for container in list(pod.spec, "/containers") {
            let problems = container_problems(manifests, &pod, container);
            violations.extend(problems.into_iter().map(|problem| format!("{}: {problem}", pod.owner)));
        }
    }
    violations
}

fn container_problems(manifests: &Manifests, pod: &Pod<'_>, container: &Value) -> Vec<String> {
    let environment = match manifests.environment(container) {
        Ok(environment) => environment,
        Err(missing) => return missing,
    };
    let mut problems: Vec<_> = environment
        .keys()
        .filter(|name| !name.starts_with("FLEET_"))
        .map(|name| format!("nothing reads {name}"))
        .collect();
    let is_given = |name: &str| environment.contains_key(name);
    let settings = match load(None, environment.clone().into_iter()) {
        Ok(settings) => settings,
        Err(error) => return vec![error.to_string()],
    };
    let admin = |port: u16| {
        settings.admin.listen.is_some_and(|listen| listen.port() == port && listen.ip().is_unspecified())
    };
    match pod.owner.as_str() {
        "Deployment/fleet-webhook-api" => {
            problems.extend(port_problems(container, "http", settings.api.listen.port()));
            if !admin(9090) || !settings.api.listen.ip().is_unspecified() {
                problems.push("its listeners cannot be reached".to_owned());
            }
            if is_given("FLEET_DATABASE_URL") {
                problems.push("the API needs no database".to_owned());
            }
            problems.extend(provider_problems(&settings));
        }
        "Deployment/fleet-consumer" => {
            if !admin(9091) {
                problems.push("its admin listener cannot be reached".to_owned());
            }
            problems.extend(
                ["FLEET_REDIS_URL", "FLEET_DATABASE_URL"]
                    .into_iter()
                    .filter(|name| !is_given(name))
                    .map(|name| format!("{name} is not given")),
            );
        }
        "Deployment/fleet-query-api" => {
            problems.extend(port_problems(container, "http", settings.query.listen.port()));
            if !admin(9092) || !settings.query.listen.ip().is_unspecified() {
                problems.push("its listeners cannot be reached".to_owned());
            }
            if is_given("FLEET_REDIS_URL") || !is_given("FLEET_DATABASE_URL") {
                problems.push("it needs the database, and nothing else".to_owned());
            }
            problems.extend(fleet_query_api::server::prepare(&settings).err().map(|error| error.to_string()));
        }
        "Deployment/fleet-amqp-bridge" => {
            if !admin(9093) {
                problems.push("its admin listener cannot be reached".to_owned());
            }
            if is_given("FLEET_DATABASE_URL") {
                problems.push("the bridge needs no database".to_owned());
            }
            problems.extend(bridge_settings(&settings).err().map(|error| error.to_string()));
        }
        _ => {
            if is_given("FLEET_REDIS_URL") || !is_given("FLEET_DATABASE_URL") {
                problems.push("it needs the database, and nothing else".to_owned());
            }
        }
    }
    if has_port(pod, "admin") {
        let listen = settings.admin.listen.map_or(0, |listen| listen.port());
        problems.extend(port_problems(container, "admin", listen));
    }
    problems
}

fn port_problems(container: &Value, name: &str, listen: u16) -> Option<String> {
    let port = list(container, "/ports").iter().find(|port| text(port, "/name") == name);
    let number = port.map_or(&Value::Null, |port| at(port, "/containerPort"));
    (number.as_u64() != Some(u64::from(listen)))
        .then(|| format!("port {name} is {number}, the process listens on {listen}"))
}

fn provider_problems(settings: &Settings) -> Option<String> {
    match source_settings(settings) {
        Ok(served) if served.len() == fleet_providers::PROVIDERS.len() => None,
        Ok(served) => Some(format!("it serves {} providers", served.len())),
        Err(error) => Some(error.to_string()),
    }
}
