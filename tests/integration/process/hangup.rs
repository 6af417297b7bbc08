//! SIGHUP, which ends a session, shuts a program down like SIGTERM, unless the program was started with SIGHUP ignored.

use rustix::process::Signal;

use super::program::{Program, Site, hearing_hangups, prepared, run};
use crate::support::TestDatabase;

#[tokio::test]
async fn a_hangup_ends_both_programs_gracefully() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    for command in [site.api(&[]), site.consumer(&[])] {
        let mut program = Program::start(&mut hearing_hangups(&command));
        program.readiness(200).await;
        program.signal(Signal::HUP);
        let ended = program.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.errors.contains("received SIGHUP, shutting down"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_hangup_that_was_ignored_stays_ignored() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    site.fill(10).await;
    // As `nohup` does.
    let mut consumer = Program::start(&mut prepared(&site.consumer(&[]), "trap '' HUP"));
    let mut api = Program::start(&mut prepared(&site.api(&[]), "trap '' HUP"));
    for program in [&mut consumer, &mut api] {
        program.readiness(200).await;
        program.signal(Signal::HUP);
    }
    site.fill(10).await;
    site.settled().await;
    for program in [consumer, api] {
        program.signal(Signal::TERM);
        let ended = program.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!ended.errors.contains("SIGHUP") && ended.errors.contains("SIGTERM"), "{ended:?}");
    }
    let audit = run(&mut site.consumer(&["audit"])).await;
    assert_eq!(audit.code, Some(0), "{audit:?}");
}
