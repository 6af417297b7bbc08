//! Autoscalers: which ones exist, what they scale and how.

use serde_json::Value;

use crate::k8s::manifests::{Manifests, at, label, list, quantity, text};

/// HPAs and ScaledObjects. Each owns the replicas of the object that it scales.
pub(super) fn autoscalers(manifests: &Manifests) -> Vec<&Value> {
    manifests.of_kind("HorizontalPodAutoscaler").chain(manifests.of_kind("ScaledObject")).collect()
}

fn target(autoscaler: &Value) -> String {
    let target = at(autoscaler, "/spec/scaleTargetRef");
    format!("{} {}/{}", text(target, "/apiVersion"), text(target, "/kind"), text(target, "/name"))
}

pub(super) fn one_each(manifests: &Manifests) -> Vec<String> {
    let targets: Vec<_> = autoscalers(manifests).into_iter().map(target).collect();
    let deployments = manifests.of_kind("Deployment").map(label);
    let count = |name: &String| targets.iter().filter(|target| target.ends_with(&format!(" {name}"))).count();
    // The bridge's replicas do not follow the load.
    let wanted = |name: &String| usize::from(name != "Deployment/fleet-amqp-bridge");
    deployments
        .filter(|name| count(name) != wanted(name))
        .map(|name| format!("{name} has {} autoscalers", count(&name)))
        .collect()
}

pub(super) fn no_replicas(manifests: &Manifests) -> Vec<String> {
    let targets: Vec<_> = autoscalers(manifests).into_iter().map(target).collect();
    let owned = |name: &String| targets.iter().any(|target| target.ends_with(&format!(" {name}")));
    let with_replicas =
        manifests.of_kind("Deployment").filter(|object| !at(object, "/spec/replicas").is_null());
    with_replicas
        .map(label)
        .filter(owned)
        .map(|name| format!("{name} sets replicas, which its autoscaler owns"))
        .collect()
}

pub(super) fn targets_exist(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    for autoscaler in autoscalers(manifests) {
        let name = label(autoscaler);
        let target = target(autoscaler);
        let Some(pod) = target.strip_prefix("apps/v1 ").and_then(|owner| manifests.pod(owner)) else {
            violations.push(format!("{name} scales {target}, which does not exist"));
            continue;
        };
        for container in measured_containers(autoscaler) {
            let found = list(pod.spec, "/containers").iter().find(|found| text(found, "/name") == container);
            let requests = found.is_some_and(|found| !at(found, "/resources/requests/cpu").is_null());
            if !requests {
                violations.push(format!("{name}: no container {container} with a CPU request"));
            }
        }
    }
    violations
}

/// The containers whose CPU an autoscaler measures.
fn measured_containers(autoscaler: &Value) -> Vec<&str> {
    let metrics = list(autoscaler, "/spec/metrics").iter();
    let of_metrics = metrics.map(|metric| text(metric, "/containerResource/container"));
    let triggers = list(autoscaler, "/spec/triggers").iter();
    let of_triggers = triggers.map(|trigger| text(trigger, "/metadata/containerName"));
    of_metrics.chain(of_triggers).filter(|name| !name.is_empty()).collect()
}

/// The minimum and maximum of replicas.
pub(super) fn bounds(autoscaler: &Value) -> (Option<i64>, Option<i64>) {
    let keys = if text(autoscaler, "/kind") == "ScaledObject" {
        ("/spec/minReplicaCount", "/spec/maxReplicaCount")
    } else {
        ("/spec/minReplicas", "/spec/maxReplicas")
    };
    (at(autoscaler, keys.0).as_i64(), at(autoscaler, keys.1).as_i64())
}

pub(super) fn behaviour(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    for autoscaler in autoscalers(manifests) {
        let name = label(autoscaler);
        let mut wrong = |what: String| violations.push(format!("{name}: {what}"));
        match bounds(autoscaler) {
            (Some(least), Some(most)) if 0 < least && least <= most => {}
            (least, most) => wrong(format!("from {least:?} to {most:?} replicas")),
        }
        let of_keda = at(autoscaler, "/spec/advanced/horizontalPodAutoscalerConfig/behavior");
        let behaviour = autoscaler.pointer("/spec/behavior").unwrap_or(of_keda);
        for direction in ["scaleUp", "scaleDown"] {
            direction_problems(at(behaviour, &format!("/{direction}")))
                .into_iter()
                .for_each(|problem| wrong(format!("{direction}: {problem}")));
        }
        metric_problems(autoscaler).into_iter().for_each(wrong);
    }
    violations
}

fn direction_problems(rules: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let window = at(rules, "/stabilizationWindowSeconds").as_i64();
    if !window.is_some_and(|seconds| (0..=3600).contains(&seconds)) {
        problems.push(format!("a window of {window:?} s, which the API server refuses beyond 3600"));
    }
    if !["Max", "Min", "Disabled"].contains(&text(rules, "/selectPolicy")) {
        problems.push(format!("selectPolicy {}", at(rules, "/selectPolicy")));
    }
    if list(rules, "/policies").is_empty() {
        problems.push("no policy".to_owned());
    }
    for policy in list(rules, "/policies") {
        let known = ["Percent", "Pods"].contains(&text(policy, "/type"));
        let value = at(policy, "/value").as_i64().is_some_and(|value| value > 0);
        let period = at(policy, "/periodSeconds").as_i64().is_some_and(|period| (1..=1800).contains(&period));
        if !(known && value && period) {
            problems.push(format!("policy {policy}"));
        }
    }
    problems
}

/// An HPA needs a CPU metric as the fallback for when its other metrics are missing. So does a ScaledObject.
fn metric_problems(autoscaler: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let metrics = list(autoscaler, "/spec/metrics");
    for metric in metrics {
        let target = match text(metric, "/type") {
            "ContainerResource" => at(metric, "/containerResource/target"),
            "External" => at(metric, "/external/target"),
            other => {
                problems.push(format!("a metric of type {other}"));
                continue;
            }
        };
        let good = match text(target, "/type") {
            "Utilization" => {
                at(target, "/averageUtilization").as_i64().is_some_and(|percent| (1..=100).contains(&percent))
            }
            "AverageValue" => quantity(at(target, "/averageValue")).is_some_and(|value| value > 0),
            _ => false,
        };
        if !good {
            problems.push(format!("target {target}"));
        }
    }
    let triggers = list(autoscaler, "/spec/triggers");
    for trigger in triggers {
        let kind = match text(trigger, "/type") {
            "redis" | "prometheus" => "AverageValue",
            "cpu" => "Utilization",
            _ => "",
        };
        if kind.is_empty() || text(trigger, "/metricType") != kind {
            problems.push(format!("trigger {trigger}"));
        }
        if text(trigger, "/type") == "prometheus" && text(trigger, "/metadata/ignoreNullValues") != "false" {
            problems.push("no answer of Prometheus must be an error, not no load".to_owned());
        }
    }
    let cpu = metrics.iter().any(|metric| text(metric, "/containerResource/name") == "cpu")
        || triggers.iter().any(|trigger| text(trigger, "/type") == "cpu");
    if !cpu {
        problems.push("no CPU metric for when the other sources are gone".to_owned());
    }
    problems
}
