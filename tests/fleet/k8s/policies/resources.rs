//! Requests and limits.

use serde_json::Value;

use super::budget::capacity;
use crate::k8s::manifests::{Manifests, at, list, quantity, text};

pub(super) fn violations(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    for pod in manifests.pods() {
        for container in list(pod.spec, "/containers") {
            let place = format!("{} {}", pod.owner, text(container, "/name"));
            violations.extend(problems(container).into_iter().map(|problem| format!("{place}: {problem}")));
        }
    }
    let capacity = capacity();
    for (owner, peak) in [("fleet-webhook-api", "api_peak_bytes"), ("fleet-consumer", "consumer_peak_bytes")]
    {
        let Some(pod) = manifests.pod(&format!("Deployment/{owner}")) else { continue };
        let resources = at(pod.spec, "/containers/0/resources");
        let peak = i128::from(capacity[peak]) * 1000;
        if quantity(at(resources, "/requests/memory")).is_some_and(|request| request < peak) {
            violations.push(format!("{owner}: requests less memory than its measured peak"));
        }
        if quantity(at(resources, "/limits/memory")).is_some_and(|limit| limit < 2 * peak) {
            violations.push(format!("{owner}: its memory limit is less than twice the measured peak"));
        }
    }
    violations
}

fn problems(container: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let resources = at(container, "/resources");
    for part in ["requests", "limits"] {
        for (name, value) in at(resources, &format!("/{part}")).as_object().into_iter().flatten() {
            if quantity(value).is_none() {
                problems.push(format!("{part} of {name}: {value} is no quantity"));
            }
        }
    }
    for needed in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
        if at(resources, needed).is_null() {
            problems.push(format!("no {needed}"));
        }
    }
    if !at(resources, "/limits/cpu").is_null() {
        problems.push("a CPU limit throttles".to_owned());
    }
    if quantity(at(resources, "/limits/memory")) < quantity(at(resources, "/requests/memory")) {
        problems.push("limits less memory than it requests".to_owned());
    }
    problems
}
