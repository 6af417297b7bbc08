//! Every object is converted to Kubernetes' own types and back. A field that its kind does not know is lost on the way.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::{Metadata, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::custom;
use super::manifests::{label, text};
use super::render::{overlay, rendered};

/// The fields that are lost in the conversion to `Kind`.
fn lost<Kind>(object: &Value) -> Vec<String>
where
    Kind: Resource + Metadata + DeserializeOwned + Serialize,
{
    if text(object, "/apiVersion") != Kind::API_VERSION {
        return vec![format!("apiVersion {}", text(object, "/apiVersion"))];
    }
    match serde_json::from_value::<Kind>(object.clone()) {
        Ok(typed) => {
            let mut lost = Vec::new();
            compare("", object, &serde_json::to_value(typed).unwrap(), &mut lost);
            lost
        }
        Err(error) => vec![error.to_string()],
    }
}

fn compare(path: &str, sent: &Value, kept: &Value, lost: &mut Vec<String>) {
    match (sent, kept) {
        (Value::Object(sent), Value::Object(kept)) => {
            for (key, value) in sent {
                compare(&format!("{path}/{key}"), value, kept.get(key).unwrap_or(&Value::Null), lost);
            }
        }
        (Value::Array(sent), Value::Array(kept)) if sent.len() == kept.len() => {
            for (index, (sent, kept)) in sent.iter().zip(kept).enumerate() {
                compare(&format!("{path}/{index}"), sent, kept, lost);
            }
        }
        (sent, kept) if sent == kept => {}
        (sent, kept) => lost.push(format!("{path}: {sent} became {kept}")),
    }
}

fn problems(object: &Value) -> Vec<String> {
    match text(object, "/kind") {
        "ConfigMap" => lost::<ConfigMap>(object),
        "CronJob" => lost::<CronJob>(object),
        "Deployment" => lost::<Deployment>(object),
        "HorizontalPodAutoscaler" => lost::<HorizontalPodAutoscaler>(object),
        "Ingress" => lost::<Ingress>(object),
        "Job" => lost::<Job>(object),
        "Namespace" => lost::<Namespace>(object),
        "NetworkPolicy" => lost::<NetworkPolicy>(object),
        "PodDisruptionBudget" => lost::<PodDisruptionBudget>(object),
        "Secret" => lost::<Secret>(object),
        "Service" => lost::<Service>(object),
        "ServiceAccount" => lost::<ServiceAccount>(object),
        "StatefulSet" => lost::<StatefulSet>(object),
        kind if custom::KINDS.contains(&kind) => Vec::new(),
        kind => vec![format!("no check knows the kind {kind}")],
    }
}

#[test]
fn nothing_is_lost_on_the_way_through_kubernetes_types() {
    let mut checked = 0;
    for manifests in rendered() {
        for object in &manifests.objects {
            assert_eq!(problems(object), Vec::<String>::new(), "{}: {}", manifests.name, label(object));
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn an_unknown_field_a_wrong_type_and_an_unknown_kind_are_found() {
    let deployment = overlay("overlays/production").find("Deployment", "fleet-consumer").unwrap();
    let mut unknown = deployment.clone();
    unknown["spec"]["template"]["spec"]["terminationGracePeriod"] = 60.into();
    assert!(
        problems(&unknown)[0].contains("/spec/template/spec/terminationGracePeriod"),
        "{:?}",
        problems(&unknown)
    );
    let mut wrong = deployment.clone();
    wrong["spec"]["revisionHistoryLimit"] = "five".into();
    assert!(problems(&wrong)[0].contains("invalid type"), "{:?}", problems(&wrong));
    let mut old = deployment.clone();
    old["apiVersion"] = "apps/v1beta1".into();
    assert_eq!(problems(&old), ["apiVersion apps/v1beta1"]);
    let mut other = deployment.clone();
    other["kind"] = "DaemonSet".into();
    assert_eq!(problems(&other), ["no check knows the kind DaemonSet"]);
}
