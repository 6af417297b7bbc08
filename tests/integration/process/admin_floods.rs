//! Health and metrics while a client holds many connections of the admin listener, or the process has no file
//! descriptors left.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::TcpStream;

use super::program::{Program, Site};

/// Nothing listens on this port.
const NO_DATABASE: &str = "postgres://fleet@127.0.0.1:1/none";

/// The `timeoutSeconds` of the probes in `deploy/k8s`.
const PROBE: Duration = Duration::from_secs(3);

async fn running_api() -> Program {
    let mut api = Program::start(&mut Site::new(NO_DATABASE).api(&[]));
    api.readiness(200).await;
    api
}

/// Probes more often than Kubernetes would before it restarts the pod.
async fn assert_probes_are_answered(api: &Program) {
    for path in ["/livez", "/readyz"].repeat(5) {
        let status = tokio::time::timeout(PROBE, api.status(path)).await;
        assert_eq!(status.expect("an answer in time"), Some(200), "{path}");
    }
}

/// A client with more connections than the listener allows cannot block the probes.
#[tokio::test]
async fn idle_connections_do_not_keep_the_probes_out() {
    let api = running_api().await;
    let address = api.admin_address();
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(&address).await.unwrap());
    }
    assert_probes_are_answered(&api).await;
}

#[tokio::test]
async fn without_file_descriptors_the_probes_are_answered() {
    let api = running_api().await;
    let open = u64::try_from(std::fs::read_dir(format!("/proc/{}/fd", api.id())).unwrap().count()).unwrap();
    let pid = Pid::from_raw(i32::try_from(api.id()).unwrap());
    // The limit is the number of files that are open now.
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(open), maximum: Some(open) }).unwrap();
    let webhooks = api.webhooks();
    let address = webhooks.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(TcpStream::connect(&address).await.unwrap());
    }
    api.logged("cannot accept connections; if this lasts, raise the limit of open files").await;
    assert_probes_are_answered(&api).await;
}
