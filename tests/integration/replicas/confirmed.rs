//! Replicas that confirm pushes.

use std::time::Duration;

use fleet_testbed::RedisServer;
use tokio::task::JoinSet;

use super::{
    accepting_api_on, api_on, ask, post, primary, primary_with, queued, replica_of, replica_with, set,
};
use crate::answers::client::{Answer, post_niu};

#[tokio::test]
async fn what_was_answered_200_is_on_the_replica_when_the_primary_is_killed() {
    for server in [RedisServer::Redis, RedisServer::Valkey] {
        let mut primary = primary_with(server, &[]).await;
        let replica = replica_with(server, &primary, &[]).await;
        let (fleet, _first) = accepting_api_on(&primary, "1", "5s").await;
        let mut clients = JoinSet::new();
        for _ in 0..8 {
            let api = fleet.api.clone();
            clients.spawn(async move {
                let mut accepted = Vec::new();
                loop {
                    let answer = post_niu(&api, super::BODY).await;
                    match answer.status {
                        200 => accepted.push(answer.message_id()),
                        503 => return accepted,
                        other => panic!("{other}: {answer:?}"),
                    }
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        primary.kill().unwrap();
        let accepted = clients.join_all().await.concat();
        assert!(accepted.len() > 50, "only {} in half a second", accepted.len());
        let on_replica = set(&queued(&fleet, &replica).await);
        let lost: Vec<_> = accepted.iter().filter(|id| !on_replica.contains(id)).collect();
        assert!(lost.is_empty(), "{server:?}: of {} accepted messages are lost: {lost:?}", accepted.len());
    }
}

#[tokio::test]
async fn a_webhook_waits_for_a_replica_that_is_slow() {
    let primary = primary().await;
    let mut replica = replica_of(&primary).await;
    let (fleet, mut before) = accepting_api_on(&primary, "1", "20s").await;
    replica.pause().unwrap();
    let posting = post(&fleet);
    tokio::pin!(posting);
    let early = tokio::time::timeout(Duration::from_millis(500), posting.as_mut()).await;
    assert!(early.is_err(), "a response without the replica: {early:?}");
    assert_eq!(queued(&fleet, &primary).await.len(), before.len() + 1, "the primary has the push");
    replica.resume().unwrap();
    let answer = posting.await;
    assert_eq!(answer.status, 200);
    before.push(answer.message_id());
    assert_eq!(queued(&fleet, &primary).await, before, "it was not pushed again");
    assert_eq!(queued(&fleet, &replica).await, before);
}

#[tokio::test]
async fn webhooks_that_arrive_while_a_push_waits_share_the_next_one() {
    let primary = primary().await;
    let mut replica = replica_of(&primary).await;
    let (fleet, before) = accepting_api_on(&primary, "1", "20s").await;
    replica.pause().unwrap();
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let api = fleet.api.clone();
        clients.spawn(async move { post_niu(&api, super::BODY).await });
    }
    let early = tokio::time::timeout(Duration::from_millis(500), clients.join_next()).await;
    assert!(early.is_err(), "a response without the replica: {early:?}");
    replica.resume().unwrap();
    let answers = clients.join_all().await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let ids: Vec<_> = answers.iter().map(Answer::message_id).collect();
    let queued = queued(&fleet, &primary).await;
    assert_eq!(queued.len(), before.len() + 50, "each was pushed once");
    assert!(set(&ids).is_subset(&set(&queued)));
    let stats: String = ask(&primary, &["INFO", "commandstats"]).await;
    let pushes = stats.split_once("cmdstat_rpush:calls=").unwrap().1.split(',').next().unwrap();
    assert!(pushes.parse::<u32>().unwrap() <= 15, "{pushes} pushes for 51 webhooks");
}

#[tokio::test]
async fn without_the_setting_no_replica_is_asked() {
    let primary = primary().await;
    let fleet = api_on(&primary, "0", "3s").await;
    super::accepted(&fleet).await;
    let stats: String = ask(&primary, &["INFO", "commandstats"]).await;
    assert!(stats.contains("cmdstat_rpush") && !stats.contains("cmdstat_wait"), "{stats}");
}
