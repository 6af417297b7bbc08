//! Commands whose standard output cannot be written.

use std::fs::OpenOptions;
use std::io::pipe;
use std::process::{Command, Output, Stdio};

use super::program::Site;
use crate::support::TestDatabase;

/// Every command that prints something and needs no more than an empty database.
const COMMANDS: [&[&str]; 6] = [
    &["migrate"],
    &["audit"],
    &["retention"],
    &["dead-letters", "list"],
    &["replay", "--from", "2024-01-01", "--to", "2024-01-02", "--dry-run"],
    &["check-config"],
];
const HELP: [&[&str]; 2] = [&["--help"], &["--version"]];

async fn output(mut command: Command, output: impl Into<Stdio>) -> Output {
    command.stdout(output);
    tokio::task::spawn_blocking(move || command.stderr(Stdio::piped()).output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_changes_nothing() {
    let database = TestDatabase::empty().await;
    let site = Site::new(database.url());
    for arguments in COMMANDS.iter().chain(&HELP) {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let ended = output(site.consumer(arguments), writer).await;
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), errors.as_str()), (Some(0), ""), "{arguments:?}");
    }
    // `migrate` had finished its work although it could not print its first line.
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename IN ('vehicles', 'telemetry')";
    let tables: i64 = database.client().await.query_one(tables, &[]).await.unwrap().get(0);
    assert_eq!(tables, 2);
}

#[tokio::test]
async fn output_that_cannot_be_written_is_a_failure() {
    let database = TestDatabase::empty().await;
    let site = Site::new(database.url());
    for arguments in COMMANDS.iter().chain(&HELP) {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = output(site.consumer(arguments), full).await;
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {errors}");
        assert!(errors.contains("cannot write to standard output"), "{arguments:?}: {errors}");
        assert!(!errors.contains("panic"), "{arguments:?}: {errors}");
    }
}
