//! What the operator's logins may do: everything in docs/runbook.md, and little else.

use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{ClaimLimits, Consumer, Observer, Producer, RedisLink, RedisLinkOptions};
use tokio_postgres::NoTls;
use uuid::Uuid;

use super::{Servers, connect, login, redis, send};
use crate::observability::runbook::{admin_redis_commands, queries, redis_commands};

#[tokio::test]
async fn every_redis_command_of_the_runbook_works_for_the_operator() {
    let server = redis().await;
    let mut operator = connect(&login(&server.url(), "operator")).await;
    let mut admin = connect(&server.url()).await;
    for command in redis_commands() {
        if command[0] == "RENAMENX" {
            send(&mut admin, &["RPUSH", &command[1], "foreign"]).await.unwrap();
        }
        send(&mut operator, &command).await.unwrap_or_else(|error| panic!("{error}: {command:?}"));
    }
    let admins = admin_redis_commands();
    assert!(!admins.is_empty());
    for command in &admins {
        let refused = send(&mut operator, command).await.expect_err("an administrator's");
        assert_eq!(refused.code(), Some("NOPERM"), "{command:?}");
        send(&mut admin, command).await.unwrap_or_else(|error| panic!("{error}: {command:?}"));
    }
    for refused in
        ["FLUSHALL", "ACL LIST", "SHUTDOWN NOSAVE", "KEYS *", "LPOP fleet:{niu}:queue", "DEL other"]
    {
        let words: Vec<_> = refused.split(' ').collect();
        let error = send(&mut operator, &words).await.expect_err(refused);
        assert_eq!(error.code(), Some("NOPERM"), "{refused}");
    }
}

#[tokio::test]
async fn every_query_of_the_runbook_works_for_the_operator() {
    let servers = Servers::start().await;
    servers.succeeds("migrator", &["migrate"], "applied").await;
    let (queries, changes) = queries();
    for query in queries {
        servers.ask("operator", &query).unwrap_or_else(|error| panic!("{error}: {query}"));
    }
    servers.ask("operator", "SELECT pg_terminate_backend(0)").unwrap();
    for change in changes {
        servers.assert_refused("operator", &[change.as_str()]);
        servers.ask("migrator", &format!("SET ROLE fleet_migrator; {change}")).unwrap();
    }
    servers.assert_refused(
        "operator",
        &["SELECT envelope FROM dead_letters", "SELECT * FROM dead_messages", "DELETE FROM vehicles"],
    );
}

