//! Connections that break, servers that die or hang, and data that Redis does not keep.

use std::time::Duration;

use fleet_queue::{Mark, RedisLink, RedisLinkOptions};
use fleet_testbed::Proxy;

use super::{EVERYTHING, Rig, TIMEOUT, private_redis, redis, texts};
use crate::support::{eventually, redis_url};

const SECRET: &str = "hunter2-secret";

#[tokio::test]
async fn a_killed_connection_is_replaced() {
    let rig = Rig::new();
    let old: u64 = rig.redis(&["CLIENT", "ID"]).await;
    let killer = RedisLink::open(&RedisLinkOptions::new(&redis_url(), TIMEOUT)).unwrap();
    let killed: u64 = redis(&killer, &["CLIENT", "KILL", "ID", &old.to_string()]).await.unwrap();
    assert_eq!(killed, 1);
    rig.leased(&["a"]).await;
    let new: u64 = rig.redis(&["CLIENT", "ID"]).await;
    assert_ne!(new, old);
    assert_eq!(
        rig.ledger().await,
        [(1, 1), (1, 1), (0, 0)],
        "pushed once, because the old connection was closed before"
    );
}

#[tokio::test]
async fn an_idle_connection_that_redis_closes_costs_no_push() {
    let server = private_redis(&["--timeout", "1"]).await;
    let rig = Rig::on(&server.url(), TIMEOUT);
    rig.push(&["a"]).await;
    let watcher = RedisLink::open(&RedisLinkOptions::new(&server.url(), TIMEOUT)).unwrap();
    eventually("Redis to close the idle connection", async || {
        let clients: String = redis(&watcher, &["CLIENT", "LIST"]).await.unwrap();
        (clients.lines().count() == 1).then_some(())
    })
    .await;
    rig.push(&["b"]).await;
    assert_eq!(rig.ledger().await[0], (2, 2));
}

#[tokio::test]
async fn a_connection_that_breaks_under_a_push_costs_at_most_a_repetition() {
    let server = private_redis(&[]).await;
    let proxy = Proxy::start(server.port()).unwrap();
    let url = server.url().replace(&server.port().to_string(), &proxy.port().to_string());
    let rig = Rig::on(&url, TIMEOUT);
    for _ in 0..200 {
        let cutting = async {
            tokio::task::yield_now().await;
            proxy.cut();
        };
        let (_pushed, ()) = tokio::join!(rig.push(&["a"]), cutting);
    }
    let [(accepted, _), ..] = rig.ledger().await;
    assert!((200..=400).contains(&accepted), "{accepted} of 200");
}

#[tokio::test]
async fn a_killed_server_that_comes_back_has_kept_everything() {
    let mut server = private_redis(&[]).await;
    let rig = Rig::on(&server.url(), TIMEOUT);
    let lease = rig.leased(&["leased"]).await;
    rig.push(&["waiting"]).await;
    server.kill().unwrap();
    let error = rig.producer.push(&[b"lost".to_vec()]).await.unwrap_err();
    assert_eq!(error.kind(), "connection", "{error}");
    let server = tokio::task::spawn_blocking(move || {
        server.restart().unwrap();
        server
    });
    let _server = server.await.unwrap();
    eventually("the observer's link to recover", async || rig.observer.status().await.ok()).await;
    eventually("the consumer's link to recover", async || rig.consumer.due().await.ok()).await;
    assert_eq!(rig.ledger().await, [(2, 13), (1, 6), (0, 0)]);
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 1, "the scripts are gone from its cache");
    assert_eq!(texts(&rig.claim(EVERYTHING).await.unwrap()), ["waiting"]);
}

#[tokio::test]
async fn a_server_that_hangs_is_a_timeout_and_the_link_recovers() {
    let mut server = private_redis(&[]).await;
    let timeout = Duration::from_millis(200);
    let rig = Rig::on(&server.url(), timeout);
    let old: u64 = rig.redis(&["CLIENT", "ID"]).await;
    server.pause().unwrap();
    let error = rig.link.ping().await.unwrap_err();
    assert_eq!(error.kind(), "timeout", "{error}");
    server.resume().unwrap();
    eventually("the link to recover", async || rig.link.ping().await.ok()).await;
    let new: u64 = rig.redis(&["CLIENT", "ID"]).await;
    assert_ne!(new, old, "a connection that owes a reply must not be used again");
}

#[tokio::test]
async fn scripts_survive_a_flush_of_their_cache() {
    let server = private_redis(&[]).await;
    let rig = Rig::on(&server.url(), TIMEOUT);
    let flush = async || rig.redis::<()>(&["SCRIPT", "FLUSH", "SYNC"]).await;
    rig.push(&["a"]).await;
    flush().await;
    let lease = rig.claim(EVERYTHING).await.unwrap();
    flush().await;
    assert!(rig.consumer.extend(&lease, Duration::ZERO).await.unwrap());
    flush().await;
    let lease = rig.take_over_expired().await.unwrap();
    flush().await;
    assert!(rig.consumer.mark(&lease, Mark::Clear).await.unwrap());
    flush().await;
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 1);
}

#[tokio::test]
async fn errors_do_not_tell_the_password() {
    let closed = fleet_testbed::free_port().unwrap();
    let (_, server) = redis_url().rsplit_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let urls = [
        format!("redis://user:{SECRET}@[half/0"),
        format!("redis://user:{SECRET}@host:port/0"),
        format!("redis://user:{SECRET}@host/database"),
        format!("redis://user:123/{SECRET}@host"),
        format!("redis://user:#{SECRET}@host"),
        format!("http://user:{SECRET}@host/"),
        format!("user:{SECRET}@host"),
        format!("redis://user:{SECRET}@127.0.0.1:{closed}"),
        format!("redis://user:{SECRET}@{server}"),
    ];
    for (index, url) in urls.iter().enumerate() {
        let error = match RedisLink::open(&RedisLinkOptions::new(url, TIMEOUT)) {
            Ok(link) => {
                assert!(!format!("{link:?}").contains(SECRET), "{link:?}");
                link.ping().await.expect_err("nothing there takes that password")
            }
            Err(error) => error,
        };
        let text = format!("{error} {error:?}");
        assert!(!text.contains(SECRET), "number {index}: {text}");
    }
}

#[tokio::test]
async fn a_bad_url_says_what_a_good_one_looks_like() {
    let error = RedisLink::open(&RedisLinkOptions::new("http://localhost", TIMEOUT)).unwrap_err();
    assert_eq!(error.kind(), "url");
    assert!(error.to_string().contains("redis://"), "{error}");
}
