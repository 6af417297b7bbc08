//! Every port that is named exists.

use serde_json::Value;

use crate::k8s::manifests::{Manifests, Pod, at, label, list, selects, text};

pub(super) fn violations(manifests: &Manifests) -> Vec<String> {
    let mut violations = services(manifests);
    violations.extend(ingresses(manifests));
    for pod in manifests.pods() {
        let containers = list(pod.spec, "/containers").iter();
        let asked = containers.flat_map(|container| {
            ["livenessProbe", "startupProbe", "readinessProbe"]
                .map(|probe| text(container, &format!("/{probe}/httpGet/port")))
        });
        for port in asked.filter(|port| !port.is_empty() && !has_port(&pod, port)) {
            violations.push(format!("{}: a probe asks port {port}", pod.owner));
        }
    }
    for monitor in manifests.of_kind("PodMonitor") {
        let pods = selected(manifests, at(monitor, "/spec/selector"));
        // The API, the consumer, and the bridge if it is there.
        let serving = manifests.our_pods().into_iter().filter(|pod| has_port(pod, "admin")).count();
        if pods.len() != serving {
            violations.push(format!(
                "{} selects {} kinds of pods, not {serving}",
                label(monitor),
                pods.len()
            ));
        }
        for endpoint in list(monitor, "/spec/podMetricsEndpoints") {
            let port = text(endpoint, "/port");
            for pod in pods.iter().filter(|pod| !has_port(pod, port)) {
                violations.push(format!("{}: {} has no port {port}", label(monitor), pod.owner));
            }
            if text(endpoint, "/path") != "/metrics" || text(endpoint, "/interval") != "10s" {
                violations.push(format!("{}: {endpoint}", label(monitor)));
            }
        }
    }
    violations
}

fn services(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    for service in manifests.of_kind("Service") {
        let selector = serde_json::json!({ "matchLabels": at(service, "/spec/selector") });
        let pods = selected(manifests, &selector);
        if pods.len() != 1 || at(service, "/spec/selector").is_null() {
            violations.push(format!("{} selects {} kinds of pods", label(service), pods.len()));
        }
        for port in list(service, "/spec/ports") {
            let target = text(port, "/targetPort");
            if !pods.iter().all(|pod| has_port(pod, target)) {
                violations.push(format!("{}: no pod has the port {target}", label(service)));
            }
        }
    }
    violations
}

fn ingresses(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    for ingress in manifests.of_kind("Ingress") {
        let paths = list(ingress, "/spec/rules").iter().flat_map(|rule| list(rule, "/http/paths"));
        for path in paths {
            let backend = at(path, "/backend/service");
            let service = manifests.find("Service", text(backend, "/name"));
            let ports = service.map_or(&[][..], |service| list(service, "/spec/ports"));
            if !ports.iter().any(|port| text(port, "/name") == text(backend, "/port/name")) {
                violations.push(format!("{}: nothing serves {backend}", label(ingress)));
            }
        }
    }
    violations
}

pub(super) fn selected<'a>(manifests: &'a Manifests, selector: &Value) -> Vec<Pod<'a>> {
    manifests.pods().into_iter().filter(|pod| selects(selector, pod.labels)).collect()
}

pub(super) fn has_port(pod: &Pod<'_>, name: &str) -> bool {
    let ports = list(pod.spec, "/containers").iter().flat_map(|container| list(container, "/ports"));
    ports.into_iter().any(|port| text(port, "/name") == name)
}