#[tokio::test]
async fn the_operator_ends_sessions_but_for_a_superusers() {
    let servers = Servers::start().await;
    let end = |user: &str| {
        let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'");
        servers.ask("operator", &format!("{sql} AND application_name = 'to be ended'"))
    };
    let mut sessions = Vec::new();
    let superuser = servers.postgres.url();
    for url in [login(&superuser, "consumer"), superuser] {
        let url = format!("{url}?application_name=to%20be%20ended");
        let (session, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        sessions.push(session);
    }
    assert_eq!(end("consumer").unwrap(), "t");
    let refused = end("fleet").unwrap_err();
    assert!(refused.contains("permission denied to terminate process"), "{refused}");
}

/// The words of the runbook's only script that contains `words`.
fn script(words: &str) -> Vec<String> {
    let is_it = |command: &Vec<String>| command[0] == "EVAL" && command[1].contains(words);
    let mut found = redis_commands().into_iter().filter(is_it);
    let script = found.next().unwrap_or_else(|| panic!("no script has {words}"));
    assert_eq!(found.next(), None, "{words} is in two scripts");
    script
}

#[tokio::test]
async fn the_runbook_lets_a_ledger_begin_anew_but_only_over_an_empty_queue() {
    let server = redis().await;
    let link = Arc::new(
        RedisLink::open(&RedisLinkOptions::new(&login(&server.url(), "consumer"), Duration::from_secs(3)))
            .unwrap(),
    );
    let observer = Observer::new(Arc::clone(&link), "fleet", "niu");
    let mut operator = connect(&login(&server.url(), "operator")).await;
    let mut stranger = connect(&server.url()).await;
    let repair = &script("begun anew");
    let said = |value| redis::from_redis_value::<String>(value).unwrap();

    Producer::new(Arc::clone(&link), "fleet", "niu").push(&[b"one".to_vec()]).await.unwrap();
    send(&mut stranger, &["RPUSH", "fleet:{niu}:queue", "not counted"]).await.unwrap();
    assert!(!observer.status().await.unwrap().balances());
    assert_eq!(said(send(&mut operator, repair).await.unwrap()), "not empty");
    assert!(!observer.status().await.unwrap().balances(), "the script has not changed the ledger");

    let consumer = Consumer::new(Arc::clone(&link), "fleet", "niu");
    let id = Uuid::now_v7();
    let limits = ClaimLimits { max_messages: 10, max_bytes: 1 << 20, lease: Duration::from_secs(30) };
    let lease = consumer.claim(id, id, limits).await.unwrap().unwrap();
    assert_eq!(said(send(&mut operator, repair).await.unwrap()), "not empty");
    consumer.ack(&lease).await.unwrap();
    assert!(!observer.status().await.unwrap().balances());
    assert_eq!(said(send(&mut operator, repair).await.unwrap()), "begun anew");
    assert!(observer.status().await.unwrap().balances());
}

#[tokio::test]
async fn the_runbook_makes_parked_batches_expired_leases_for_a_rollback() {
    let server = redis().await;
    let link = Arc::new(
        RedisLink::open(&RedisLinkOptions::new(&login(&server.url(), "consumer"), Duration::from_secs(3)))
            .unwrap(),
    );
    let consumer = Consumer::new(Arc::clone(&link), "fleet", "niu");
    let observer = Observer::new(Arc::clone(&link), "fleet", "niu");
    let mut operator = connect(&login(&server.url(), "operator")).await;
    let mut admin = connect(&server.url()).await;
    let rollback = script("#ids");
    let moved = |value| redis::from_redis_value::<u64>(value).unwrap();
    let lease_time = Duration::from_secs(30);
    let limits = ClaimLimits { max_messages: 1, max_bytes: 1 << 20, lease: lease_time };

    let producer = Producer::new(Arc::clone(&link), "fleet", "niu");
    producer.push(&[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]).await.unwrap();
    let mut parked = Vec::new();
    for _ in 0..2 {
        let id = Uuid::now_v7();
        let lease = consumer.claim(id, id, limits).await.unwrap().unwrap();
        assert!(consumer.park(&lease, Duration::from_secs(3600)).await.unwrap());
        parked.push((id, lease.items));
    }
    let id = Uuid::now_v7();
    let held = consumer.claim(id, id, limits).await.unwrap().unwrap();
    let takeover = || consumer.take_over_expired(Uuid::now_v7(), lease_time);
    assert!(takeover().await.unwrap().is_none(), "nothing of it is a lease that has expired");

    // After an outage the backlog may have filled Redis.
    send(&mut admin, &["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    assert_eq!(moved(send(&mut operator, &rollback).await.unwrap()), 2);
    let status = observer.status().await.unwrap();
    assert_eq!((status.parked, status.leases), (0, 3));
    assert!(status.balances(), "{status:?}");
    let mut taken = Vec::new();
    while let Some(lease) = takeover().await.unwrap() {
        assert_eq!(consumer.ack(&lease).await.unwrap(), 1);
        taken.push((lease.id, lease.items));
    }
    taken.sort();
    assert_eq!(taken, parked);
    assert!(consumer.extend(&held, lease_time).await.unwrap(), "the batch keeps its owner");
    assert_eq!(moved(send(&mut operator, &rollback).await.unwrap()), 0, "the second run does nothing");
}
