//! The policies that everything rendered must keep. A policy returns its violations, one line each.

mod autoscaling;
mod budget;
mod lifecycle;
mod metrics;
mod network;
mod pods;
mod ports;
mod release;
mod resources;
mod selectors;
mod settings;
mod users;

use super::manifests::Manifests;

pub(super) use metrics::unexported;

pub(super) type Policy = fn(&Manifests) -> Vec<String>;

/// Every policy, by name.
pub(super) const ALL: [(&str, Policy); 19] = [
    ("one autoscaler a deployment", autoscaling::one_each),
    ("no replicas beside an autoscaler", autoscaling::no_replicas),
    ("autoscaler targets exist", autoscaling::targets_exist),
    ("scaling behaviour", autoscaling::behaviour),
    ("capacity", budget::targets_follow_mu),
    ("connection budget", budget::connections),
    ("resources", resources::violations),
    ("grace", lifecycle::grace),
    ("rollouts and evictions", lifecycle::rollouts),
    ("probes", lifecycle::probes),
    ("ports", ports::violations),
    ("selectors", selectors::violations),
    ("metrics are exported", metrics::violations),
    ("settings", settings::violations),
    ("pod security", pods::security),
    ("pod isolation", pods::isolation),
    ("release", release::violations),
    ("network policies", network::violations),
    ("users of Redis", users::violations),
];
