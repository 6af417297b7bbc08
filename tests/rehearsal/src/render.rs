//! Renders the production manifests as `kubectl apply -k` would send them.

use fleet_testbed::{Progress, Tools};

use crate::refuse::refuse;
use fleet_harness::{Cargo, Failure};

const OVERLAY: &str = "deploy/k8s/overlays/production";

/// The output of `kubectl kustomize` for the production overlay.
pub(super) fn production(cargo: &Cargo) -> Result<String, Failure> {
    let mut command = Tools::ensure(&Progress::stderr())?.kubectl();
    command.arg("kustomize").arg(cargo.workspace().join(OVERLAY));
    let output = command.output().map_err(Failure::io("run kubectl"))?;
    if !output.status.success() {
        return Err(refuse(format!("kubectl kustomize: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    String::from_utf8(output.stdout).map_err(|_| refuse("kubectl kustomize printed invalid UTF-8"))
}
