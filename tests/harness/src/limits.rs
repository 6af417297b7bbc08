//! The memory limits of `deploy/k8s`, applied to processes under test.

use std::fs;

use fleet_testbed::{MemoryGroup, MemoryLimits};
use serde::Deserialize;

use crate::Cargo;
use crate::Failure;
use crate::Quantity;

/// The limits, and the control group that they are created in.
pub struct Limits {
    groups: Option<MemoryLimits>,
    api_bytes: u64,
    consumer_bytes: u64,
    query_bytes: u64,
    bridge_bytes: u64,
}

impl Limits {
    /// Reads the limits from the manifests. If control groups cannot be created, it prints why in one line
    /// and limits nothing.
    pub fn read(cargo: &Cargo) -> Result<Self, Failure> {
        let api_bytes = limit(cargo, API)?;
        let consumer_bytes = limit(cargo, CONSUMER)?;
        let query_bytes = limit(cargo, QUERY)?;
        let bridge_bytes = limit(cargo, BRIDGE)?;
        let groups = match MemoryLimits::find() {
            Ok(groups) => {
                let [api, consumer, query, bridge] =
                    [api_bytes, consumer_bytes, query_bytes, bridge_bytes].map(|bytes| bytes >> 20);
                eprintln!(
                    "memory limits as in deploy/k8s: API {api} MiB, consumer {consumer} MiB, query service {query} MiB, \
                     bridge {bridge} MiB"
                );
                Some(groups)
            }
            Err(reason) => {
                eprintln!("the memory limits of deploy/k8s do not apply: {reason}");
                None
            }
        };
        Ok(Self { groups, api_bytes, consumer_bytes, query_bytes, bridge_bytes })
    }

    /// A memory group for one API.
    pub fn api(&self) -> Result<Option<MemoryGroup>, Failure> {
        self.group(self.api_bytes)
    }

    /// A memory group for one consumer.
    pub fn consumer(&self) -> Result<Option<MemoryGroup>, Failure> {
        self.group(self.consumer_bytes)
    }

    /// A memory group for one query service.
    pub fn query(&self) -> Result<Option<MemoryGroup>, Failure> {
        self.group(self.query_bytes)
    }

    /// A memory group for one bridge.
    pub fn bridge(&self) -> Result<Option<MemoryGroup>, Failure> {
        self.group(self.bridge_bytes)
    }

    fn group(&self, bytes: u64) -> Result<Option<MemoryGroup>, Failure> {
        Ok(self.groups.as_ref().map(|groups| groups.group(bytes)).transpose()?)
    }

    /// The number of ended processes that exceeded their limit, or `None` if there is no limit.
    pub fn killed(&self) -> Option<u64> {
        self.groups.as_ref().map(MemoryLimits::killed)
    }
}

#[derive(Deserialize)]
struct Deployment {
    spec: DeploymentSpec,
}

#[derive(Deserialize)]
struct DeploymentSpec {
    template: Template,
}

#[derive(Deserialize)]
struct Template {
    spec: PodSpec,
}

#[derive(Deserialize)]
struct PodSpec {
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    resources: Resources,
}

#[derive(Deserialize)]
struct Resources {
    limits: Memory,
}

#[derive(Deserialize)]
struct Memory {
    memory: Quantity,
}

/// The folders of the deployments.
const API: &str = "base/api";
const CONSUMER: &str = "base/consumer";
const QUERY: &str = "components/query";
const BRIDGE: &str = "components/amqp-bridge";

/// The memory limit of the only container of a deployment, bytes.
fn limit(cargo: &Cargo, folder: &str) -> Result<u64, Failure> {
    let path = cargo.workspace().join(format!("deploy/k8s/{folder}/deployment.yaml"));
    let text = fs::read_to_string(&path).map_err(Failure::io(format!("read {}", path.display())))?;
    let refuse = |what: String| Failure::Program(format!("{}: {what}", path.display()));
    let deployment: Deployment = yaml_serde::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    let [container] = deployment.spec.template.spec.containers.as_slice() else {
        return Err(refuse("it must have exactly one container".to_owned()));
    };
    let memory = container.resources.limits.memory;
    memory.bytes().ok_or_else(|| refuse(format!("{memory:?} is not a whole number of bytes")))
}

#[cfg(test)]
mod tests {
    use super::{API, BRIDGE, CONSUMER, QUERY, limit};
    use crate::cargo::Cargo;

    #[test]
    fn every_manifest_has_a_limit() {
        let cargo = Cargo::locate().unwrap();
        for folder in [API, CONSUMER, QUERY, BRIDGE] {
            assert!(limit(&cargo, folder).unwrap() >= 128 << 20, "{folder}");
        }
    }
}
