//! One image, one namespace, unique names, and no tag that moves.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::k8s::manifests::{Manifests, at, label, list, text};
use crate::k8s::read;

/// Kinds without a namespace.
const CLUSTER_WIDE: [&str; 1] = ["Namespace"];

pub(super) fn violations(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    let labels: Vec<_> = manifests.objects.iter().map(label).collect();
    let mut seen = BTreeSet::new();
    violations.extend(
        labels.iter().filter(|name| !seen.insert(*name)).map(|name| format!("{name} is there twice")),
    );
    let our_pods = manifests.our_pods();
    let ours: BTreeSet<_> = our_pods.iter().map(|pod| text(pod.spec, "/containers/0/image")).collect();
    if ours.len() != 1 {
        violations.push(format!("the workloads run different images: {ours:?}"));
    }
    let pods = manifests.pods();
    let images: BTreeSet<_> = pods
        .iter()
        .flat_map(|pod| list(pod.spec, "/containers"))
        .map(|container| text(container, "/image"))
        .collect();
    if manifests.is_overlay() {
        violations.extend(
            images
                .iter()
                .filter(|image| release(image).is_none())
                .map(|image| format!("{image} is not pinned")),
        );
        violations.extend(namespace_problems(manifests));
        let release = ours.first().and_then(|image| release(image)).unwrap_or_default();
        let job = format!("fleet-migrate-{release}");
        if manifests.find("Job", &job).is_none() {
            violations.push(format!("there is no Job {job} for this release"));
        }
        if manifests.name == "overlays/production" && !ours.iter().all(|image| image.contains("@sha256:")) {
            violations.push("production runs a tag, which can be moved".to_owned());
        }
    }
    let compose = read("docker-compose.yml");
    let others = images.iter().filter(|image| !ours.contains(*image));
    let unknown = others.filter(|image| !compose.contains(&format!("image: {image}\n")));
    violations.extend(unknown.map(|image| format!("{image} is not what docker-compose.yml runs")));
    for job in manifests.of_kind("Job") {
        for field in ["activeDeadlineSeconds", "ttlSecondsAfterFinished"] {
            if at(job, &format!("/spec/{field}")).as_u64().is_none() {
                violations.push(format!("{} has no {field}", label(job)));
            }
        }
    }
    let daily = |job: &Value| {
        text(job, "/spec/schedule").ends_with(" * * *") && text(job, "/spec/concurrencyPolicy") == "Forbid"
    };
    if !manifests.of_kind("CronJob").all(daily) {
        violations.push("retention does not run daily, one at a time".to_owned());
    }
    violations
}

/// How a name refers to an image's release: its version with dashes, or the start of its digest.
fn release(image: &str) -> Option<String> {
    if let Some((_, digest)) = image.split_once("@sha256:") {
        let whole = digest.len() == 64 && digest.bytes().all(|digit| digit.is_ascii_hexdigit());
        return whole.then(|| digest[..12].to_owned());
    }
    let (_, tag) = image.rsplit_once(':')?;
    (tag.split('.').count() >= 3).then(|| tag.replace('.', "-"))
}

fn namespace_problems(manifests: &Manifests) -> Vec<String> {
    let namespace = manifests.of_kind("Namespace").next().map_or("", |object| text(object, "/metadata/name"));
    let inside = manifests.objects.iter().filter(|object| !CLUSTER_WIDE.contains(&text(object, "/kind")));
    let elsewhere = inside
        .filter(|object| text(object, "/metadata/namespace") != namespace)
        .map(|object| format!("{} is outside {namespace}", label(object)));
    let mut problems: Vec<_> = elsewhere.collect();
    let triggers = manifests.of_kind("ScaledObject").flat_map(|object| list(object, "/spec/triggers"));
    for query in triggers.map(|trigger| text(trigger, "/metadata/query")) {
        if !query.is_empty() && !query.contains(&format!("namespace=\"{namespace}\"")) {
            problems.push(format!("another namespace is asked for in {query}"));
        }
    }
    problems
}
