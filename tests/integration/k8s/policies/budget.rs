//! Replicas and scaling targets follow from the numbers in `deploy/k8s/README.md`.

use std::collections::BTreeMap;

use fleet_runtime::settings::load;
use serde_json::Value;

use super::autoscaling::{autoscalers, bounds};
use crate::k8s::manifests::{Manifests, at, label, list, quantity, text};
use crate::k8s::read;

/// The numbers in the README's section "Capacity", by name.
pub(super) fn capacity() -> BTreeMap<String, i64> {
    let readme = read("deploy/k8s/README.md");
    let section = readme.split("\n## ").find(|section| section.starts_with("Capacity\n")).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap();
        let number = rest.split(" |").next().unwrap().replace(',', "");
        (name.to_owned(), number.parse().unwrap_or_else(|error| panic!("{row}: {error}")))
    })
    .collect()
}

/// The target for the backlog is 30 s × mu, and the target for the incoming rate is 0.7 × mu.
pub(super) fn targets_follow_mu(manifests: &Manifests) -> Vec<String> {
    let capacity = capacity();
    let mu = capacity["mu_bytes_per_second"];
    let (backlog, rate) = (30 * mu, mu * 7 / 10);
    let mut violations = Vec::new();
    for autoscaler in autoscalers(manifests) {
        for metric in list(autoscaler, "/spec/metrics") {
            let expected = match text(metric, "/external/metric/name") {
                "" => continue,
                "fleet_queue_backlog_bytes" => backlog,
                _ => rate,
            };
            let value = at(metric, "/external/target/averageValue");
            if quantity(value) != Some(i128::from(expected) * 1000) {
                violations.push(format!("{}: {value} is not {expected}", label(autoscaler)));
            }
        }
        let formula = text(autoscaler, "/spec/advanced/scalingModifiers/formula");
        let messages = backlog / capacity["message_bytes"];
        for number in [format!("/ {messages},"), format!("/ {rate})")] {
            if !formula.is_empty() && !formula.contains(&number) {
                violations.push(format!("{}: no {number:?} in {formula}", label(autoscaler)));
            }
        }
    }
    violations
}

/// Every replica needs a whole connection pool, and so do the replicas that are still terminating.
pub(super) fn connections(manifests: &Manifests) -> Vec<String> {
    let capacity = capacity();
    let Some(pod) = manifests.pod("Deployment/fleet-consumer") else {
        return vec!["there is no consumer".to_owned()];
    };
    let environment =
        list(pod.spec, "/containers").iter().filter_map(|container| manifests.environment(container).ok());
    let Ok(settings) = load(None, environment.flatten()) else {
        return vec!["the consumer's settings cannot be read".to_owned()];
    };
    let deployment = manifests.find("Deployment", "fleet-consumer").unwrap_or(&Value::Null);
    let percent = text(deployment, "/spec/strategy/rollingUpdate/maxUnavailable").trim_end_matches('%');
    let Ok(percent) = percent.parse::<i64>() else {
        return vec![format!("the consumer's maxUnavailable is {percent:?}, not a percentage")];
    };
    let consumers = autoscalers(manifests)
        .into_iter()
        .filter(|autoscaler| text(autoscaler, "/spec/scaleTargetRef/name") == "fleet-consumer");
    let most = consumers.filter_map(|autoscaler| bounds(autoscaler).1).max().unwrap_or(i64::MAX / 1_000_000);
    let ending = (most * percent + 99) / 100;
    let mut violations = query_connections(manifests, &capacity);
    let used = (most + ending) * i64::try_from(settings.database.pool_size).unwrap_or(i64::MAX / 1_000_000);
    let free = capacity["max_connections"] - capacity["reserved_connections"] - capacity["other_connections"];
    if used > free {
        violations.push(format!("{used} connections, {free} are free"));
    }
    violations
}

/// The query service has connections for tracks and one for the changes. They are among the `other_connections`.
fn query_connections(manifests: &Manifests, capacity: &BTreeMap<String, i64>) -> Vec<String> {
    let Some(pod) = manifests.pod("Deployment/fleet-query-api") else { return Vec::new() };
    let environment =
        list(pod.spec, "/containers").iter().filter_map(|container| manifests.environment(container).ok());
    let Ok(settings) = load(None, environment.flatten()) else {
        return vec!["the query service's settings cannot be read".to_owned()];
    };
    let scales = |autoscaler: &&Value| text(autoscaler, "/spec/scaleTargetRef/name") == "fleet-query-api";
    let most =
        autoscalers(manifests).into_iter().filter(scales).filter_map(|autoscaler| bounds(autoscaler).1);
    let most = most.max().unwrap_or(i64::MAX / 1_000_000);
    // A rollout starts a quarter more.
    let starting = (most + 3) / 4;
    let each = i64::try_from(settings.database.pool_size).unwrap_or(i64::MAX / 1_000_000) + 1;
    let (used, free) = ((most + starting) * each, capacity["query_connections"]);
    if used <= free { Vec::new() } else { vec![format!("{used} query connections, {free} are planned")] }
}
