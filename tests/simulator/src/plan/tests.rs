//! Tests what the scenarios send.

use std::collections::HashSet;

use super::*;
use crate::model::Seen;

fn plan(scenario: Scenario, vehicles: u32) -> Plan {
    let secret = "test-secret-0001".to_owned();
    let credentials =
        Credentials { niu_token: secret.clone(), segway_secret: secret.clone(), invers_token: secret };
    Plan::new(scenario, vehicles, 7, credentials, 1_718_000_000_000)
}

fn all(mut plan: Plan, count: usize) -> Vec<Arc<Webhook>> {
    // Although the wall clock does not advance here, the times must differ.
    let mut sent: Vec<_> = (0..count).map(|_| plan.next_webhook(1_718_000_000_000)).collect();
    sent.extend(plan.into_rest());
    sent
}

#[test]
fn every_distinct_request_has_distinct_bytes() {
    for scenario in [Scenario::Mixed, Scenario::Shuffled, Scenario::Duplicates, Scenario::SkewedClocks] {
        let sent = all(plan(scenario, 9), 5_000);
        let distinct: HashSet<_> = sent.iter().map(Arc::as_ptr).collect();
        let bodies: HashSet<_> = sent.iter().map(|webhook| (webhook.path, &webhook.body)).collect();
        assert_eq!(distinct.len(), bodies.len(), "{scenario:?}");
    }
}

#[test]
fn resends_are_the_same_request() {
    let sent = all(plan(Scenario::Duplicates, 30), 2_000);
    let distinct: HashSet<_> = sent.iter().map(Arc::as_ptr).collect();
    assert!(distinct.len() < sent.len() * 3 / 4 && distinct.len() > sent.len() / 2);
}

#[test]
fn mixed_has_everything() {
    let sent = all(plan(Scenario::Mixed, 300), 5_000);
    assert!(sent.iter().any(|webhook| webhook.expect == Expect::Refused));
    assert!(sent.iter().any(|webhook| webhook.events.len() > 1));
    assert!(sent.iter().any(|webhook| webhook.path.ends_with("alert")));
    assert!(sent.iter().any(|webhook| webhook.path.ends_with("complete")));
}

#[test]
fn ghosts_are_only_in_forgeries() {
    let plan = plan(Scenario::BadSignatures, 30);
    let is_ghost: Vec<bool> = plan.fleet().iter().map(|vehicle| vehicle.role == Role::Ghost).collect();
    for webhook in all(plan, 2_000) {
        let of_ghost = webhook.events.iter().any(|event| is_ghost[event.vehicle]);
        assert!(!of_ghost || webhook.expect == Expect::Refused);
    }
}

#[test]
fn a_bomb_sends_arrays_of_100_from_the_past() {
    let sent = all(plan(Scenario::Bomb, 300), 300);
    assert!(sent.iter().any(|webhook| webhook.events.len() == 100));
    let times = sent.iter().flat_map(|webhook| &webhook.events).flat_map(|event| &event.seen);
    assert!(times.map(|seen| seen.at_ms).all(|at_ms| at_ms < 1_718_000_000_000));
}

#[test]
fn every_time_of_a_skewed_vehicle_is_far_off() {
    let plan = plan(Scenario::SkewedClocks, 30);
    let is_skewed: Vec<bool> = plan.fleet().iter().map(|vehicle| vehicle.role == Role::Skewed).collect();
    for webhook in all(plan, 2_000) {
        for event in &webhook.events {
            let is_off = |seen: &Seen| (seen.at_ms - 1_718_000_000_000).abs() > 3_000_000;
            assert!(event.seen.iter().all(|seen| is_off(seen) == is_skewed[event.vehicle]));
            assert_eq!(event.keeps_time, !is_skewed[event.vehicle]);
        }
    }
}

#[test]
fn no_two_messages_of_invers_contradict_each_other() {
    for scenario in [Scenario::Mixed, Scenario::Shuffled, Scenario::SkewedClocks, Scenario::Bomb] {
        let plan = plan(scenario, 9).with_broker();
        let is_skewed = |vehicle: &Vehicle| vehicle.role == Role::Skewed;
        assert!(
            !plan.fleet().iter().any(|vehicle| vehicle.provider == Provider::Invers && is_skewed(vehicle))
        );
        let sent = all(plan, 5_000);
        let messages: Vec<_> = sent.iter().filter(|webhook| webhook.is_message()).collect();
        assert!(messages.len() > 1_000, "{scenario:?}: {}", messages.len());
        let mut values = HashMap::new();
        for event in messages.iter().flat_map(|message| &message.events) {
            for seen in &event.seen {
                let kind = std::mem::discriminant(&seen.what);
                let first = values.entry((event.vehicle, kind, seen.at_ms)).or_insert(seen.what);
                assert_eq!(*first, seen.what, "{scenario:?}: vehicle {} at {}", event.vehicle, seen.at_ms);
            }
        }
    }
}
