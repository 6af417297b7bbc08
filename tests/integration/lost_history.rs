//! A Redis that has forgotten accepted messages, and restarts that only look like it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fleet_consumer::commands::accept_loss::accept_loss;
use fleet_consumer::commands::audit::ledgers::Audit;
use fleet_queue::{Producer, RedisLink, RedisLinkOptions};
use fleet_testbed::{Redis, RedisOptions, redis_users_for_tests};

use crate::process::program::{Program, Site, report};
use crate::support::{Fleet, TOKEN, TestDatabase, eventually};

async fn private_redis(options: RedisOptions) -> Redis {
    tokio::task::spawn_blocking(move || Redis::private_with(options).unwrap()).await.unwrap()
}

async fn api_on(database: &TestDatabase, redis: &Redis) -> Fleet {
    Fleet::api_only(&[("FLEET_DATABASE_URL", database.url()), ("FLEET_REDIS_URL", &redis.url())]).await
}

async fn restart(mut redis: Redis) -> Redis {
    let restarting = tokio::task::spawn_blocking(move || {
        redis.restart().unwrap();
        redis
    });
    restarting.await.unwrap()
}

async fn command(redis_url: &str, words: &[&str]) {
    let link = RedisLink::open(&RedisLinkOptions::new(redis_url, Duration::from_secs(5))).unwrap();
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    let _reply: redis::Value = link.command(&command).await.unwrap();
}

async fn audit(fleet: &Fleet) -> Audit {
    Audit::read(&fleet.settings).await.unwrap()
}

