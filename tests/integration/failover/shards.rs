//! The shards of one provider on several servers of a cluster.

use std::collections::BTreeSet;

use fleet_queue::{QueueStatus, Topology};
use fleet_testbed::{ClusterOptions, RedisCluster};

use super::rig::{Rig, blocking};
use crate::support::eventually;

const SHARDS: [&str; 3] = ["niu.0", "niu.1", "niu.2"];

async fn status(rig: &Rig, shard: &str) -> QueueStatus {
    let observer = rig.observer(shard);
    eventually("the shard's server", async || observer.status().await.ok()).await
}

/// A server hangs and has no replica. Its shard gets nothing more, and the others take all webhooks.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_takes_only_its_own_shard_down() {
    let options = ClusterOptions {
        replicas: 0,
        // Otherwise the other servers refuse everything while one of them is away.
        extra: ["--cluster-require-full-coverage", "no"].map(str::to_owned).to_vec(),
        ..ClusterOptions::default()
    };
    let mut cluster = blocking(move || RedisCluster::private(options).unwrap()).await;
    let rig = Rig::new(cluster.url(), Topology::Cluster).await;
    let rig = rig.with("FLEET_PROVIDERS__NIU__SHARDS", "3").with("FLEET_QUEUE__TIMEOUT", "1s");
    let servers: BTreeSet<_> =
        SHARDS.iter().map(|shard| cluster.primary_of(&rig.keys(shard).queue).unwrap()).collect();
    assert_eq!(servers.len(), 3, "each shard has a server of its own");
    let [mut api, mut consumer] = rig.start().await;
    let mut accepted = 0;
    for _ in 0..6 {
        assert_eq!(rig.post(&api).await, 200);
        accepted += 1;
    }
    for shard in SHARDS {
        assert_eq!(rig.settled(shard).await.accepted.messages, 2, "{shard}");
    }
    let away = cluster.primary_of(&rig.keys("niu.1").queue).unwrap();
    cluster.node(away).redis_mut().pause().unwrap();
    let mut refused = 0;
    for _ in 0..100 {
        match rig.post(&api).await {
            200 => accepted += 1,
            503 => refused += 1,
            other => panic!("{other}"),
        }
    }
    // The webhook that noticed it.
    assert!(refused <= 2, "{refused} of 100 got 503");
    for shard in ["niu.0", "niu.2"] {
        assert!(rig.settled(shard).await.accepted.messages > 30, "{shard}");
    }
    cluster.node(away).redis_mut().resume().unwrap();
    let before = status(&rig, "niu.1").await.accepted.messages;
    eventually("the shard to be used again", async || {
        accepted += i64::from(rig.post(&api).await == 200);
        (status(&rig, "niu.1").await.accepted.messages > before + 2).then_some(())
    })
    .await;
    for shard in SHARDS {
        rig.settled(shard).await;
    }
    // The webhook without a reply may have been stored as well.
    let vehicles = rig.vehicles().await;
    assert!((accepted..=accepted + refused).contains(&vehicles), "{accepted} accepted, {vehicles} stored");
    rig.commands_work().await;
    api.assert_running();
    consumer.assert_running();
}
