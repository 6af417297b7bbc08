//! Sentinels and servers with TLS.

use fleet_queue::Topology;
use fleet_testbed::{Redis, RedisOptions, SentinelOptions, Sentinels};

use super::rig::{Rig, blocking};
use crate::tls::authority::{Authority, HERE};

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_follow_a_failover_over_tls() {
    let authority = Authority::new();
    let certificate = authority.issue(HERE);
    let tls_ca = std::fs::read_to_string(authority.file()).unwrap();
    let (mut primary, _replica, sentinels) = blocking(move || {
        let (tls, tls_ca) = (Some(certificate), Some(tls_ca));
        let options = RedisOptions { tls: tls.clone(), tls_ca: tls_ca.clone(), ..RedisOptions::default() };
        let primary = Redis::private_with(options).unwrap();
        let replica = primary.replica().unwrap();
        let options = SentinelOptions { tls, tls_ca, ..SentinelOptions::default() };
        let sentinels = Sentinels::start(&primary, 3, options).unwrap();
        sentinels.wait_replicas(1).unwrap();
        (primary, replica, sentinels)
    })
    .await;
    assert!(sentinels.url().starts_with("rediss://"));
    let rig = Rig::new(sentinels.url(), Topology::Sentinel).await.trusting(authority.file());
    let [api, _consumer] = rig.start().await;
    assert_eq!(rig.post(&api).await, 200);
    rig.settled("niu").await;
    let lost = primary.port();
    primary.kill().unwrap();
    sentinels.wait_primary(|port| port != lost).unwrap();
    rig.taken(&api).await;
    rig.settled("niu").await;
    rig.commands_work().await;
}

/// The Sentinels announce an IP address. A certificate without it is refused, with what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_must_name_the_announced_address() {
    let authority = Authority::new();
    let (named, unnamed) = (authority.issue(HERE), authority.issue(&["redis.example"]));
    let tls_ca = std::fs::read_to_string(authority.file()).unwrap();
    let (_primary, sentinels) = blocking(move || {
        let options =
            RedisOptions { tls: Some(unnamed), tls_ca: Some(tls_ca.clone()), ..RedisOptions::default() };
        let primary = Redis::private_with(options).unwrap();
        let options =
            SentinelOptions { tls: Some(named), tls_ca: Some(tls_ca), ..SentinelOptions::default() };
        let sentinels = Sentinels::start(&primary, 3, options).unwrap();
        (primary, sentinels)
    })
    .await;
    let rig = Rig::new(sentinels.url(), Topology::Sentinel).await.trusting(authority.file());
    let error = rig.push(&rig.producer("niu")).await.unwrap_err();
    assert_eq!(error.kind(), "tls", "{error}");
}
