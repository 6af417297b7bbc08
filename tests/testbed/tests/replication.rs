//! Tests replicas, Sentinels and the Redis Cluster of the testbed with real servers.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fleet_testbed::{
    ClusterOptions, Progress, Proxy, Redis, RedisCluster, RedisOptions, RedisServer, Root, SentinelOptions,
    Sentinels, redis_users,
};

fn ask(redis: &Redis, command: &str) -> String {
    let words: Vec<_> = command.split(' ').collect();
    redis.command(&words).unwrap().join(" ")
}

/// Writes, then asks on the same connection how many replicas have the write.
fn write_and_wait(redis: &Redis, key: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "AUTH fleet fleet\r\nAPPEND {key} x\r\nWAIT 1 300\r\nQUIT\r\n").unwrap();
    let mut replies = String::new();
    stream.read_to_string(&mut replies).unwrap();
    let replies: Vec<_> = replies.lines().collect();
    assert_eq!((replies[0], replies[1].starts_with(':')), ("+OK", true), "{replies:?}");
    replies[2].to_owned()
}

/// Waits until a command has this reply.
fn wait_reply(redis: &Redis, command: &str, reply: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    let words: Vec<_> = command.split(' ').collect();
    while redis.command(&words).ok().is_none_or(|found| found.join(" ") != reply) {
        assert!(Instant::now() < end, "{command}: {:?} instead of {reply}", redis.command(&words));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_replica_confirms_and_survives_the_loss_of_its_primary() {
    let mut primary = Redis::private(&[]).unwrap();
    assert_eq!(ask(&primary, "SET before copied"), "OK");
    let mut replica = primary.replica().unwrap();
    assert!(primary.is_primary() && !replica.is_primary());
    assert_eq!(write_and_wait(&primary, "later"), ":1");
    assert_eq!(ask(&replica, "CONFIG GET appendfsync"), "appendfsync always");
    primary.destroy().unwrap();
    assert!(!primary.is_running());
    primary.restart().unwrap_err();
    replica.follow(None).unwrap();
    // A restart keeps the new role.
    replica.kill().unwrap();
    replica.restart().unwrap();
    assert!(replica.is_primary());
    assert_eq!(ask(&replica, "MGET before later"), "copied x");
}

#[test]
fn three_sentinels_promote_the_replica_of_a_lost_primary() {
    for server in [RedisServer::Redis, RedisServer::Valkey] {
        let mut primary = Redis::private_with(RedisOptions { server, ..RedisOptions::default() }).unwrap();
        let mut replica = primary.replica().unwrap();
        let options = SentinelOptions { server, ..SentinelOptions::default() };
        let mut sentinels = Sentinels::start(&primary, 3, options).unwrap();
        assert_eq!(sentinels.primary(), Some(primary.port()));
        sentinels.wait_replicas(1).unwrap();
        assert_eq!(ask(&primary, "SET key kept"), "OK");
        wait_reply(&replica, "GET key", "kept");
        let lost = primary.port();
        primary.destroy().unwrap();
        assert_eq!(sentinels.wait_primary(|port| port != lost).unwrap(), replica.port());
        assert_eq!(ask(&replica, "GET key"), "kept");
        assert!(replica.is_primary());
        // A fresh replica behind the survivor. The Sentinels forget the lost server.
        let fresh = replica.replica().unwrap();
        sentinels.reset().unwrap();
        sentinels.wait_replicas(1).unwrap();
        assert_eq!(ask(&fresh, "GET key"), "kept");
        // A failover that nobody needs.
        sentinels.fail_over().unwrap();
        assert_eq!(sentinels.wait_primary(|port| port != replica.port()).unwrap(), fresh.port());
        wait_reply(&replica, "CONFIG GET replicaof", &format!("replicaof 127.0.0.1 {}", fresh.port()));
        // Two of three decide.
        sentinels.kill(0).unwrap();
        assert_eq!(sentinels.primary(), None);
        replica.wait_synced().unwrap();
        drop(fresh);
        wait_reply(&replica, "CONFIG GET replicaof", "replicaof ");
        sentinels.restart(0).unwrap();
        assert_eq!(sentinels.wait_primary(|port| port == replica.port()).unwrap(), replica.port());
        replica.kill().unwrap();
    }
}

#[test]
fn sentinels_may_have_users_of_their_own() {
    let primary = Redis::private(&[]).unwrap();
    let acl = Some("user default off\nuser fleet on >fleet ~* &* +@all\n".to_owned());
    let sentinels =
        Sentinels::start(&primary, 3, SentinelOptions { acl, ..SentinelOptions::default() }).unwrap();
    assert_eq!(sentinels.primary(), Some(primary.port()));
}

#[test]
fn a_primary_can_be_isolated_from_servers_but_not_from_clients() {
    let root = Root::ensure(&Progress::silent()).unwrap();
    let source = "127.0.1.9".parse().unwrap();
    let way = Proxy::start(0).unwrap();
    let options = RedisOptions {
        acl: Some(redis_users().to_owned()),
        announced_port: Some(way.port()),
        source: Some(source),
        ..RedisOptions::default()
    };
    let primary = Redis::start_with(&root, options.clone()).unwrap();
    way.retarget(primary.port());
    let replica = primary.replica_with(RedisOptions { announced_port: None, ..options.clone() }).unwrap();
    replica.wait_synced().unwrap();
    let options = SentinelOptions { source: Some(source), ..SentinelOptions::default() };
    let sentinels = Sentinels::start(&primary, 3, options).unwrap();
    assert_eq!(sentinels.primary(), Some(way.port()));
    sentinels.wait_replicas(1).unwrap();
    assert_eq!(write_and_wait(&primary, "shared"), ":1");
    way.block(&[source]);
    assert_eq!(write_and_wait(&primary, "alone"), ":0");
    assert_eq!(sentinels.wait_primary(|port| port != way.port()).unwrap(), replica.port());
    assert!(primary.is_primary(), "nobody can tell it");
    assert_eq!(ask(&replica, "MGET shared alone"), "x ");
    way.unblock();
    wait_reply(&primary, "CONFIG GET replicaof", &format!("replicaof 127.0.0.1 {}", replica.port()));
    primary.wait_synced().unwrap();
    wait_reply(&primary, "GET alone", "");
}

#[test]
fn a_cluster_survives_the_loss_of_a_primary_and_its_isolation() {
    for (server, proxied) in [(RedisServer::Redis, true), (RedisServer::Valkey, false)] {
        let options = ClusterOptions { server, proxied, ..ClusterOptions::default() };
        let mut cluster = RedisCluster::private(options).unwrap();
        let key = "fleet:{niu}:queue";
        let first = cluster.primary_of(key).unwrap();
        let survivor = cluster.replica_of(first).unwrap();
        assert_eq!(write_and_wait(cluster.nodes()[first].redis(), key), ":1");
        cluster.node(first).redis_mut().destroy().unwrap();
        assert_eq!(cluster.wait_failover(key, first).unwrap(), survivor);
        assert_eq!(ask(cluster.nodes()[survivor].redis(), &format!("GET {key}")), "x");
        cluster.replace(first, survivor).unwrap();
        cluster.wait_healthy().unwrap();
        assert_eq!(cluster.replica_of(survivor), Some(first));
        if !proxied {
            continue;
        }
        cluster.isolate(survivor);
        // It accepts a write until its own timeout, and cannot confirm it.
        assert_eq!(write_and_wait(cluster.nodes()[survivor].redis(), key), ":0");
        assert_eq!(cluster.wait_failover(key, survivor).unwrap(), first);
        cluster.reunite();
        cluster.wait_healthy().unwrap();
        assert_eq!(cluster.replica_of(first), Some(survivor));
        assert_eq!(ask(cluster.nodes()[first].redis(), &format!("GET {key}")), "x");
    }
}