async fn post(fleet: &Fleet, messages: usize) {
    for number in 0..messages {
        let request = reqwest::Client::new().post(format!("{}/webhooks/niu", fleet.api));
        let response = request.header("token", TOKEN).body(report(number)).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

async fn assert_unaccounted(fleet: &Fleet, messages: usize) {
    let found = audit(fleet).await;
    assert!(!found.balances(), "{found}");
    let said = format!("niu: up to {messages} webhooks that were answered 200 are unaccounted for since 2");
    assert!(found.to_string().contains(&said), "{found}");
}

#[tokio::test]
async fn an_emptied_redis_is_found_until_people_accept_the_loss() {
    let database = TestDatabase::migrated().await;
    let redis = private_redis(RedisOptions::default()).await;
    let fleet = api_on(&database, &redis).await;
    post(&fleet, 5).await;
    let before = audit(&fleet).await;
    assert!(before.balances(), "{before}");
    command(&redis.url(), &["FLUSHALL"]).await;
    assert_unaccounted(&fleet, 5).await;
    // Messages accepted after the loss are counted separately and do not hide it.
    post(&fleet, 2).await;
    assert_unaccounted(&fleet, 5).await;
    command(&redis.url(), &["FLUSHALL"]).await;
    assert_unaccounted(&fleet, 7).await;

    let name = format!("{}:{{niu}}", fleet.settings.queue.prefix);
    assert_eq!(accept_loss(&fleet.settings).await.unwrap(), [(name, 7)]);
    let after = audit(&fleet).await;
    assert!(after.balances(), "{after}");
    assert_eq!(accept_loss(&fleet.settings).await.unwrap(), []);
}

#[tokio::test]
async fn an_old_file_is_found() {
    let database = TestDatabase::migrated().await;
    let mut redis = private_redis(RedisOptions::default()).await;
    let fleet = api_on(&database, &redis).await;
    post(&fleet, 3).await;
    audit(&fleet).await;
    let old = files(&redis.append_only_folder());
    post(&fleet, 4).await;
    assert!(audit(&fleet).await.balances());
    // As if somebody had restored an old snapshot of the disk.
    redis.kill().unwrap();
    for (path, bytes) in &old {
        std::fs::write(path, bytes).unwrap();
    }
    let redis = restart(redis).await;
    assert_unaccounted(&fleet, 4).await;
    drop(redis);
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

#[tokio::test]
async fn a_default_user_without_rights_is_noticed_before_a_restart_and_its_loss_after_it() {
    let database = TestDatabase::migrated().await;
    let acl = redis_users_for_tests().replace("user default off resetpass ~* &* +@all", "user default off");
    let redis = private_redis(RedisOptions { acl: Some(acl), ..RedisOptions::default() }).await;
    let fleet = api_on(&database, &redis).await;
    post(&fleet, 6).await;
    let before = audit(&fleet).await;
    assert!(before.balances() && before.loses_at_restart(), "{before}");
    assert!(before.to_string().contains("ACL SETUSER default off resetpass ~* &* +@all"), "{before}");
    let redis = restart(redis).await;
    assert_unaccounted(&fleet, 6).await;
    drop(redis);
}

#[tokio::test]
async fn restarts_are_no_loss() {
    let database = TestDatabase::migrated().await;
    let mut redis = private_redis(RedisOptions::default()).await;
    let variables = [("FLEET_DATABASE_URL", database.url()), ("FLEET_REDIS_URL", &redis.url())];
    let mut fleet = Fleet::start_with(&variables).await;
    for _ in 0..2 {
        post(&fleet, 3).await;
        audit(&fleet).await;
        redis = restart(redis).await;
        let found =
            eventually("the audit to reach Redis", async || Audit::read(&fleet.settings).await.ok()).await;
        assert!(found.balances(), "{found}");
        fleet.start_consumer();
    }
    fleet.settled().await;
    // An empty queue may lose its ledger: nothing is missing if an audit has seen it empty.
    assert!(audit(&fleet).await.balances());
    command(&redis.url(), &["FLUSHALL"]).await;
    let found = audit(&fleet).await;
    assert!(found.balances(), "{found}");
}

#[tokio::test]
async fn both_programs_show_a_loss() {
    let database = TestDatabase::migrated().await;
    let redis = private_redis(RedisOptions::default()).await;
    let mut site = Site::new(database.url());
    site.redis = redis.url();
    let mut api = Program::start(&mut site.api(&[]));
    let mut command_line = site.consumer(&[]);
    let consumer = Program::start(command_line.env("FLEET_CONSUMER__STATUS_INTERVAL", "100ms"));
    api.readiness(200).await;
    let unaccounted = r#"fleet_queue_unaccounted_messages{queue="niu"}"#;
    assert!(consumer.metric(unaccounted).await.abs() < 0.5);
    let post = async |number| {
        let request = reqwest::Client::new().post(api.webhooks()).header("token", TOKEN).body(report(number));
        assert_eq!(request.send().await.unwrap().status(), 200);
    };
    // Nothing is settled from here on, because the consumer waits for this lock.
    let client = database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE vehicles, telemetry").await.unwrap();
    post(1).await;
    post(2).await;
    eventually("the consumer to have seen both", async || {
        let seen = database.client().await;
        let sql = "SELECT accepted FROM queue_witnesses WHERE queue LIKE '%{niu}'";
        let row = seen.query_opt(sql, &[]).await.unwrap()?;
        (row.get::<_, i64>(0) == 2).then_some(())
    })
    .await;
    command(&redis.url(), &["FLUSHALL"]).await;
    post(3).await;
    let shown = api.metric(r#"fleet_api_unaccounted_messages_total{provider="niu",queue="niu"}"#).await;
    assert!((shown - 2.0).abs() < 0.5, "{shown}");
    eventually("the consumer to show it", async || (consumer.metric(unaccounted).await > 1.5).then_some(()))
        .await;
    api.logged("up to so many webhooks that were answered 200 are gone").await;
    consumer.logged("Redis has gone back behind what it had confirmed: up to so many webhooks").await;
}

#[tokio::test]
async fn a_cluster_is_refused_at_the_start() {
    let database = TestDatabase::migrated().await;
    let options = RedisOptions {
        extra: ["--cluster-enabled", "yes"].map(str::to_owned).into(),
        ..RedisOptions::default()
    };
    let redis = private_redis(options).await;
    let mut site = Site::new(database.url());
    site.redis = redis.url();
    for mut command in [site.api(&[]), site.consumer(&[])] {
        let ended = Program::start(&mut command).ended().await;
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(
            ended.errors.contains("runs in cluster mode; set FLEET_REDIS__TOPOLOGY=cluster"),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn a_push_after_every_killed_connection_is_taken() {
    let redis = private_redis(RedisOptions::default()).await;
    let fleet = Fleet::api_only(&[("FLEET_REDIS_URL", &redis.url())]).await;
    for _ in 0..20 {
        post(&fleet, 1).await;
        command(&redis.url(), &["CLIENT", "KILL", "TYPE", "normal"]).await;
    }
    let link =
        Arc::new(RedisLink::open(&RedisLinkOptions::new(&redis.url(), Duration::from_secs(5))).unwrap());
    let ledger = Producer::new(link, &fleet.settings.queue.prefix, "niu").ledger().await.unwrap();
    assert_eq!(ledger.accepted.messages, 20);
}
