//! Keys to which another client has written. The error names each of them, and no message is lost.

use std::time::Duration;

use fleet_queue::{BrokenKey, Counted, Lookout, Witness};
use fleet_testbed::RedisLogin;
use uuid::Uuid;

use super::{EVERYTHING, QUEUE, Rig, SHORT, TIMEOUT, private_redis, redis};
use crate::support::{eventually, redis_as};

/// Each type as TYPE names it, and a command that creates a key of this type.
const TYPES: [(&str, &[&str]); 5] = [
    ("string", &["SET", "x"]),
    ("hash", &["HINCRBY", "x", "1"]),
    ("list", &["RPUSH", "x"]),
    ("set", &["SADD", "x"]),
    ("zset", &["ZADD", "1", "x"]),
];

/// The ledger's counters.
const COUNTERS: [&str; 6] = [
    "accepted_messages",
    "accepted_bytes",
    "claimed_messages",
    "claimed_bytes",
    "settled_messages",
    "settled_bytes",
];

impl Rig {
    /// Replaces the key with one of another type, once for each type that is not `right`, and calls `check`.
    async fn with_every_other_type(
        key: impl Fn(&Rig) -> String,
        right: &str,
        check: impl AsyncFn(Rig, String, &str),
    ) {
        for (found, command) in TYPES.iter().filter(|(name, _command)| *name != right) {
            let rig = Self::new();
            let key = key(&rig);
            rig.push(&["one", "two"]).await;
            rig.redis::<()>(&["DEL", &key]).await;
            let words: Vec<_> = [&[command[0], &key], &command[1..]].concat();
            rig.redis::<redis::Value>(&words).await;
            check(rig, key, found).await;
        }
    }

    /// Renames the key as the runbook says.
    async fn repair(&self, key: &str) {
        let renamed: bool = self.redis(&["RENAMENX", key, &format!("{}:{{niu}}:foreign", self.prefix)]).await;
        assert!(renamed);
    }

    fn lookout(&self) -> Lookout {
        Lookout::new(self.link.clone(), &self.prefix, QUEUE)
    }

    /// The kind and text of the error with which the operation must fail.
    fn refused<T>(result: Result<T, fleet_queue::QueueError>) -> (&'static str, String) {
        let error = result.err().expect("an error");
        (error.kind(), error.to_string())
    }
}

fn wrong_type(key: &str, expected: &'static str, found: &str) -> BrokenKey {
    BrokenKey::Type { key: key.to_owned(), expected, found: Some(found.to_owned()) }
}

#[tokio::test]
async fn what_the_queue_refuses_is_not_in_the_ledger() {
    Rig::with_every_other_type(
        |rig| rig.keys.queue.clone(),
        "list",
        async |rig, queue, found| {
            let messages = [b"three".to_vec(), b"four".to_vec()];
            let (kind, said) = Rig::refused(rig.producer.push(&messages).await);
            assert_eq!(kind, "wrong_type");
            assert!(said.contains(&queue), "{said}");
            assert_eq!(rig.status().await.broken, [wrong_type(&queue, "list", found)]);
            let claimed = rig.consumer.claim(Uuid::now_v7(), Uuid::now_v7(), EVERYTHING).await;
            assert_eq!(Rig::refused(claimed).0, "wrong_type");
            rig.repair(&queue).await;
            let ledger = rig.producer.ledger().await.unwrap();
            // Two messages were in the overwritten list. Refused messages are not counted.
            assert_eq!((ledger.backlog().messages, ledger.backlog().bytes), (2, 6), "{ledger:?}");
            assert_eq!(ledger.leased().messages, 0);
            rig.push(&["five"]).await;
            assert_eq!(rig.claim(EVERYTHING).await.unwrap().items.len(), 1);
        },
    )
    .await;
}

