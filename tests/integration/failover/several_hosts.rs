//! `FLEET_REDIS__TOPOLOGY=single` with several hosts: one of them is the primary.

use std::time::{Duration, Instant};

use fleet_queue::Topology;
use fleet_testbed::{Proxy, Redis, RedisLogin};

use super::rig::{FOLLOWED_WITHIN, Rig, blocking, pair, replicated};
use crate::support::eventually;

/// A URL of several hosts, with the administrator's login.
fn url(ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("redis://fleet:fleet@{}", hosts.join(","))
}

async fn switch(old: &Redis, new: &Redis) {
    replicated(old, new).await;
    new.follow(None).unwrap();
    old.follow(Some(new.port())).unwrap();
}

#[tokio::test]
async fn the_programs_follow_the_primary_from_host_to_host() {
    let (first, second) = pair().await;
    // The first host is the replica.
    let rig = Rig::new(url(&[second.port(), first.port()]), Topology::Single).await;
    let [mut api, mut consumer] = rig.start().await;
    assert_eq!(rig.post(&api).await, 200);
    rig.settled("niu").await;
    for (old, new) in [(&first, &second), (&second, &first)] {
        switch(old, new).await;
        let start = Instant::now();
        rig.taken(&api).await;
        assert!(start.elapsed() < FOLLOWED_WITHIN, "{:?}", start.elapsed());
        let status = rig.settled("niu").await;
        assert_eq!(u64::try_from(rig.vehicles().await).unwrap(), status.accepted.messages, "{status:?}");
        rig.commands_work().await;
        old.wait_synced().unwrap();
    }
    for program in [&mut api, &mut consumer] {
        program.assert_running();
        program.logged("Redis has another primary").await;
    }
    assert!(api.metric(r#"fleet_runtime_redis_links{state="primary"}"#).await > 0.5);
    assert!(api.metric(r#"fleet_runtime_redis_left_total{reason="demoted"}"#).await > 0.5);
    assert!(!api.log().contains("local-use-only"), "{}", api.log());
}

#[tokio::test]
async fn a_host_that_swallows_packets_delays_nothing() {
    let server = blocking(|| Redis::private(&[]).unwrap()).await;
    let silent = Proxy::start(server.port()).unwrap();
    silent.black_hole();
    let rig = Rig::new(url(&[silent.port(), server.port()]), Topology::Single).await;
    let start = Instant::now();
    rig.push(&rig.producer("niu")).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_primary_with_a_successor_is_left_although_it_replies() {
    let (old, new) = pair().await;
    let rig = Rig::new(url(&[old.port(), new.port()]), Topology::Single).await;
    let link = rig.link(RedisLogin::Consumer, "niu");
    link.ping().await.unwrap();
    let at = |server: &Redis| Some(format!("127.0.0.1:{}", server.port()));
    assert_eq!(link.server().await, at(&old));
    // Nobody tells the old primary.
    new.follow(None).unwrap();
    let start = Instant::now();
    eventually("the link to go to the successor", async || {
        link.ping().await.unwrap();
        (link.server().await == at(&new)).then_some(())
    })
    .await;
    assert!(start.elapsed() < FOLLOWED_WITHIN, "{:?}", start.elapsed());
    assert!(old.is_primary());
    // A new link chooses the same server, although the old primary is the first host.
    let other = rig.link(RedisLogin::Api, "niu");
    other.ping().await.unwrap();
    assert_eq!(other.server().await, at(&new), "the API's user may see it, too");
}

#[tokio::test]
async fn two_replicas_are_no_primary() {
    let (primary, replica) = pair().await;
    let rig = Rig::new(url(&[primary.port(), replica.port()]), Topology::Single).await;
    let producer = rig.producer("niu");
    primary.follow(Some(replica.port())).unwrap();
    let error = rig.push(&producer).await.unwrap_err();
    assert_eq!(error.kind(), "no_primary", "{error}");
    for server in [&primary, &replica] {
        assert!(error.to_string().contains(&format!("127.0.0.1:{}: ", server.port())), "{error}");
    }
    primary.follow(None).unwrap();
    rig.push(&producer).await.unwrap();
}
