//! Reads the consumer from the rendered manifests: its HPA, and the relevant parts of its Deployment.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use yaml_serde::{Deserializer, Value};

use super::hpa::{Limit, Metric, Policy, Rules, Scaling, Select};
use crate::refuse::refuse;
use fleet_harness::{Failure, Quantity};

/// The name of the Deployment and of its HPA.
const WORKLOAD: &str = "fleet-consumer";

/// The default of kube-controller-manager.
const TOLERANCE: f64 = 0.1;

/// The consumer's Deployment and HPA.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Workload {
    pub(super) rules: Rules,
    /// The CPU request of the container that the HPA measures.
    pub(super) cpu_request_milli: u32,
    pub(super) liveness: Probe,
    pub(super) readiness: Probe,
    /// The time between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
}

/// When a container counts as dead, or as not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) period: Duration,
    pub(super) timeout: Duration,
    pub(super) failures: u32,
}

/// Reads the output of `kubectl kustomize`.
pub(super) fn read(yaml: &str) -> Result<Workload, Failure> {
    let documents: Vec<Value> = Deserializer::from_str(yaml)
        .map(Value::deserialize)
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(format!("the manifest is not YAML: {error}")))?;
    let hpa: Document<HpaSpec> = find(&documents, "HorizontalPodAutoscaler")?;
    let deployment: Document<DeploymentSpec> = find(&documents, "Deployment")?;
    if hpa.spec.scale_target_ref.name != WORKLOAD {
        return Err(refuse(format!("the HPA {WORKLOAD} scales {}", hpa.spec.scale_target_ref.name)));
    }
    let pod = deployment.spec.template.spec;
    let [container] = pod.containers.as_slice() else {
        return Err(refuse(format!("the Deployment {WORKLOAD} must have exactly one container")));
    };
    for metric in &hpa.spec.metrics {
        if let MetricSpec::ContainerResource { container_resource: cpu } = metric
            && (cpu.container != container.name || cpu.name != "cpu")
        {
            return Err(refuse(format!(
                "the HPA must measure cpu of the Deployment's container and measures {} of {}",
                cpu.name, cpu.container
            )));
        }
    }
    Ok(Workload {
        cpu_request_milli: milli(container.resources.requests.cpu),
        liveness: container.liveness_probe.into(),
        readiness: container.readiness_probe.into(),
        grace: Duration::from_secs(pod.termination_grace_period_seconds),
        rules: hpa.spec.into(),
    })
}

/// The document of this kind whose name is that of the workload.
fn find<T: DeserializeOwned>(documents: &[Value], kind: &str) -> Result<T, Failure> {
    let named = documents.iter().find(|document| {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        text(document.get("kind")).as_deref() == Some(kind)
            && text(document.get("metadata").and_then(|metadata| metadata.get("name"))).as_deref()
                == Some(WORKLOAD)
    });
    let named = named.ok_or_else(|| refuse(format!("the manifest has no {kind} {WORKLOAD}")))?;
    yaml_serde::from_value(named.clone())
        .map_err(|error| refuse(format!("the rehearsal does not support the {kind} {WORKLOAD}: {error}")))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, far above any real request"
)]
fn milli(cores: Quantity) -> u32 {
    (cores.0 * 1_000.0).round() as u32
}

