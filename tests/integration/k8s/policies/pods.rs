//! The restricted profile of the Pod Security Standards, and this project's stricter rules.

use serde_json::{Value, json};

use crate::k8s::manifests::{Manifests, at, list, text};

pub(super) fn security(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    for pod in manifests.pods() {
        let mut wrong = |what: &str| violations.push(format!("{}: {what}", pod.owner));
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            if !at(pod.spec, &format!("/{field}")).is_null() {
                wrong(field);
            }
        }
        let context = at(pod.spec, "/securityContext");
        if at(context, "/runAsNonRoot") != &json!(true)
            || at(context, "/runAsUser").as_u64().is_none_or(|user| user == 0)
        {
            wrong("may run as root");
        }
        if text(context, "/seccompProfile/type") != "RuntimeDefault" {
            wrong("no seccomp profile");
        }
        if list(pod.spec, "/volumes").iter().any(|volume| !is_allowed(volume)) {
            wrong("a volume that the restricted profile refuses");
        }
        let containers = list(pod.spec, "/containers").iter().chain(list(pod.spec, "/initContainers"));
        for container in containers {
            let context = at(container, "/securityContext");
            if at(context, "/allowPrivilegeEscalation") != &json!(false)
                || !at(context, "/privileged").is_null()
            {
                wrong("may gain privileges");
            }
            if at(context, "/readOnlyRootFilesystem") != &json!(true) {
                wrong("may write to its root file system");
            }
            if at(context, "/capabilities") != &json!({ "drop": ["ALL"] }) {
                wrong("keeps capabilities");
            }
            for field in ["runAsNonRoot", "runAsUser", "seccompProfile", "procMount", "seLinuxOptions"] {
                if !at(context, &format!("/{field}")).is_null() {
                    wrong("a container has a rule of its own");
                }
            }
            if list(container, "/ports").iter().any(|port| !at(port, "/hostPort").is_null()) {
                wrong("takes a port of the node");
            }
        }
    }
    if manifests.is_overlay() {
        let namespaces: Vec<_> = manifests.of_kind("Namespace").collect();
        let enforced = |namespace: &&Value| {
            text(namespace, "/metadata/labels/pod-security.kubernetes.io~1enforce") == "restricted"
        };
        if namespaces.len() != 1 || !namespaces.iter().all(enforced) {
            violations.push("the namespace does not enforce the restricted profile".to_owned());
        }
    }
    violations
}

fn is_allowed(volume: &Value) -> bool {
    let allowed = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let kinds = volume.as_object().into_iter().flatten().filter(|(key, _)| *key != "name");
    kinds.into_iter().all(|(kind, _)| allowed.contains(&kind.as_str()))
}

/// Pods get no token, because they do not use the Kubernetes API, and no variables of Services, which would look like
/// settings.
pub(super) fn isolation(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    for pod in manifests.pods() {
        for field in ["automountServiceAccountToken", "enableServiceLinks"] {
            if at(pod.spec, &format!("/{field}")) != &json!(false) {
                violations.push(format!("{}: {field} is not false", pod.owner));
            }
        }
    }
    for pod in manifests.our_pods() {
        let account = manifests.find("ServiceAccount", text(pod.spec, "/serviceAccountName"));
        if account.is_none_or(|account| at(account, "/automountServiceAccountToken") != &json!(false)) {
            violations.push(format!("{} has no account of its own", pod.owner));
        }
    }
    violations
}
