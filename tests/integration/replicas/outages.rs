//! Replicas that are paused, lost or too few: webhooks are answered 503 in time, and the queue gets no further copies.

use std::time::{Duration, Instant};

use fleet_testbed::Redis;
use tokio::task::JoinSet;

use super::{accepted, accepted_again, accepting_api_on, api_on, post, primary, queued, replica_of};
use crate::answers::client::{assert_refused, post_niu};
use crate::support::Fleet;

const TIMEOUT: Duration = Duration::from_millis(600);

async fn accepting_api(primary: &Redis) -> (Fleet, usize) {
    let (fleet, before) = accepting_api_on(primary, "1", "600ms").await;
    (fleet, before.len())
}

/// Posts a webhook that cannot be confirmed.
async fn refused(fleet: &Fleet) {
    let answer = post(fleet).await;
    assert_refused(&answer, 503, "unconfirmed");
    assert_eq!(answer.header("retry-after"), Some("2"));
}

#[tokio::test]
async fn a_paused_replica_costs_one_copy_however_often_a_provider_retries() {
    let primary = primary().await;
    let mut replica = replica_of(&primary).await;
    let (fleet, before) = accepting_api(&primary).await;
    replica.pause().unwrap();
    let start = Instant::now();
    let mut retries = 0;
    // The API gives the connection up after three timeouts, and finds no replica on the next ones.
    while start.elapsed() < 8 * TIMEOUT {
        let posted = Instant::now();
        let (status, error) = post(&fleet).await.refusal();
        // If a new connection takes longer than the timeout, nothing was pushed that could be confirmed.
        assert!(status == 503 && ["unconfirmed", "queue_unavailable"].contains(&error.as_str()), "{error}");
        let took = posted.elapsed();
        assert!(took < 3 * TIMEOUT, "{took:?}");
        retries += 1;
    }
    assert!(retries >= 5, "{retries}");
    assert_eq!(queued(&fleet, &primary).await.len(), before + 1, "one push was not confirmed");
    replica.resume().unwrap();
    let last = accepted_again(&fleet).await;
    let queued_now = queued(&fleet, &replica).await;
    assert!(queued_now[before + 1..].contains(&last), "{queued_now:?}");
    assert_eq!(queued(&fleet, &primary).await, queued_now);
}

#[tokio::test]
async fn a_push_that_is_confirmed_late_is_not_pushed_again() {
    let primary = primary().await;
    let mut replica = replica_of(&primary).await;
    // Long enough that the connection is not given up.
    let (fleet, before) = accepting_api_on(&primary, "1", "4s").await;
    replica.pause().unwrap();
    assert_refused(&post(&fleet).await, 503, "unconfirmed");
    replica.resume().unwrap();
    accepted(&fleet).await;
    assert_eq!(queued(&fleet, &primary).await.len(), before.len() + 2, "unconfirmed, and the next one");
}

#[tokio::test]
async fn every_request_of_an_outage_gets_one_response_in_time() {
    let primary = primary().await;
    let mut replica = replica_of(&primary).await;
    let (fleet, before) = accepting_api(&primary).await;
    replica.pause().unwrap();
    let mut clients = JoinSet::new();
    for client in 0..100_u64 {
        let api = fleet.api.clone();
        clients.spawn(async move {
            tokio::time::sleep(Duration::from_millis(client * 10)).await;
            let start = Instant::now();
            (post_niu(&api, super::BODY).await, start.elapsed())
        });
    }
    for (answer, took) in clients.join_all().await {
        assert_refused(&answer, 503, "unconfirmed");
        assert!(took < 3 * TIMEOUT, "{took:?}");
    }
    let copies = queued(&fleet, &primary).await.len();
    assert!(copies < before + 50, "only the first push of the outage is in the queue: {copies}");
    replica.resume().unwrap();
    accepted_again(&fleet).await;
}

#[tokio::test]
async fn a_lost_replica_is_replaced_by_another_one() {
    let primary = primary().await;
    let mut lost = replica_of(&primary).await;
    let (fleet, before) = accepting_api(&primary).await;
    lost.kill().unwrap();
    for _ in 0..3 {
        refused(&fleet).await;
    }
    assert_eq!(queued(&fleet, &primary).await.len(), before + 1);
    let other = replica_of(&primary).await;
    let last = accepted_again(&fleet).await;
    assert!(queued(&fleet, &other).await.contains(&last));
    // The webhook that was refused while the other replica synchronized may have been pushed.
    assert_eq!(queued(&fleet, &other).await, queued(&fleet, &primary).await);
}

#[tokio::test]
async fn two_replicas_are_not_one() {
    let primary = primary().await;
    let _one = replica_of(&primary).await;
    let fleet = api_on(&primary, "2", "600ms").await;
    for _ in 0..3 {
        refused(&fleet).await;
    }
    assert!(queued(&fleet, &primary).await.is_empty(), "nothing was pushed");
    let _two = replica_of(&primary).await;
    let last = accepted_again(&fleet).await;
    assert_eq!(queued(&fleet, &primary).await.last(), Some(&last));
}

#[tokio::test]
async fn a_primary_that_is_restarted_is_used_again() {
    let mut primary = primary().await;
    let _replica = replica_of(&primary).await;
    let (fleet, _before) = accepting_api(&primary).await;
    primary.kill().unwrap();
    assert_refused(&post(&fleet).await, 503, "queue_unavailable");
    let primary = tokio::task::spawn_blocking(move || {
        primary.restart().unwrap();
        primary
    })
    .await
    .unwrap();
    accepted_again(&fleet).await;
    drop(primary);
}
