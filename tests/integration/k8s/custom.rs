//! Custom resources, whose kinds Kubernetes itself does not know. They may have only fields that their operators know,
//! with the right types.
//!
//! KEDA 2.17 and the Prometheus Operator's v1 API have more fields. Add those that come into use.

#![allow(dead_code, reason = "deserialising is the check")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerBehavior;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::manifests::{label, text};
use super::render::rendered;

/// The kinds checked here.
pub(super) const KINDS: [&str; 4] = ["ScaledObject", "TriggerAuthentication", "PodMonitor", "PrometheusRule"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Custom<Spec> {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScaledObject {
    scale_target_ref: ScaleTarget,
    min_replica_count: u32,
    max_replica_count: u32,
    polling_interval: u32,
    fallback: Fallback,
    advanced: Advanced,
    triggers: Vec<Trigger>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScaleTarget {
    api_version: String,
    kind: String,
    name: String,
    env_source_container_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fallback {
    failure_threshold: u32,
    replicas: u32,
    behavior: FallbackBehaviour,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum FallbackBehaviour {
    Static,
    CurrentReplicas,
    CurrentReplicasIfHigher,
    CurrentReplicasIfLower,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advanced {
    scaling_modifiers: ScalingModifiers,
    horizontal_pod_autoscaler_config: HpaConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScalingModifiers {
    formula: String,
    target: String,
    metric_type: MetricType,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HpaConfig {
    name: String,
    behavior: HorizontalPodAutoscalerBehavior,
}

#[derive(Deserialize)]
enum MetricType {
    AverageValue,
    Value,
    Utilization,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Trigger {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    metric_type: MetricType,
    /// All values are strings, numbers and booleans included.
    metadata: BTreeMap<String, String>,
    authentication_ref: Option<Reference>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TriggerAuthentication {
    secret_target_ref: Vec<SecretTarget>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretTarget {
    parameter: String,
    name: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodMonitor {
    selector: LabelSelector,
    pod_metrics_endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Endpoint {
    port: String,
    path: String,
    interval: String,
    scrape_timeout: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrometheusRule {
    groups: Vec<RuleGroup>,
}

/// promtool checks the rules themselves.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleGroup {
    name: String,
    interval: Option<String>,
    rules: Vec<Value>,
}

/// What is wrong with an object of one of [`KINDS`]. None for an object of another kind.
fn problem(object: &Value) -> Option<String> {
    fn of<Spec: for<'a> Deserialize<'a>>(object: &Value, api_version: &str) -> Option<String> {
        match serde_json::from_value::<Custom<Spec>>(object.clone()) {
            Ok(custom) if custom.api_version == api_version => None,
            Ok(custom) => Some(format!("apiVersion {}", custom.api_version)),
            Err(error) => Some(error.to_string()),
        }
    }
    match text(object, "/kind") {
        "ScaledObject" => of::<ScaledObject>(object, "keda.sh/v1alpha1"),
        "TriggerAuthentication" => of::<TriggerAuthentication>(object, "keda.sh/v1alpha1"),
        "PodMonitor" => of::<PodMonitor>(object, "monitoring.coreos.com/v1"),
        "PrometheusRule" => of::<PrometheusRule>(object, "monitoring.coreos.com/v1"),
        _ => None,
    }
}

#[test]
fn custom_kinds_have_known_fields_only() {
    let mut seen = 0;
    for manifests in rendered() {
        for object in &manifests.objects {
            let problem = problem(object);
            assert_eq!(problem, None, "{}: {}", manifests.name, label(object));
            seen += usize::from(KINDS.contains(&text(object, "/kind")));
        }
    }
    assert!(seen >= KINDS.len(), "{seen}");
}

#[test]
fn an_unknown_field_of_a_custom_kind_is_found() {
    for (kind, pointer) in [("ScaledObject", "/spec/fallback"), ("PodMonitor", "/spec/podMetricsEndpoints/0")]
    {
        let mut object =
            rendered().iter().find_map(|manifests| manifests.of_kind(kind).next()).unwrap().clone();
        object.pointer_mut(pointer).unwrap()["behaviour"] = "static".into();
        assert!(problem(&object).unwrap().contains("unknown field"), "{kind}");
    }
}

#[test]
fn triggers_authenticate_with_what_the_example_secret_has() {
    let staging = super::render::overlay("overlays/staging");
    let authentication = staging.of_kind("TriggerAuthentication").next().unwrap();
    let triggers =
        staging.of_kind("ScaledObject").flat_map(|object| super::manifests::list(object, "/spec/triggers"));
    for name in
        triggers.map(|trigger| text(trigger, "/authenticationRef/name")).filter(|name| !name.is_empty())
    {
        assert_eq!(name, text(authentication, "/metadata/name"));
    }
    let example = super::read("deploy/k8s/examples/secret.example.yaml");
    let example = super::manifests::Manifests::parse("example", &example);
    for target in super::manifests::list(authentication, "/spec/secretTargetRef") {
        let secret = example.find("Secret", text(target, "/name")).unwrap();
        assert!(!text(secret, &format!("/stringData/{}", text(target, "/key"))).is_empty(), "{target}");
    }
}
