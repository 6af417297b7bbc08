//! Every kind of refusal, from a Redis that really refuses, has its own error code.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use fleet_queue::{Lookout, QueueError, RedisLink, RedisLinkOptions};
use fleet_testbed::{Proxy, Redis};

use super::{Rig, TIMEOUT, private_redis, redis};
use crate::support::eventually;

async fn push(rig: &Rig) -> Result<(), QueueError> {
    rig.producer.push(&[b"x".to_vec()]).await.map(|_ledger| ())
}

async fn refused_push(rig: &Rig) -> &'static str {
    push(rig).await.unwrap_err().kind()
}

#[tokio::test]
async fn a_replica_is_read_only() {
    let server = private_redis(&[]).await;
    let rig = Rig::on(&server.url(), TIMEOUT);
    push(&rig).await.unwrap();
    rig.redis::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_eq!(refused_push(&rig).await, "readonly");
    assert_eq!(rig.observer.status().await.unwrap_err().kind(), "readonly", "its data may be stale");
    assert_eq!(rig.producer.ledger().await.unwrap_err().kind(), "readonly");
    let lookout = Lookout::new(rig.link.clone(), &rig.prefix, "niu");
    assert_eq!(
        lookout.look().await.unwrap_err().kind(),
        "readonly",
        "a replica drops its data when it copies"
    );
    rig.redis::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    push(&rig).await.unwrap();
}

#[tokio::test]
async fn after_a_failover_behind_one_address_nothing_fails() {
    let (old, new) = (private_redis(&[]).await, private_redis(&[]).await);
    let proxy = Proxy::start(old.port()).unwrap();
    let rig = Rig::on(&behind(&proxy, &old), TIMEOUT);
    push(&rig).await.unwrap();
    assert_eq!(rig.status().await.waiting_messages, 1);
    fail_over(&old, &new, &proxy).await;
    push(&rig).await.unwrap();
    assert_eq!(rig.status().await.waiting_messages, 2);
}

#[tokio::test]
async fn an_observer_leaves_a_primary_that_was_demoted() {
    let (old, new) = (private_redis(&[]).await, private_redis(&[]).await);
    let proxy = Proxy::start(old.port()).unwrap();
    let rig = Rig::on(&behind(&proxy, &old), TIMEOUT);
    push(&rig).await.unwrap();
    fail_over(&old, &new, &proxy).await;
    let to_new = RedisLink::open(&RedisLinkOptions::new(&new.url(), TIMEOUT)).unwrap();
    let () = redis(&to_new, &["DEL", &rig.keys.queue, &rig.keys.ledger]).await.unwrap();
    assert_eq!(rig.status().await.accepted.messages, 0, "read from the new primary");
}

/// The server's URL with the proxy's port.
fn behind(proxy: &Proxy, server: &Redis) -> String {
    server.url().replace(&server.port().to_string(), &proxy.port().to_string())
}

/// Makes `new` a copy of `old` and then its primary. The connections to `old` stay open.
async fn fail_over(old: &Redis, new: &Redis, proxy: &Proxy) {
    let [to_old, to_new] =
        [old, new].map(|server| RedisLink::open(&RedisLinkOptions::new(&server.url(), TIMEOUT)).unwrap());
    let port = |server: &Redis| server.port().to_string();
    for link in [&to_old, &to_new] {
        let () = redis(link, &["CONFIG", "SET", "masteruser", "fleet", "masterauth", "fleet"]).await.unwrap();
    }
    let () = redis(&to_new, &["REPLICAOF", "127.0.0.1", &port(old)]).await.unwrap();
    eventually("the replica to have everything", async || {
        let info: String = redis(&to_new, &["INFO", "replication"]).await.unwrap();
        info.contains("master_link_status:up").then_some(())
    })
    .await;
    let acknowledged: u64 = redis(&to_old, &["WAIT", "1", "5000"]).await.unwrap();
    assert_eq!(acknowledged, 1);
    let () = redis(&to_new, &["REPLICAOF", "NO", "ONE"]).await.unwrap();
    let () = redis(&to_old, &["REPLICAOF", "127.0.0.1", &port(new)]).await.unwrap();
    proxy.retarget(new.port());
}

