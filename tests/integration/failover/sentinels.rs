//! `FLEET_REDIS__TOPOLOGY=sentinel`: the Sentinels know the primary, and promote another one.

use std::time::{Duration, Instant};

use fleet_queue::Topology;
use fleet_testbed::{Proxy, Redis, RedisLogin, RedisOptions, SentinelOptions, Sentinels};

use super::rig::{FOLLOWED_WITHIN, Rig, blocking, pair, replicated};
use crate::process::program::{Program, envelope};
use crate::support::eventually;

async fn sentinels(primary: Redis, options: SentinelOptions) -> (Redis, Sentinels) {
    blocking(move || {
        let sentinels = Sentinels::start(&primary, 3, options).unwrap();
        sentinels.wait_replicas(1).unwrap();
        (primary, sentinels)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_follow_a_failover() {
    let (primary, replica) = pair().await;
    let (mut primary, sentinels) = sentinels(primary, SentinelOptions::default()).await;
    let rig = Rig::new(sentinels.url(), Topology::Sentinel).await;
    let [mut api, mut consumer] = rig.start().await;
    assert_eq!(rig.post(&api).await, 200);
    rig.settled("niu").await;
    replicated(&primary, &replica).await;
    primary.kill().unwrap();
    let lost = primary.port();
    assert_eq!(sentinels.wait_primary(|port| port != lost).unwrap(), replica.port());
    let start = Instant::now();
    rig.taken(&api).await;
    assert!(start.elapsed() < FOLLOWED_WITHIN, "{:?}", start.elapsed());
    let status = rig.settled("niu").await;
    assert_eq!(u64::try_from(rig.vehicles().await).unwrap(), status.accepted.messages, "{status:?}");
    rig.commands_work().await;
    for program in [&mut api, &mut consumer] {
        program.assert_running();
        let log = program.logged("Redis has another primary").await;
        assert!(
            log.contains(&format!("127.0.0.1:{lost}"))
                && log.contains(&format!("127.0.0.1:{}", replica.port())),
            "{log}"
        );
        assert!(!log.contains("local-use-only"), "{log}");
    }
    // The lost primary returns as a replica.
    primary.restart().unwrap();
    eventually("the Sentinels to make it a replica", async || (!primary.is_primary()).then_some(())).await;
    assert_eq!(rig.post(&api).await, 200);
    rig.settled("niu").await;
}

/// The primary dies before the command starts, and the Sentinels need a moment.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_put_back_during_a_failover() {
    let (primary, replica) = pair().await;
    let (mut primary, sentinels) = sentinels(primary, SentinelOptions::default()).await;
    let rig = Rig::new(sentinels.url(), Topology::Sentinel).await;
    let [_api, consumer] = rig.start().await;
    let broken = envelope("no JSON");
    rig.producer("niu").push(&[broken]).await.unwrap();
    rig.settled("niu").await;
    consumer.signal(rustix::process::Signal::TERM);
    assert_eq!(consumer.ended().await.code, Some(0));
    replicated(&primary, &replica).await;
    primary.kill().unwrap();
    let ended = rig.command(&["dead-letters", "replay"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.output.contains("put 1 messages of 1 dead letters back"), "{ended:?}");
    assert_eq!(rig.observer("niu").status().await.unwrap().waiting_messages, 1);
}

/// The Sentinels and the replica cannot reach the primary, and we can.
#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_primary_is_left() {
    let source = "127.0.1.9".parse().unwrap();
    let (way, primary, replica) = blocking(move || {
        let way = Proxy::start(0).unwrap();
        let options = RedisOptions {
            announced_port: Some(way.port()),
            source: Some(source),
            ..RedisOptions::default()
        };
        let primary = Redis::private_with(options.clone()).unwrap();
        way.retarget(primary.port());
        let replica = primary.replica_with(RedisOptions { announced_port: None, ..options }).unwrap();
        replica.wait_synced().unwrap();
        (way, primary, replica)
    })
    .await;
    let (primary, sentinels) =
        sentinels(primary, SentinelOptions { source: Some(source), ..SentinelOptions::default() }).await;
    let rig = Rig::new(sentinels.url(), Topology::Sentinel).await;
    let [api, _consumer] = rig.start().await;
    assert_eq!(rig.post(&api).await, 200);
    rig.settled("niu").await;
    way.block(&[source]);
    sentinels.wait_primary(|port| port == replica.port()).unwrap();
    let start = Instant::now();
    let superseded = r#"fleet_runtime_redis_left_total{reason="superseded"}"#;
    eventually("the API to leave the isolated primary", async || {
        rig.post(&api).await;
        (api.metric(superseded).await > 0.5).then_some(())
    })
    .await;
    assert!(start.elapsed() < FOLLOWED_WITHIN, "{:?}", start.elapsed());
    assert!(primary.is_primary(), "nobody can tell it");
    rig.taken(&api).await;
    // A new link does not go to the isolated primary either.
    let link = rig.link(RedisLogin::Consumer, "niu");
    link.ping().await.unwrap();
    assert_eq!(link.server().await, Some(format!("127.0.0.1:{}", replica.port())));
    rig.settled("niu").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sentinels_delay_nothing_and_stop_nothing() {
    let (primary, _replica) = pair().await;
    let (_primary, mut sentinels) = sentinels(primary, SentinelOptions::default()).await;
    let rig = Rig::new(sentinels.url(), Topology::Sentinel).await;
    sentinels.pause(0).unwrap();
    let [mut api, _consumer] = rig.start().await;
    let start = Instant::now();
    rig.push(&rig.producer("niu")).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(rig.post(&api).await, 200, "the link of the queue is connected");
    for other in 1..3 {
        sentinels.pause(other).unwrap();
    }
    // The primary works, and nobody can say whether it still is the primary.
    eventually("the API to show that it cannot know", async || {
        assert_eq!(rig.post(&api).await, 200);
        (api.metric(r#"fleet_runtime_redis_links{state="unverified"}"#).await > 0.5).then_some(())
    })
    .await;
    for sentinel in 0..3 {
        sentinels.resume(sentinel).unwrap();
    }
    eventually("the API to know again", async || {
        (api.metric(r#"fleet_runtime_redis_links{state="unverified"}"#).await < 0.5).then_some(())
    })
    .await;
    api.assert_running();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_knows_is_visible_and_waited_for() {
    let (primary, _replica) = pair().await;
    let (_primary, sentinels) = sentinels(primary, SentinelOptions::default()).await;
    let rig =
        Rig::new(sentinels.url(), Topology::Sentinel).await.with("FLEET_REDIS__SENTINEL_NAME", "nobody");
    let mut api = Program::start(&mut rig.api_command());
    let log = api.logged("waiting for Redis").await;
    assert!(log.contains("no Sentinel knows a primary of the name nobody"), "{log}");
    for port in sentinels.ports() {
        assert!(log.contains(&format!("127.0.0.1:{port}")), "{log}");
    }
    api.readiness(503).await;
    assert!(api.metric(r#"fleet_runtime_redis_links{state="missing"}"#).await > 0.5);
    let audit = rig.command(&["audit"]).await;
    assert!(audit.code != Some(0) && audit.errors.contains("FLEET_REDIS__SENTINEL_NAME"), "{audit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sentinels_may_have_a_login_of_their_own() {
    let (primary, _replica) = pair().await;
    // The user that docs/security.md recommends.
    let acl = "user default off\nuser fleet on >fleet ~* &* +@all\nuser watcher on >hunter2 -@all +hello \
               +sentinel|get-master-addr-by-name +sentinel|master\n";
    let options = SentinelOptions { acl: Some(acl.to_owned()), ..SentinelOptions::default() };
    let (_primary, sentinels) = sentinels(primary, options).await;
    let rig = Rig::new(sentinels.url(), Topology::Sentinel).await;
    let refused = Program::start(&mut rig.api_command());
    let log = refused.logged("waiting for Redis").await;
    assert!(log.contains("FLEET_REDIS__SENTINEL_USER"), "{log}");
    drop(refused);
    let rig =
        rig.with("FLEET_REDIS__SENTINEL_USER", "watcher").with("FLEET_REDIS__SENTINEL_PASSWORD", "hunter2");
    let [api, _consumer] = rig.start().await;
    assert_eq!(rig.post(&api).await, 200);
    assert!(!api.log().contains("hunter2"), "{}", api.log());
}