#[tokio::test]
async fn a_ledger_of_another_type_stops_no_message() {
    Rig::with_every_other_type(
        |rig| rig.keys.ledger.clone(),
        "hash",
        async |rig, ledger, found| {
            let pushed = rig.producer.push(&[b"three".to_vec()]).await.unwrap();
            assert_eq!(pushed.waiting_messages, 3);
            let (kind, said) = Rig::refused(pushed.ledger);
            assert!(kind == "wrong_type" && said.contains(&ledger), "{kind}: {said}");
            assert_eq!(Rig::refused(rig.producer.ledger().await).0, "wrong_type");
            assert_eq!(Rig::refused(rig.lookout().look().await).0, "wrong_type");
            let status = rig.status().await;
            assert_eq!(status.broken, [wrong_type(&ledger, "hash", found)]);
            assert_eq!((status.balances(), status.backlog().messages), (false, 3));
            let lease = rig.claim(EVERYTHING).await.unwrap();
            assert_eq!(lease.items.len(), 3);
            assert_eq!(rig.observer.held().await.unwrap().unwrap().messages, 3);
            assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 3);
            rig.repair(&ledger).await;
            assert_eq!(rig.push(&["four"]).await, 4);
            assert!(rig.status().await.balances());
        },
    )
    .await;
}