#[tokio::test]
async fn a_replica_without_its_primary_knows_nothing() {
    let server = private_redis(&["--replica-serve-stale-data", "no"]).await;
    let rig = Rig::on(&server.url(), TIMEOUT);
    rig.redis::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let read = redis::<Vec<Option<u64>>>(&rig.link, &["HMGET", &rig.keys.ledger, "accepted_messages"]).await;
    assert_eq!(read.unwrap_err().kind(), "loading", "MASTERDOWN");
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_waited_for() {
    // While Redis loads, it serves its connections once per 1,024 commands: here every 0.1 s for two seconds.
    let mut server = private_redis(&["--key-load-delay", "100"]).await;
    let rig = Rig::on(&server.url(), TIMEOUT);
    rig.redis::<()>(&["EVAL", "for i = 1, 20000 do redis.call('RPUSH', 'other', i) end", "0"]).await;
    push(&rig).await.unwrap();
    let restarting = tokio::task::spawn_blocking(move || {
        server.restart().unwrap();
        server
    });
    let refused = async || Some(push(&rig).await.err()?.kind()).filter(|kind| *kind == "loading");
    eventually("a push to be refused with LOADING", refused).await;
    let _server = restarting.await.unwrap();
    push(&rig).await.unwrap();
}

#[tokio::test]
async fn a_login_that_is_wrong_or_lacks_rights() {
    let server = private_redis(&[]).await;
    let with = |login: &str| format!("redis://{login}127.0.0.1:{}", server.port());
    // Redis refuses MULTI itself.
    assert_eq!(refused_push(&Rig::on(&with(""), TIMEOUT)).await, "auth", "NOAUTH");
    assert_eq!(refused_push(&Rig::on(&with("api:wrong@"), TIMEOUT)).await, "auth", "WRONGPASS");
    let admin = Rig::on(&server.url(), TIMEOUT);
    push(&admin).await.unwrap();
    admin.redis::<()>(&["ACL", "SETUSER", "api", "reset", "on", ">x", "~*", "+@all"]).await;
    let api = Rig::on(&with("api:x@"), TIMEOUT);
    push(&api).await.unwrap();
    admin.redis::<()>(&["ACL", "SETUSER", "api", "-rpush"]).await;
    assert_eq!(refused_push(&api).await, "auth", "NOPERM");
    admin.redis::<()>(&["ACL", "SETUSER", "api", "+rpush"]).await;
    push(&api).await.unwrap();
    // Redis closes the connections of a deleted user. The new user has another password.
    admin.redis::<()>(&["ACL", "DELUSER", "api"]).await;
    admin.redis::<()>(&["ACL", "SETUSER", "api", "on", ">y", "~*", "+@all"]).await;
    assert_eq!(refused_push(&api).await, "auth", "WRONGPASS");
    admin.redis::<()>(&["ACL", "SETUSER", "api", ">x"]).await;
    push(&api).await.unwrap();
}

#[tokio::test]
async fn a_server_that_may_not_write() {
    let server = private_redis(&[]).await;
    let rig = Rig::on(&server.url(), TIMEOUT);
    rig.redis::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    assert_eq!(refused_push(&rig).await, "misconf", "NOREPLICAS");
    rig.redis::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    push(&rig).await.unwrap();
    // Redis also refuses writes if it is configured to write snapshots and cannot.
    let folder = server.append_only_folder().parent().unwrap().to_owned();
    let permit = |mode| std::fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
    rig.redis::<()>(&["CONFIG", "SET", "save", "3600 1000000"]).await;
    permit(0o500);
    rig.redis::<()>(&["BGSAVE"]).await;
    let refused = async || Some(push(&rig).await.err()?.kind());
    assert_eq!(eventually("the snapshot to fail", refused).await, "misconf", "MISCONF");
    permit(0o700);
    rig.redis::<()>(&["BGSAVE"]).await;
    eventually("a snapshot to be written", async || push(&rig).await.ok()).await;
}

#[tokio::test]
async fn a_server_that_runs_a_script_for_ever() {
    let server = private_redis(&["--busy-reply-threshold", "10"]).await;
    let rig = Rig::on(&server.url(), TIMEOUT);
    let admin = RedisLink::open(&RedisLinkOptions::new(&server.url(), TIMEOUT)).unwrap();
    let spinner = RedisLink::open(&RedisLinkOptions::new(&server.url(), TIMEOUT)).unwrap();
    let spinning =
        tokio::spawn(async move { redis::<()>(&spinner, &["EVAL", "while true do end", "0"]).await });
    eventually("the script to be too slow", async || {
        (push(&rig).await.err()?.kind() == "busy").then_some(())
    })
    .await;
    let () = redis(&admin, &["SCRIPT", "KILL"]).await.unwrap();
    assert!(spinning.await.unwrap().is_err());
    push(&rig).await.unwrap();
}

#[tokio::test]
async fn a_key_of_the_wrong_type_is_named() {
    let rig = Rig::new();
    rig.redis::<()>(&["HSET", &rig.keys.queue, "field", "value"]).await;
    assert_eq!(refused_push(&rig).await, "wrong_type");
}

#[tokio::test]
async fn a_server_of_another_topology_is_no_server_to_work_with() {
    let server = private_redis(&["--cluster-enabled", "yes"]).await;
    let rig = Rig::on(&server.url(), TIMEOUT);
    let error = push(&rig).await.unwrap_err();
    assert!(matches!(error, QueueError::WrongTopology { .. }) && error.is_permanent(), "{error:?}");
}
