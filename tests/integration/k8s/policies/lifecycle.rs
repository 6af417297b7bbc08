//! Start, stop, replacement and eviction of pods.

use std::time::Duration;

use fleet_runtime::settings::load;
use serde_json::Value;

use crate::k8s::manifests::{Manifests, at, label, list, selects, text};

/// The kubelet must wait longer than the pod's preStop hook and the process's shutdown timeout together.
pub(super) fn grace(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    for owner in ["fleet-webhook-api", "fleet-consumer", "fleet-amqp-bridge", "fleet-query-api"] {
        let Some(pod) = manifests.pod(&format!("Deployment/{owner}")) else { continue };
        let grace = at(pod.spec, "/terminationGracePeriodSeconds").as_u64().unwrap_or(30);
        for container in list(pod.spec, "/containers") {
            let environment = manifests.environment(container).unwrap_or_default();
            let Ok(settings) = load(None, environment.into_iter()) else { continue };
            let drain = match owner {
                "fleet-webhook-api" => settings.api.shutdown_timeout,
                "fleet-consumer" => settings.consumer.shutdown_timeout,
                "fleet-amqp-bridge" => settings.amqp.shutdown_timeout,
                _query => settings.query.shutdown_timeout,
            };
            let pre_stop = at(container, "/lifecycle/preStop/sleep/seconds").as_u64().unwrap_or(0);
            if Duration::from_secs(grace) <= Duration::from_secs(pre_stop) + drain {
                violations.push(format!("{owner}: {grace} s are not more than {pre_stop} s and {drain:?}"));
            }
        }
    }
    violations
}

pub(super) fn rollouts(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    let expected = [
        ("fleet-webhook-api", "25%", "0"),
        ("fleet-consumer", "0", "25%"),
        ("fleet-amqp-bridge", "1", "0"),
        ("fleet-query-api", "25%", "0"),
    ];
    for (name, surge, unavailable) in expected {
        let deployment = manifests.find("Deployment", name);
        if deployment.is_none() && ["fleet-amqp-bridge", "fleet-query-api"].contains(&name) {
            // Each of them is in a component.
            continue;
        }
        let deployment = deployment.unwrap_or(&Value::Null);
        for (key, wanted) in [("maxSurge", surge), ("maxUnavailable", unavailable)] {
            let found = at(deployment, &format!("/spec/strategy/rollingUpdate/{key}"));
            if found.to_string().trim_matches('"') != wanted {
                violations.push(format!("{name}: {key} is {found}, not {wanted}"));
            }
        }
        let pod = manifests.pod(&format!("Deployment/{name}"));
        let labels = pod.as_ref().map_or(&Value::Null, |pod| pod.labels);
        let budgets = manifests.of_kind("PodDisruptionBudget");
        let budgets: Vec<_> =
            budgets.filter(|budget| selects(at(budget, "/spec/selector"), labels)).collect();
        if budgets.len() != 1 {
            violations.push(format!("{name}: {} disruption budgets", budgets.len()));
        }
        for budget in budgets {
            if text(budget, "/spec/unhealthyPodEvictionPolicy") != "AlwaysAllow" {
                violations.push(format!("{}: pods that are not ready hold up a drain", label(budget)));
            }
        }
        let spread = pod.as_ref().map_or(&[][..], |pod| list(pod.spec, "/topologySpreadConstraints"));
        for key in ["topology.kubernetes.io/zone", "kubernetes.io/hostname"] {
            let over = |constraint: &Value| {
                text(constraint, "/topologyKey") == key
                    && text(constraint, "/whenUnsatisfiable") == "ScheduleAnyway"
                    && selects(at(constraint, "/labelSelector"), labels)
            };
            if !spread.iter().any(over) {
                violations.push(format!("{name} is not spread over {key}"));
            }
        }
    }
    violations
}

pub(super) fn probes(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    let probes = [("livenessProbe", "/livez"), ("startupProbe", "/livez"), ("readinessProbe", "/readyz")];
    for pod in manifests.our_pods().iter().filter(|pod| pod.owner.starts_with("Deployment/")) {
        for container in list(pod.spec, "/containers") {
            for (probe, path) in probes {
                let get = at(container, &format!("/{probe}/httpGet"));
                if text(get, "/path") != path || text(get, "/port") != "admin" {
                    violations.push(format!("{}: {probe} asks {get}", pod.owner));
                }
            }
        }
    }
    violations
}
