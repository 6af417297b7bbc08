//! Health and metrics while somebody takes the admin listener's connections, or the process' file descriptors.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::TcpStream;

use super::program::{Program, Site};

/// Nobody listens there.
const NO_DATABASE: &str = "postgres://fleet@127.0.0.1:1/none";

/// `timeoutSeconds` of the probes that we ship.
const PROBE: Duration = Duration::from_secs(3);

async fn running_api() -> Program {
    let mut api = Program::start(&mut Site::new(NO_DATABASE).api(&[]));
    api.readiness(200).await;
    api
}

/// Asks as often as Kubernetes would until it restarts the pod, and more.
async fn assert_probes_are_answered(api: &Program) {
    for path in ["/livez", "/readyz"].repeat(5) {
        let status = tokio::time::timeout(PROBE, api.status(path)).await;
        assert_eq!(status.expect("an answer in time"), Some(200), "{path}");
    }
}

/// Whoever opens more connections than the listener has keeps none of the probes out.
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
    // Those that are open, and no more.
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
