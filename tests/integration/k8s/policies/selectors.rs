//! Selectors select the pods of their own object, and no others.

use crate::k8s::manifests::{Manifests, at, label, selects};

pub(super) fn violations(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    for kind in ["Deployment", "StatefulSet"] {
        for object in manifests.of_kind(kind) {
            let selector = at(object, "/spec/selector");
            let name = label(object);
            if selector.pointer("/matchLabels").is_none() {
                violations.push(format!("{name} selects nothing"));
            }
            for pod in manifests.pods() {
                let own = pod.owner == name;
                if selects(selector, pod.labels) != own {
                    let what = if own { "does not select its own pods" } else { "selects the pods of" };
                    violations.push(format!("{name} {what} {}", pod.owner));
                }
            }
        }
    }
    for budget in manifests.of_kind("PodDisruptionBudget") {
        let pods = manifests.pods();
        let taken = pods.iter().filter(|pod| selects(at(budget, "/spec/selector"), pod.labels)).count();
        if taken != 1 {
            violations.push(format!("{} selects {taken} kinds of pods", label(budget)));
        }
    }
    violations
}
