//! The users of Redis.

use crate::compose::default_user_problem;
use crate::k8s::manifests::{Manifests, at, label};

/// Every users file in a ConfigMap.
pub(super) fn violations(manifests: &Manifests) -> Vec<String> {
    let files = manifests.of_kind("ConfigMap").filter_map(|object| {
        let file = at(object, "/data/users.acl").as_str()?;
        Some((label(object), default_user_problem(file)?))
    });
    files.map(|(owner, problem)| format!("{owner}: {problem}")).collect()
}
