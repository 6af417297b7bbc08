//! Detection of a Redis that does not keep the messages that it accepts.

use fleet_queue::{Durability, QueueKeys, RedisLink, RedisLinkOptions};
use fleet_testbed::Redis;

use super::{QUEUE, TIMEOUT, private_redis, redis};
use crate::support::redis_url;

async fn durability(link: &RedisLink) -> Durability {
    Durability::read(link, &QueueKeys::new("fleet", QUEUE), 0).await.unwrap()
}

fn login(server: &Redis, login: &str) -> String {
    format!("redis://{login}@127.0.0.1:{}", server.port())
}

#[tokio::test]
async fn the_testbeds_redis_is_durable() {
    let link = RedisLink::open(&RedisLinkOptions::new(&redis_url(), TIMEOUT)).unwrap();
    let durability = durability(&link).await;
    assert_eq!(durability.appendfsync.as_deref(), Some("always"));
    assert_eq!(durability.default_user_may_write, Some(true));
    assert_eq!(durability.weaknesses(), Vec::<String>::new());
    assert_eq!(durability.unseen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_weaker_redis_is_told_from_a_durable_one() {
    let arguments = &["--appendfsync", "everysec", "--maxmemory-policy", "allkeys-lru"];
    let server = private_redis(arguments).await;
    let link = RedisLink::open(&RedisLinkOptions::new(&server.url(), TIMEOUT)).unwrap();
    let weaknesses = durability(&link).await.weaknesses();
    assert_eq!(weaknesses.len(), 2, "{weaknesses:?}");
    assert!(weaknesses[0].contains("appendfsync is everysec"), "{weaknesses:?}");
    assert!(weaknesses[1].contains("maxmemory-policy is allkeys-lru"), "{weaknesses:?}");
}

#[tokio::test]
async fn a_default_user_without_rights_is_a_weakness() {
    let server = private_redis(&[]).await;
    let link = RedisLink::open(&RedisLinkOptions::new(&server.url(), TIMEOUT)).unwrap();
    let () = redis(&link, &["ACL", "SETUSER", "seer", "on", ">x", "~*", "+@all"]).await.unwrap();
    let seer = RedisLink::open(&RedisLinkOptions::new(&login(&server, "seer:x"), TIMEOUT)).unwrap();
    let () = redis(&seer, &["ACL", "SETUSER", "default", "reset"]).await.unwrap();
    let found = durability(&seer).await;
    assert_eq!(found.default_user_may_write, Some(false));
    assert!(found.weaknesses()[0].contains("ACL SETUSER default off resetpass ~* &* +@all"), "{found:?}");
    // A disabled user is no weakness. A single missing right is one.
    let () =
        redis(&seer, &["ACL", "SETUSER", "default", "off", "resetpass", "~*", "&*", "+@all"]).await.unwrap();
    assert_eq!(durability(&seer).await.default_user_may_write, Some(true));
    let () = redis(&seer, &["ACL", "SETUSER", "default", "-unlink"]).await.unwrap();
    assert_eq!(durability(&seer).await.default_user_may_write, Some(false));
}

#[tokio::test]
async fn what_the_user_may_not_see_is_named() {
    let server = private_redis(&[]).await;
    let link = RedisLink::open(&RedisLinkOptions::new(&server.url(), TIMEOUT)).unwrap();
    let () = redis(&link, &["ACL", "SETUSER", "blind", "on", ">x", "~*", "+@all", "-acl", "-config"])
        .await
        .unwrap();
    let blind = RedisLink::open(&RedisLinkOptions::new(&login(&server, "blind:x"), TIMEOUT)).unwrap();
    let found = durability(&blind).await;
    assert_eq!(found, Durability::default());
    assert_eq!((found.weaknesses().len(), found.unseen().len()), (0, 4), "{found:?}");
}