#[derive(Deserialize)]
struct Document<T> {
    spec: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HpaSpec {
    scale_target_ref: Named,
    #[serde(default = "one")]
    min_replicas: u32,
    max_replicas: u32,
    metrics: Vec<MetricSpec>,
    #[serde(default)]
    behavior: BehaviorSpec,
}

fn one() -> u32 {
    1
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
enum MetricSpec {
    External { external: ExternalSpec },
    ContainerResource { container_resource: CpuSpec },
}

#[derive(Deserialize)]
struct ExternalSpec {
    metric: Named,
    target: AverageValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AverageValue {
    average_value: Quantity,
}

#[derive(Deserialize)]
struct CpuSpec {
    name: String,
    container: String,
    target: AverageUtilization,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AverageUtilization {
    average_utilization: u32,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BehaviorSpec {
    scale_up: ScalingSpec,
    scale_down: ScalingSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ScalingSpec {
    stabilization_window_seconds: Option<u64>,
    select_policy: SelectSpec,
    policies: Option<Vec<PolicySpec>>,
    tolerance: Option<Quantity>,
}

#[derive(Clone, Copy, Default, Deserialize)]
enum SelectSpec {
    #[default]
    Max,
    Min,
    Disabled,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicySpec {
    r#type: PolicyType,
    value: u32,
    period_seconds: u64,
}

#[derive(Clone, Copy, Deserialize)]
enum PolicyType {
    Pods,
    Percent,
}

#[derive(Deserialize)]
struct DeploymentSpec {
    template: Document<PodSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    containers: Vec<ContainerSpec>,
    #[serde(default = "thirty")]
    termination_grace_period_seconds: u64,
}

fn thirty() -> u64 {
    30
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerSpec {
    name: String,
    resources: ResourcesSpec,
    liveness_probe: ProbeSpec,
    readiness_probe: ProbeSpec,
}

#[derive(Deserialize)]
struct ResourcesSpec {
    requests: RequestsSpec,
}

#[derive(Deserialize)]
struct RequestsSpec {
    cpu: Quantity,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ProbeSpec {
    period_seconds: u64,
    timeout_seconds: u64,
    failure_threshold: u32,
}

/// The defaults of the Kubernetes API server.
impl Default for ProbeSpec {
    fn default() -> Self {
        Self { period_seconds: 10, timeout_seconds: 1, failure_threshold: 3 }
    }
}

impl From<ProbeSpec> for Probe {
    fn from(spec: ProbeSpec) -> Self {
        Self {
            period: Duration::from_secs(spec.period_seconds),
            timeout: Duration::from_secs(spec.timeout_seconds),
            failures: spec.failure_threshold,
        }
    }
}

impl From<HpaSpec> for Rules {
    fn from(spec: HpaSpec) -> Self {
        let second = |limit, seconds| Policy { limit, period: Duration::from_secs(seconds) };
        let up = vec![second(Limit::Percent(100), 15), second(Limit::Pods(4), 15)];
        let down = vec![second(Limit::Percent(100), 15)];
        Self {
            min_replicas: spec.min_replicas,
            max_replicas: spec.max_replicas,
            metrics: spec.metrics.into_iter().map(Metric::from).collect(),
            up: spec.behavior.scale_up.or_default(0, up),
            down: spec.behavior.scale_down.or_default(300, down),
        }
    }
}

impl From<MetricSpec> for Metric {
    fn from(spec: MetricSpec) -> Self {
        match spec {
            MetricSpec::External { external } => {
                Self::External { name: external.metric.name, average: external.target.average_value.0 }
            }
            MetricSpec::ContainerResource { container_resource: cpu } => {
                Self::Cpu { percent: cpu.target.average_utilization }
            }
        }
    }
}

impl ScalingSpec {
    /// Fills in the defaults of the Kubernetes API server.
    fn or_default(self, window: u64, policies: Vec<Policy>) -> Scaling {
        let read = |spec: PolicySpec| Policy {
            limit: match spec.r#type {
                PolicyType::Pods => Limit::Pods(spec.value),
                PolicyType::Percent => Limit::Percent(spec.value),
            },
            period: Duration::from_secs(spec.period_seconds),
        };
        Scaling {
            window: Duration::from_secs(self.stabilization_window_seconds.unwrap_or(window)),
            select: match self.select_policy {
                SelectSpec::Max => Select::Max,
                SelectSpec::Min => Select::Min,
                SelectSpec::Disabled => Select::Disabled,
            },
            policies: self.policies.map_or(policies, |specs| specs.into_iter().map(read).collect()),
            tolerance: self.tolerance.map_or(TOLERANCE, |tolerance| tolerance.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Metric, Probe, read};
    use crate::hpa::{Limit, Policy, Select};

    const RENDERED: &str = include_str!("../tests/fixtures/production.yaml");

    #[test]
    fn the_consumer_is_found_among_everything_else() {
        let workload = read(RENDERED).unwrap();
        let rules = workload.rules;
        assert_eq!((rules.min_replicas, rules.max_replicas), (3, 12));
        let external = |name: &str, average| Metric::External { name: name.to_owned(), average };
        assert_eq!(
            rules.metrics,
            [
                external("fleet_queue_backlog_bytes", 75e6),
                external("fleet_queue_accepted_bytes_per_second", 1.75e6),
                Metric::Cpu { percent: 70 }
            ]
        );
        let policy = |limit, seconds| Policy { limit, period: Duration::from_secs(seconds) };
        assert_eq!(rules.up.policies, [policy(Limit::Percent(100), 15), policy(Limit::Pods(4), 15)]);
        assert_eq!(rules.down.policies, [policy(Limit::Percent(25), 60)]);
        assert_eq!((rules.up.window, rules.down.window), (Duration::ZERO, Duration::from_mins(5)));
        assert_eq!((rules.up.select, rules.up.tolerance), (Select::Max, 0.1));
        assert_eq!(workload.cpu_request_milli, 250);
        assert_eq!(workload.grace, Duration::from_mins(1));
        let probe = Probe { period: Duration::from_secs(10), timeout: Duration::from_secs(3), failures: 3 };
        assert_eq!(workload.liveness, probe);
    }

    #[test]
    fn what_is_left_out_is_as_the_api_server_fills_it_in() {
        let start = RENDERED.find("  behavior:\n").unwrap();
        let end = start + RENDERED[start..].find("  maxReplicas:").unwrap();
        let rules = read(&[&RENDERED[..start], &RENDERED[end..]].concat()).unwrap().rules;
        assert_eq!(rules.up.policies.len(), 2);
        assert_eq!(rules.down.policies[0].limit, Limit::Percent(100));
        assert_eq!(rules.down.window, Duration::from_mins(5));
    }

    #[test]
    fn what_cannot_be_rehearsed_is_refused() {
        let refused = |yaml: &str| read(yaml).unwrap_err().to_string();
        assert!(refused("kind: Deployment").contains("no HorizontalPodAutoscaler fleet-consumer"));
        assert!(refused("a: [").contains("not YAML"));
        let unknown = RENDERED.replace("type: External", "type: Object");
        assert!(refused(&unknown).contains("unknown variant `Object`"), "{}", refused(&unknown));
        let other = RENDERED.replace("container: consumer", "container: sidecar");
        assert!(refused(&other).contains("cpu of sidecar"));
    }
}
