//! Network policies select pods that exist and open only ports that are used.

use serde_json::Value;

use super::ports::{has_port, selected};
use crate::k8s::manifests::{Manifests, at, label, list, selects, text};

/// The ports to which our pods connect: Redis, PostgreSQL, AMQP over TLS and DNS.
const OUTSIDE: [i64; 4] = [6379, 5432, 5671, 53];

/// The bridge has a policy of its own, also in a namespace without others.
const OF_THE_BRIDGE: &str = "NetworkPolicy/fleet-amqp-bridge";

pub(super) fn violations(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    let policies: Vec<_> = manifests.of_kind("NetworkPolicy").collect();
    for policy in &policies {
        let name = label(policy);
        let pods = selected(manifests, at(policy, "/spec/podSelector"));
        if pods.is_empty() {
            violations.push(format!("{name} selects no pod"));
        }
        for port in list(policy, "/spec/ingress").iter().flat_map(|rule| list(rule, "/ports")) {
            let port = text(port, "/port");
            let without = pods.iter().filter(|pod| !has_port(pod, port));
            violations.extend(without.map(|pod| format!("{name}: {} has no port {port}", pod.owner)));
        }
        for port in list(policy, "/spec/egress").iter().flat_map(|rule| list(rule, "/ports")) {
            if !at(port, "/port").as_i64().is_some_and(|port| OUTSIDE.contains(&port)) {
                violations.push(format!("{name}: {port} leads nowhere"));
            }
        }
    }
    // The components `query` and `amqp-bridge` have the policies of their own pods, whether or not the others have any.
    let is_optional = |policy: &&Value| {
        text(policy, "/metadata/name") == "fleet-query-api" || label(policy) == OF_THE_BRIDGE
    };
    if !policies.iter().all(is_optional) {
        violations.extend(coverage(manifests, &policies));
    }
    violations
}

/// Everything is denied by default, and every pod has the policies that it needs.
fn coverage(manifests: &Manifests, policies: &[&Value]) -> Vec<String> {
    let mut violations = Vec::new();
    let denies = |policy: &&&Value| {
        at(policy, "/spec/podSelector").as_object().is_some_and(serde_json::Map::is_empty)
            && list(policy, "/spec/policyTypes").len() == 2
            && list(policy, "/spec/ingress").is_empty()
            && list(policy, "/spec/egress").is_empty()
    };
    if policies.iter().filter(denies).count() != 1 {
        violations.push("nothing is denied by default".to_owned());
    }
    let needs: [(&str, &[i64], &[&str]); 6] = [
        ("fleet-webhook-api", &[53, 6379], &["http", "admin"]),
        ("fleet-consumer", &[53, 6379, 5432], &["admin"]),
        ("fleet-query-api", &[53, 5432], &["http", "admin"]),
        ("fleet-amqp-bridge", &[53, 6379, 5671], &["admin"]),
        ("fleet-migrate", &[53, 5432], &[]),
        ("fleet-retention", &[53, 5432], &[]),
    ];
    for pod in manifests.our_pods() {
        let name = text(pod.labels, "/app.kubernetes.io~1name");
        let Some((_, egress, ingress)) = needs.iter().find(|(needed, _, _)| *needed == name) else {
            violations.push(format!("nobody knows what {} needs", pod.owner));
            continue;
        };
        let own = || policies.iter().filter(|policy| selects(at(policy, "/spec/podSelector"), pod.labels));
        let open = |direction: &str| -> Vec<&Value> {
            let rules = own().flat_map(|policy| list(policy, &format!("/spec/{direction}")));
            rules.flat_map(|rule| list(rule, "/ports")).map(|port| at(port, "/port")).collect()
        };
        let (out, into) = (open("egress"), open("ingress"));
        let missing = egress.iter().filter(|port| !out.iter().any(|open| open.as_i64() == Some(**port)));
        violations.extend(missing.map(|port| format!("{} cannot reach port {port}", pod.owner)));
        let missing = ingress.iter().filter(|port| !into.iter().any(|open| open.as_str() == Some(**port)));
        violations.extend(missing.map(|port| format!("{} cannot be reached at {port}", pod.owner)));
        if out.iter().any(|open| open.as_i64() == Some(6379)) && !egress.contains(&6379) {
            violations.push(format!("{} may reach Redis", pod.owner));
        }
        let databases = out.iter().any(|open| open.as_i64() == Some(5432));
        if databases && !egress.contains(&5432) {
            violations.push(format!("{} may reach a database", pod.owner));
        }
    }
    violations
}
