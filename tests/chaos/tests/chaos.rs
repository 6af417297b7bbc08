//! A short run of the fault suite: the system must pass, and every failpoint must make it fail.
//!
//! `cargo xtask test` builds the binaries and passes their folders.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Serializes the runs, because each needs the whole machine.
fn alone() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::new(());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bin_dir(variable: &str) -> PathBuf {
    let folder = std::env::var_os(variable);
    folder.unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask test`")).into()
}

fn chaos(programs: &PathBuf, arguments: &[&str]) -> Output {
    let _alone = alone();
    let mut command = Command::new(bin_dir("FLEET_TEST_BIN_DIR").join("xtask"));
    command.args(["chaos", "--bin-dir"]).arg(programs).args(arguments);
    command.output().unwrap_or_else(|error| panic!("cannot run xtask: {error}"))
}

/// Everything that the run printed.
fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Requires that the run fails and prints `why`.
fn assert_found(failpoint: &str, arguments: &[&str], why: &str) {
    let arguments = [&["--seed", "3", "--failpoint", failpoint], arguments].concat();
    let output = chaos(&bin_dir("FLEET_TEST_FAILPOINTS_BIN_DIR"), &arguments);
    let printed = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{failpoint} was not found:\n{printed}");
    assert!(printed.contains(why), "{failpoint} failed for another reason:\n{printed}");
}

const SHORT: [&str; 2] = ["--for", "15s"];

#[test]
fn everything_acknowledged_survives_every_kind_of_fault() {
    let output = chaos(&bin_dir("FLEET_TEST_BIN_DIR"), &["--for", "20s", "--seed", "7"]);
    assert!(output.status.success(), "{}", printed(&output));
}

#[test]
fn one_of_two_databases_may_be_away() {
    let arguments = ["--for", "20s", "--seed", "8", "--databases", "two"];
    let output = chaos(&bin_dir("FLEET_TEST_BIN_DIR"), &arguments);
    assert!(output.status.success(), "{}", printed(&output));
}

#[test]
fn a_failover_after_the_loss_of_any_machine_loses_nothing() {
    let arguments = ["--for", "25s", "--seed", "7", "--stage", "failover"];
    let output = chaos(&bin_dir("FLEET_TEST_BIN_DIR"), &arguments);
    assert!(output.status.success(), "{}", printed(&output));
}

#[test]
fn a_cluster_that_loses_machines_loses_no_message() {
    let arguments = ["--for", "25s", "--seed", "7", "--stage", "cluster"];
    let output = chaos(&bin_dir("FLEET_TEST_BIN_DIR"), &arguments);
    assert!(output.status.success(), "{}", printed(&output));
}

#[test]
fn everything_that_the_broker_has_confirmed_survives_every_kind_of_fault() {
    let arguments = ["--for", "30s", "--seed", "7", "--stage", "amqp"];
    let output = chaos(&bin_dir("FLEET_TEST_BIN_DIR"), &arguments);
    assert!(output.status.success(), "{}", printed(&output));
}

#[test]
fn a_build_with_failpoints_survives_while_none_is_active() {
    let output = chaos(&bin_dir("FLEET_TEST_FAILPOINTS_BIN_DIR"), &["--for", "15s", "--seed", "3"]);
    assert!(output.status.success(), "{}", printed(&output));
}

#[test]
fn settling_before_the_commit_is_found() {
    assert_found("ack-before-commit", &SHORT, "acknowledged events are lost");
}

#[test]
fn a_redelivery_stored_twice_is_found() {
    assert_found("no-dedupe", &SHORT, "stored more than once");
}

#[test]
fn state_in_the_order_of_arrival_is_found() {
    assert_found("arrival-order", &SHORT, "attributes differ");
}

#[test]
fn an_answer_before_the_push_is_found() {
    assert_found("push-unconfirmed", &SHORT, "acknowledged events are lost");
}

#[test]
fn a_change_that_is_missing_in_a_stream_is_found() {
    assert_found("leave-out-change", &SHORT, "the query service differs from the table vehicles");
}

#[test]
fn an_ack_to_the_broker_before_the_push_is_found() {
    assert_found("ack-before-push", &["--for", "30s", "--stage", "amqp"], "acknowledged events are lost");
}

const FAILOVER: [&str; 4] = ["--for", "25s", "--stage", "failover"];

/// Requires that one of three runs loses events. In one run the failpoint may have nothing to do: no consumer may have a
/// lease when it is killed, or the API may have been replaced just before, so that it pushes nothing while the replica is
/// cut off.
fn assert_loses(failpoint: &str, arguments: &[&str], seeds: [&str; 3]) {
    let folder = bin_dir("FLEET_TEST_FAILPOINTS_BIN_DIR");
    let found = seeds.into_iter().any(|seed| {
        let output = chaos(&folder, &[arguments, &["--failpoint", failpoint, "--seed", seed]].concat());
        output.status.code() == Some(1) && printed(&output).contains("acknowledged events are lost")
    });
    assert!(found, "{failpoint} was not found");
}

#[test]
fn an_answer_before_replicas_have_confirmed_is_found() {
    assert_loses("push-without-replicas", &FAILOVER, ["3", "4", "5"]);
}

#[test]
fn a_wait_for_replicas_inside_a_transaction_is_found() {
    assert_loses("wait-inside-multi", &FAILOVER, ["3", "4", "5"]);
}

#[test]
fn a_dropped_lease_is_found() {
    assert_loses("drop-lease", &SHORT, ["4", "5", "3"]);
}

#[test]
fn unsorted_upserts_are_found() {
    // Few vehicles and many small batches, so that concurrent batches have vehicles in common. Two consumers may
    // still not collide, so one failed run of three is enough.
    let folder = bin_dir("FLEET_TEST_FAILPOINTS_BIN_DIR");
    let found = ["4", "3", "5"].into_iter().any(|seed| {
        let failpoint = ["--failpoint", "unsorted-upsert", "--seed", seed];
        let output = chaos(
            &folder,
            &[&failpoint[..], &["--for", "20s", "--vehicles", "150", "--batch", "50"]].concat(),
        );
        output.status.code() == Some(1) && printed(&output).contains("deadlocks in the database")
    });
    assert!(found, "unsorted-upsert was not found");
}