#[tokio::test]
async fn counters_that_cannot_be_stop_no_message() {
    let greatest = i64::MAX.to_string();
    for counter in COUNTERS {
        for (value, why) in [
            ("-5", format!("{counter} is negative")),
            ("many", format!("{counter} is no whole number")),
            ("1.5", format!("{counter} is no whole number")),
            ("99999999999999999999", String::new()),
            (&greatest, String::new()),
        ] {
            let rig = Rig::new();
            rig.push(&["one"]).await;
            let first = rig.claim(EVERYTHING).await.unwrap();
            rig.redis::<()>(&["HSET", &rig.keys.ledger, counter, value]).await;
            let pushed = rig.producer.push(&[b"two".to_vec()]).await.unwrap();
            assert_eq!(pushed.waiting_messages, 1);
            let (kind, said) = Rig::refused(pushed.ledger);
            assert_eq!(kind, "corrupt", "{counter} {value}: {said}");
            let status = rig.status().await;
            let said: Vec<_> = status.broken.iter().map(ToString::to_string).collect();
            if counter.starts_with("accepted") && value == greatest {
                // Only the length of the list contradicts this value, and bytes are not compared with the list.
                assert_eq!(status.balances(), counter == "accepted_bytes");
            } else {
                assert!(
                    matches!(&said[..], [one] if one.contains(&rig.keys.ledger) && one.contains(&why)),
                    "{said:?}"
                );
                assert!(!status.balances());
                assert_eq!(status.backlog().messages, 1, "the message in the list");
            }
            let second = rig.claim(EVERYTHING).await.unwrap();
            for lease in [first, second] {
                assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 1, "{counter} {value}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_moves_while_a_key_of_the_leases_has_another_type() {
    type KeyOf = fn(&Rig) -> String;
    let keys: [(KeyOf, &str); 2] =
        [(|rig| rig.keys.leases.clone(), "zset"), (|rig| rig.keys.owners.clone(), "hash")];
    for (key_of, right) in keys {
        Rig::with_every_other_type(key_of, right, async |rig, key, found| {
            let claimed = rig.consumer.claim(Uuid::now_v7(), Uuid::now_v7(), EVERYTHING).await;
            assert_eq!(Rig::refused(claimed).0, "wrong_type");
            let status = rig.status().await;
            assert_eq!(status.waiting_messages, 2, "no message left the queue");
            let expected = if key == rig.keys.leases { "zset" } else { "hash" };
            assert_eq!(status.broken, [wrong_type(&key, expected, found)]);
            rig.push(&["three"]).await;
            rig.repair(&key).await;
            let lease = rig.claim(EVERYTHING).await.unwrap();
            assert_eq!((lease.items.len(), rig.consumer.ack(&lease).await.unwrap()), (3, 3));
            assert!(rig.status().await.balances());
        })
        .await;
    }
}

#[tokio::test]
async fn a_batch_at_work_survives_a_key_of_another_type() {
    for broken in ["leases", "owners", "parked"] {
        let rig = Rig::new();
        let lease = rig.leased(&["one", "two"]).await;
        let (keys, saved) = (&rig.keys, format!("{}:{{niu}}:saved", rig.prefix));
        let key = match broken {
            "leases" => &keys.leases,
            "owners" => &keys.owners,
            _ => &keys.parked,
        };
        // The original key is put back at the end. The batch must not have changed meanwhile.
        let existed = redis::<()>(&rig.link, &["RENAME", key, &saved]).await.is_ok();
        rig.redis::<()>(&["SET", key, "x"]).await;
        let parked = rig.consumer.park(&lease, Duration::ZERO).await;
        assert_eq!(Rig::refused(parked).0, "wrong_type", "{broken}");
        let taken = rig.consumer.take_over_lease(lease.id, Uuid::now_v7(), EVERYTHING.lease).await;
        assert_eq!(Rig::refused(taken).0, "wrong_type", "{broken}");
        if broken != "parked" {
            assert_eq!(Rig::refused(rig.consumer.ack(&lease).await).0, "wrong_type", "{broken}");
        }
        rig.redis::<()>(&["DEL", key]).await;
        if existed {
            rig.redis::<()>(&["RENAME", &saved, key]).await;
        }
        assert!(rig.status().await.balances(), "{broken}");
        assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 2, "{broken}");
        assert_eq!(rig.ledger().await, [(2, 6), (2, 6), (2, 6)], "{broken}");
    }
}

#[tokio::test]
async fn a_batch_whose_list_has_another_type_holds_up_no_other() {
    let rig = Rig::new();
    let (broken, whole) = (rig.leased(&["one"]).await, rig.leased(&["two"]).await);
    let list = rig.keys.lease(broken.id);
    rig.redis::<()>(&["SET", &list, "x"]).await;
    assert_eq!(rig.status().await.broken, [wrong_type(&list, "list", "string")]);
    let held = rig.observer.held().await.unwrap().unwrap();
    assert_eq!((held.messages, held.broken), (1, vec![wrong_type(&list, "list", "string")]));
    for lease in [&broken, &whole] {
        assert!(rig.consumer.extend(lease, Duration::ZERO).await.unwrap());
    }
    eventually("the first batch to be due", async || {
        (rig.consumer.due().await.unwrap().expired == Some(broken.id)).then_some(())
    })
    .await;
    let taken = rig.consumer.take_over_expired(Uuid::now_v7(), EVERYTHING.lease).await;
    let (kind, said) = Rig::refused(taken);
    assert!(kind == "wrong_type" && said.contains(&list), "{kind}: {said}");
    let taken = eventually("the next batch", async || rig.take_over_expired().await).await;
    assert_eq!(taken.id, whole.id);
    // The broken batch comes back when it is due again. Its list is gone by then, so its lease is removed.
    rig.redis::<()>(&["DEL", &list]).await;
    rig.redis::<()>(&["ZADD", &rig.keys.leases, "0", &broken.id.to_string()]).await;
    assert!(rig.take_over_expired().await.is_none());
    assert!(rig.status().await.broken.is_empty());
}

#[tokio::test]
async fn a_parked_batch_whose_list_has_another_type_holds_up_no_other() {
    let rig = Rig::new();
    let (broken, whole) = (rig.leased(&["one"]).await, rig.leased(&["two"]).await);
    assert!(rig.consumer.park(&broken, Duration::ZERO).await.unwrap());
    assert!(rig.consumer.park(&whole, SHORT).await.unwrap());
    rig.redis::<()>(&["SET", &rig.keys.lease(broken.id), "x"]).await;
    let resumed = eventually("the second batch to be resumed", async || {
        let id = rig.consumer.due().await.unwrap().parked?;
        rig.consumer.take_over_lease(id, Uuid::now_v7(), EVERYTHING.lease).await.ok().flatten()
    })
    .await;
    assert_eq!(resumed.id, whole.id);
}

#[tokio::test]
async fn an_owners_record_that_cannot_be_read_costs_no_message() {
    for record in ["", "garbage", "a b c d"] {
        let rig = Rig::new();
        let lease = rig.leased(&["one", "two"]).await;
        rig.redis::<()>(&["HSET", &rig.keys.owners, &lease.id.to_string(), record]).await;
        assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 0, "it has no owner");
        rig.redis::<()>(&["ZADD", &rig.keys.leases, "0", &lease.id.to_string()]).await;
        let taken = rig.take_over_expired().await.expect(record);
        assert_eq!((taken.id, taken.items.len(), taken.takeovers), (lease.id, 2, 0));
        assert_eq!(rig.consumer.ack(&taken).await.unwrap(), 2);
        assert_eq!(rig.ledger().await, [(2, 6); 3]);
    }
}

#[tokio::test]
async fn a_look_that_cannot_be_is_named() {
    let rig = Rig::new();
    rig.push(&["one"]).await;
    for field in ["look", "looked_at_ms", "looked_accepted"] {
        rig.redis::<()>(&["HSET", &rig.keys.ledger, field, "-1"]).await;
        assert_eq!(Rig::refused(rig.lookout().look().await).0, "corrupt");
        let said = rig.status().await.broken[0].to_string();
        assert!(said.contains(&format!("{field} is negative")), "{said}");
        rig.redis::<()>(&["HDEL", &rig.keys.ledger, field]).await;
    }
    assert!(rig.status().await.balances());
}

#[tokio::test]
async fn counters_that_contradict_each_other_are_no_lost_history() {
    let rig = Rig::new();
    let lease = rig.leased(&["one", "two", "three"]).await;
    let look = rig.lookout().look().await.unwrap();
    let witness = Witness { number: 0, looked_at_ms: 0, counted: look.counted };
    // What the API's own user can do.
    let api = fleet_queue::RedisLink::open(&fleet_queue::RedisLinkOptions::new(
        &redis_as(RedisLogin::Api, &crate::support::redis_url()),
        TIMEOUT,
    ));
    let api = api.unwrap();
    let () = redis(&api, &["HINCRBY", &rig.keys.ledger, "accepted_messages", "-2"]).await.unwrap();
    let look = rig.lookout().look().await.unwrap();
    assert_eq!(look.counted, Counted { accepted: 1, settled: 0 });
    let (kind, said) = Rig::refused(rig.lookout().loss(&witness, &look));
    assert!(kind == "corrupt" && said.contains("more was claimed than accepted"), "{said}");
    let () = redis(&api, &["HINCRBY", &rig.keys.ledger, "accepted_messages", "-2"]).await.unwrap();
    assert_eq!(Rig::refused(rig.lookout().look().await).0, "corrupt");
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 3);
    let () = redis(&api, &["HINCRBY", &rig.keys.ledger, "accepted_messages", "4"]).await.unwrap();
    assert_eq!(rig.ledger().await[2], (3, 11), "nothing was miscounted meanwhile");
}

