//! Rendered manifests, and helpers to read them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde::Deserialize;
use serde_json::Value;

use super::read;

/// What one folder is rendered to.
#[derive(Clone, Debug)]
pub(super) struct Manifests {
    /// For example `overlays/dev` or `components/monitoring`.
    pub(super) name: String,
    /// The YAML that kubectl would send.
    pub(super) text: String,
    pub(super) objects: Vec<Value>,
}

/// A pod template and the object that contains it.
#[derive(Debug)]
pub(super) struct Pod<'a> {
    /// For example `Deployment/fleet-consumer`.
    pub(super) owner: String,
    pub(super) labels: &'a Value,
    pub(super) spec: &'a Value,
}

impl Manifests {
    pub(super) fn parse(name: &str, text: &str) -> Self {
        let documents = yaml_serde::Deserializer::from_str(text);
        let objects = documents.map(|document| unfolded(Value::deserialize(document).unwrap())).collect();
        Self { name: name.to_owned(), text: text.to_owned(), objects }
    }

    /// Whether people apply it as it is. A component on its own is not applied.
    pub(super) fn is_overlay(&self) -> bool {
        self.name.starts_with("overlays/")
    }

    pub(super) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| text(object, "/kind") == kind)
    }

    pub(super) fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.of_kind(kind).find(|object| text(object, "/metadata/name") == name)
    }

    pub(super) fn pods(&self) -> Vec<Pod<'_>> {
        let templates = [
            ("Deployment", "/spec/template"),
            ("StatefulSet", "/spec/template"),
            ("Job", "/spec/template"),
            ("CronJob", "/spec/jobTemplate/spec/template"),
        ];
        let of = |(kind, template): (&str, &str)| {
            let pod = |object| Pod {
                owner: label(object),
                labels: at(object, &format!("{template}/metadata/labels")),
                spec: at(object, &format!("{template}/spec")),
            };
            self.of_kind(kind).map(pod).collect::<Vec<_>>()
        };
        templates.into_iter().flat_map(of).collect()
    }

    /// The pods that run this project's image.
    pub(super) fn our_pods(&self) -> Vec<Pod<'_>> {
        let ours = |pod: &Pod<'_>| text(pod.labels, "/app.kubernetes.io~1name").starts_with("fleet-");
        self.pods().into_iter().filter(ours).collect()
    }

    pub(super) fn pod(&self, owner: &str) -> Option<Pod<'_>> {
        self.pods().into_iter().find(|pod| pod.owner == owner)
    }

    /// Every variable of a container. A later source overrides an earlier one. An `Err` stands for a source that does
    /// not exist.
    pub(super) fn environment(&self, container: &Value) -> Result<BTreeMap<String, String>, Vec<String>> {
        let mut variables = BTreeMap::new();
        let mut missing = Vec::new();
        for source in list(container, "/envFrom") {
            let config_map = text(source, "/configMapRef/name");
            let secret = text(source, "/secretRef/name");
            let found = if secret.is_empty() {
                self.find("ConfigMap", config_map).map(config_map_data)
            } else {
                self.secret(secret)
            };
            match found {
                Some(found) => variables.extend(found),
                None => missing.push(format!("nothing is named {config_map}{secret}")),
            }
        }
        for variable in list(container, "/env") {
            variables.insert(text(variable, "/name").to_owned(), text(variable, "/value").to_owned());
        }
        if missing.is_empty() { Ok(variables) } else { Err(missing) }
    }

    /// The data of a Secret that is rendered, or that the example file tells people to create.
    fn secret(&self, name: &str) -> Option<BTreeMap<String, String>> {
        if let Some(secret) = self.find("Secret", name) {
            let secret: Secret = serde_json::from_value(secret.clone()).unwrap();
            let data = secret.data.unwrap_or_default().into_iter();
            return Some(data.map(|(key, value)| (key, String::from_utf8(value.0).unwrap())).collect());
        }
        let examples = Self::parse("examples", &read("deploy/k8s/examples/secret.example.yaml"));
        let secret: Secret = serde_json::from_value(examples.find("Secret", name)?.clone()).unwrap();
        secret.string_data
    }
}

fn config_map_data(object: &Value) -> BTreeMap<String, String> {
    let config_map: ConfigMap = serde_json::from_value(object.clone()).unwrap();
    config_map.data.unwrap_or_default()
}

/// kubectl breaks long base64 into lines. Kubernetes ignores the line breaks, but the types in this test do not.
fn unfolded(mut object: Value) -> Value {
    if text(&object, "/kind") == "Secret" {
        let data = object.pointer_mut("/data").and_then(Value::as_object_mut);
        for value in data.into_iter().flat_map(|data| data.values_mut()) {
            *value = value.as_str().unwrap_or_default().replace('\n', "").into();
        }
    }
    object
}

/// Kind and name, such as `Deployment/fleet-consumer`.
pub(super) fn label(object: &Value) -> String {
    format!("{}/{}", text(object, "/kind"), text(object, "/metadata/name"))
}

/// The value at a JSON pointer; null if there is none.
pub(super) fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(&Value::Null)
}

/// The string at a JSON pointer; empty if there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer).as_str().unwrap_or_default()
}

/// The elements at a JSON pointer; none if there is no list.
pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer).as_array().map_or(&[], Vec::as_slice)
}

/// A Kubernetes quantity in thousandths: `250m` is 250, `1Ki` is 1,024,000.
pub(super) fn quantity(value: &Value) -> Option<i128> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let scale: i128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        _ => return None,
    };
    digits.parse::<i128>().ok()?.checked_mul(scale)
}

/// Whether a label selector takes pods with these labels.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let equal = at(selector, "/matchLabels")
        .as_object()
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| label(key) == value.as_str()));
    let among = list(selector, "/matchExpressions").iter().all(|expression| {
        let found = label(text(expression, "/key"));
        match text(expression, "/operator") {
            "In" => {
                list(expression, "/values").iter().any(|value| value.as_str() == found && found.is_some())
            }
            "Exists" => found.is_some(),
            _ => false,
        }
    });
    equal && among
}
