//! `FLEET_REDIS__TOPOLOGY=cluster`: each queue has a slot, and the slot has a primary.

use std::time::Instant;

use fleet_queue::{QueueKeys, Topology};
use fleet_testbed::{ClusterOptions, RedisCluster, RedisLogin};

use super::rig::{FOLLOWED_WITHIN, Rig, blocking};
use crate::support::eventually;

const PROVIDERS: [&str; 3] = ["niu", "segway", "invers"];

async fn cluster(options: ClusterOptions) -> RedisCluster {
    blocking(move || RedisCluster::private(options).unwrap()).await
}

fn server(cluster: &RedisCluster, keys: &QueueKeys) -> String {
    format!("127.0.0.1:{}", cluster.nodes()[cluster.primary_of(&keys.queue).unwrap()].port())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_queue_is_on_its_own_server_and_follows_its_failover() {
    let mut cluster = cluster(ClusterOptions::default()).await;
    let rig = Rig::new(cluster.url(), Topology::Cluster).await;
    let mut servers = std::collections::BTreeSet::new();
    let producers = PROVIDERS.map(|provider| rig.producer(provider));
    for (provider, producer) in PROVIDERS.iter().zip(&producers) {
        rig.push(producer).await.unwrap();
        assert_eq!(rig.observer(provider).status().await.unwrap().waiting_messages, 1);
        let link = rig.link(RedisLogin::Consumer, provider);
        link.ping().await.unwrap();
        assert_eq!(link.server().await, Some(server(&cluster, &rig.keys(provider))));
        servers.extend(link.server().await);
    }
    assert!(servers.len() > 1, "{servers:?}");
    let key = rig.keys("niu").queue;
    let lost = cluster.primary_of(&key).unwrap();
    let survivor = cluster.replica_of(lost).unwrap();
    eventually("the replica to have everything", async || {
        let counted = cluster.nodes()[survivor].redis().info("replication").ok()?;
        let offset = cluster.nodes()[lost].redis().info("replication").ok()?;
        (counted.get("slave_repl_offset") == offset.get("master_repl_offset")).then_some(())
    })
    .await;
    cluster.node(lost).redis_mut().kill().unwrap();
    cluster.wait_failover(&key, lost).unwrap();
    let start = Instant::now();
    for (provider, producer) in PROVIDERS.iter().zip(&producers) {
        eventually("a push after the failover", async || rig.push(producer).await.ok()).await;
        let status = rig.observer(provider).status().await.unwrap();
        assert!(status.waiting_messages >= 2 && status.balances(), "{provider}: {status:?}");
    }
    assert!(start.elapsed() < FOLLOWED_WITHIN, "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_follow_a_failover() {
    let mut cluster = cluster(ClusterOptions::default()).await;
    let rig = Rig::new(cluster.url(), Topology::Cluster).await;
    let [mut api, mut consumer] = rig.start().await;
    assert_eq!(rig.post(&api).await, 200);
    rig.settled("niu").await;
    rig.commands_work().await;
    let key = rig.keys("niu").queue;
    let lost = cluster.primary_of(&key).unwrap();
    cluster.node(lost).redis_mut().kill().unwrap();
    cluster.wait_failover(&key, lost).unwrap();
    let start = Instant::now();
    rig.taken(&api).await;
    assert!(start.elapsed() < FOLLOWED_WITHIN, "{:?}", start.elapsed());
    rig.settled("niu").await;
    rig.commands_work().await;
    for program in [&mut api, &mut consumer] {
        program.assert_running();
        let log = program.logged("Redis has another primary").await;
        assert!(log.contains("niu") && !log.contains("local-use-only"), "{log}");
    }
}

/// An isolated primary accepts writes until its own timeout. Then it refuses them, and links leave it.
#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_primary_is_left() {
    let cluster = cluster(ClusterOptions { proxied: true, ..ClusterOptions::default() }).await;
    let rig = Rig::new(cluster.url(), Topology::Cluster).await;
    let producer = rig.producer("niu");
    let idle = rig.link(RedisLogin::Consumer, "niu");
    idle.ping().await.unwrap();
    rig.push(&producer).await.unwrap();
    let key = rig.keys("niu").queue;
    let isolated = cluster.primary_of(&key).unwrap();
    let old = idle.server().await;
    cluster.isolate(isolated);
    let new = cluster.wait_failover(&key, isolated).unwrap();
    let new = Some(format!("127.0.0.1:{}", cluster.nodes()[new].port()));
    let start = Instant::now();
    eventually("the links to use the new primary", async || {
        rig.push(&producer).await.ok()?;
        // PING alone would not tell that the queue has moved.
        let _reply = idle.ping().await;
        (idle.server().await == new).then_some(())
    })
    .await;
    assert!(start.elapsed() < FOLLOWED_WITHIN, "{:?}", start.elapsed());
    assert_ne!(old, new);
    // A new link, although the isolated node is among the hosts.
    let link = rig.link(RedisLogin::Api, "niu");
    link.ping().await.unwrap();
    assert_eq!(link.server().await, new);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_a_slot_moves() {
    let cluster = cluster(ClusterOptions { replicas: 0, ..ClusterOptions::default() }).await;
    let rig = Rig::new(cluster.url(), Topology::Cluster).await;
    let (producer, observer) = (rig.producer("niu"), rig.observer("niu"));
    let key = rig.keys("niu").queue;
    let from = cluster.primary_of(&key).unwrap();
    let to = (from + 1) % 3;
    let node = |index: usize| cluster.nodes()[index].redis();
    let id = |index: usize| node(index).command(&["CLUSTER", "MYID"]).unwrap().concat();
    let slot = node(from).command(&["CLUSTER", "KEYSLOT", &key]).unwrap().concat();
    let set = |index: usize, words: &[&str]| {
        node(index).command(&[&["CLUSTER", "SETSLOT", &slot], words].concat()).unwrap();
    };
    let mut pushed = 0;
    for _ in 0..5 {
        rig.push(&producer).await.unwrap();
        pushed += 1;
    }
    set(to, &["IMPORTING", &id(from)]);
    set(from, &["MIGRATING", &id(to)]);
    rig.push(&producer).await.unwrap();
    pushed += 1;
    let port = node(to).port().to_string();
    for one in [&rig.keys("niu").ledger, &key] {
        let migrated =
            node(from).command(&["MIGRATE", "127.0.0.1", &port, one, "0", "5000", "AUTH2", "fleet", "fleet"]);
        migrated.unwrap();
        // ASK or TRYAGAIN: the server has run nothing.
        let error = rig.push(&producer).await.unwrap_err();
        assert!(["cluster", "aborted", "no_primary"].contains(&error.kind()), "{error}");
    }
    for index in [to, from, (from + 2) % 3] {
        set(index, &["NODE", &id(to)]);
    }
    eventually("a push to the new server", async || rig.push(&producer).await.ok()).await;
    pushed += 1;
    let status = eventually("the observer to follow", async || observer.status().await.ok()).await;
    assert_eq!((status.waiting_messages, status.accepted.messages), (pushed, pushed), "{status:?}");
    let link = rig.link(RedisLogin::Api, "niu");
    link.ping().await.unwrap();
    assert_eq!(link.server().await, Some(format!("127.0.0.1:{}", cluster.nodes()[to].port())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_cluster_is_refused() {
    let (primary, _replica) = super::rig::pair().await;
    let rig = Rig::new(primary.url(), Topology::Cluster).await;
    let error = rig.push(&rig.producer("niu")).await.unwrap_err();
    assert!(error.is_permanent() && error.to_string().contains("FLEET_REDIS__TOPOLOGY=single"), "{error}");
    let rig = Rig::new(primary.url(), Topology::Sentinel).await;
    let error = rig.push(&rig.producer("niu")).await.unwrap_err();
    assert!(error.is_permanent() && error.to_string().contains("FLEET_REDIS__TOPOLOGY=single"), "{error}");
}