/// The rights of the consumer's user in an earlier release.
const OLDER: &str = "resetkeys clearselectors -@all ~test-*:{*}:* +acl|dryrun +ping +info +select +multi +exec +discard \
                     +evalsha +script|load +time +rpush +lmove +lrange +llen +lindex +unlink +hget +hmget +hkeys +hlen \
                     +hset +hdel +hincrby +zadd +zrem +zscore +zcard +zrange";

#[tokio::test]
async fn users_of_an_older_file_work_and_are_told_which_key_it_is() {
    let server = private_redis(&[]).await;
    let rig = Rig::on(&server.url(), TIMEOUT);
    let words = ["ACL", "SETUSER", "consumer"].into_iter().chain(OLDER.split_whitespace());
    rig.redis::<()>(&words.collect::<Vec<_>>()).await;
    let lease = rig.leased(&["one"]).await;
    assert_eq!(rig.observer.held().await.unwrap().unwrap().messages, 1);
    assert_eq!(rig.consumer.reclaim().await.unwrap(), Some(0));
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 1);
    // Without SORT, a long queue is moved one by one.
    let many = vec!["many"; 1_000];
    let lease = rig.leased(&many).await;
    assert_eq!(rig.ledger().await[1], (1_001, 4_003));
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 1_000);
    // The rights in an even earlier release.
    rig.redis::<()>(&["ACL", "SETUSER", "consumer", "-hkeys", "-hlen"]).await;
    assert_eq!(rig.observer.held().await.unwrap(), None);
    assert_eq!(rig.consumer.reclaim().await.unwrap(), None);
    rig.redis::<()>(&["SET", &rig.keys.leases, "x"]).await;
    let broken = BrokenKey::Type { key: rig.keys.leases.clone(), expected: "zset", found: None };
    assert_eq!(rig.status().await.broken, [broken]);
}
