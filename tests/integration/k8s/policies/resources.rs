//! Requests and limits.

use fleet_runtime::settings::load;
use fleet_webhook_api::memory;
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
    violations.extend(webhooks_need(manifests));
    violations
}

/// The API never needs more memory than its limit, whatever clients send.
fn webhooks_need(manifests: &Manifests) -> Option<String> {
    let pod = manifests.pod("Deployment/fleet-webhook-api")?;
    let container = at(pod.spec, "/containers/0");
    let settings =
        manifests.environment(container).ok().and_then(|variables| load(None, variables.into_iter()).ok());
    let Some(settings) = settings else {
        return Some("fleet-webhook-api: its settings cannot be read".to_owned());
    };
    let most = memory::most_bytes(&settings);
    let limit = quantity(at(container, "/resources/limits/memory"))?;
    (limit < i128::from(most) * 1000).then(|| {
        format!("fleet-webhook-api: its settings allow {} MiB, more than its memory limit", most >> 20)
    })
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
