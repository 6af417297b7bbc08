//! Secrets that change while the API runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::program::{Program, Site, report, run};
use crate::answers::client::{Connection, head};
use crate::support::eventually;

/// Nothing listens on this port.
const NO_DATABASE: &str = "postgres://fleet@127.0.0.1:1/none";
const FILE: &str = "FLEET_PROVIDERS__NIU__SECRETS_FILE";
const OLD: &str = "old-secret-hunter2";
const NEW: &str = "new-secret-hunter2";

fn api(file: &Path, arguments: &[&str]) -> Command {
    let mut command = Site::new(NO_DATABASE).api(arguments);
    command.env_remove("FLEET_PROVIDERS__NIU__SECRETS").env(FILE, file);
    command
}

/// Changes a folder's content as Kubernetes updates a mounted Secret.
fn mount(folder: &TempDir, version: &str, content: &str) {
    let folder = folder.path();
    fs::create_dir(folder.join(version)).unwrap();
    fs::write(folder.join(version).join("niu"), content).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

/// One connection for all webhooks. The API must not close it.
struct Provider(Connection);

impl Provider {
    async fn of(api: &Program) -> Self {
        let webhooks = api.webhooks();
        Self(Connection::open(webhooks.strip_suffix("/webhooks/niu").unwrap()).await)
    }

    async fn post(&mut self, token: &str) -> u16 {
        let body = report(1);
        let length = body.len().to_string();
        let head = head("/webhooks/niu", &[("token", token), ("content-length", &length)]);
        self.0.send(head + &body).await;
        self.0.answer().await.status
    }

    /// Posts with `valid`, which must always be accepted, until a post with `other` gets `status`.
    async fn post_until(&mut self, valid: &str, other: &str, status: u16) {
        eventually(&format!("{other} to be answered {status}"), async || {
            assert_eq!(self.post(valid).await, 200, "a valid secret was refused");
            (self.post(other).await == status).then_some(())
        })
        .await;
    }

    /// Posts with [`NEW`], which must always be accepted, until the log contains `text`. Returns the log.
    async fn post_until_logged(&mut self, api: &Program, text: &str) -> String {
        eventually(&format!("the log to say {text}"), async || {
            assert_eq!(self.post(NEW).await, 200, "a valid secret was refused");
            let log = api.logged("").await;
            log.contains(text).then_some(log)
        })
        .await
    }
}

#[tokio::test]
async fn secrets_are_exchanged_without_refusing_a_valid_one() {
    let folder = tempfile::tempdir().unwrap();
    symlink("..data/niu", folder.path().join("niu")).unwrap();
    mount(&folder, "1", OLD);
    let file = folder.path().join("niu");
    let mut api = Program::start(&mut api(&file, &[]));
    api.readiness(200).await;
    let mut provider = Provider::of(&api).await;
    assert_eq!((provider.post(OLD).await, provider.post(NEW).await), (200, 401));

    mount(&folder, "2", &format!("{OLD}\n{NEW}\n"));
    provider.post_until(OLD, NEW, 200).await;
    // An editor saves a file like this.
    let edited = folder.path().join("niu~");
    fs::write(&edited, format!("{NEW}\n")).unwrap();
    fs::rename(&edited, &file).unwrap();
    provider.post_until(NEW, OLD, 401).await;

    fs::write(&file, " \n").unwrap();
    let said =
        provider.post_until_logged(&api, "the secrets file is unusable: the secrets in use stay valid").await;
    assert!(said.contains(file.to_str().unwrap()), "which file: {said}");
    fs::write(&file, NEW).unwrap();
    let log = provider.post_until_logged(&api, "the secrets file is usable again").await;
    assert_eq!(log.matches("new secrets are in use").count(), 2, "{log}");
    assert!(log.contains("secrets=2") && log.contains("secrets=1"), "the log counts the secrets: {log}");
    assert!(!log.contains("hunter2"), "the log shows no secret: {log}");
}

#[tokio::test]
async fn a_file_without_secrets_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    for file in [&empty, &folder.path().join("missing"), folder.path()] {
        for arguments in [&[][..], &["check-config"]] {
            let ended = run(&mut api(file, arguments)).await;
            assert_eq!(ended.code, Some(78), "{ended:?}");
            assert!(ended.errors.contains(FILE), "{ended:?}");
            assert!(ended.errors.contains(file.to_str().unwrap()), "{ended:?}");
        }
    }
}

#[tokio::test]
async fn secrets_in_a_file_and_in_a_variable_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("niu");
    fs::write(&file, OLD).unwrap();
    let given = ("FLEET_PROVIDERS__NIU__SECRETS", NEW);
    let ended = run(api(&file, &["check-config"]).envs([given])).await;
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.errors.contains(FILE) && !ended.errors.contains("hunter2"), "{ended:?}");
    // With only the file, the settings are valid.
    assert_eq!(run(&mut api(&file, &["check-config"])).await.code, Some(0));
}
