//! Another client writes to a queue's keys: what both programs log and do, and that the other queues are not affected.

use fleet_queue::{QueueKeys, RedisLink, RedisLinkOptions};
use fleet_testbed::RedisLogin;
use redis::FromRedisValue;

use super::program::{Program, Site, report, run};
use crate::observability::runbook;
use crate::support::{DEADLINE, TOKEN, TestDatabase, eventually, redis_as};

const COUNTED: &str = "something else has written to the queue: ";
const REPAIRED: &str = "the queue's keys are as they should be again";
const UNCOUNTED: &str = "Redis stores pushes and does not count them: answering 200, and estimating the backlog from the queue's length";

/// Both programs with two queues. The tests break the keys of `niu`.
struct Scene {
    site: Site,
    database: TestDatabase,
    api: Program,
    consumer: Program,
    keys: QueueKeys,
    posted: usize,
}

impl Scene {
    async fn start() -> Self {
        let database = TestDatabase::migrated().await;
        let site = Site::new(database.url());
        let mut api = Program::start(site.api(&[]).env("FLEET_PROVIDERS__INVERS__SECRETS", TOKEN));
        let often = [("FLEET_CONSUMER__STATUS_INTERVAL", "50ms"), ("FLEET_CONSUMER__RETRY_MAX", "100ms")];
        let mut consumer = Program::start(site.consumer(&[]).envs(often));
        api.readiness(200).await;
        consumer.readiness(200).await;
        let keys = QueueKeys::new(&site.prefix, "niu");
        let mut scene = Self { site, database, api, consumer, keys, posted: 0 };
        scene.takes_and_stores().await;
        scene
    }

    async fn redis<T: FromRedisValue>(&self, login: RedisLogin, words: &[&str]) -> T {
        let link =
            RedisLink::open(&RedisLinkOptions::new(&redis_as(login, &self.site.redis), DEADLINE)).unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        link.command(&command).await.unwrap()
    }

    async fn post_to(&mut self, provider: &str) -> u16 {
        self.posted += 1;
        let url = self.api.webhooks().replace("niu", provider);
        // INVERS' body becomes a dead letter, which counts as stored as well.
        let body = if provider == "niu" { report(self.posted) } else { "x".to_owned() };
        let posted = reqwest::Client::new().post(url).header("token", TOKEN).bearer_auth(TOKEN).body(body);
        posted.send().await.unwrap().status().as_u16()
    }

    async fn stored(&self, provider: &str) -> i64 {
        let sql = "SELECT coalesce(sum(messages), 0)::bigint FROM (SELECT 1 AS messages FROM telemetry WHERE provider = $1 \
                   UNION ALL SELECT 1 FROM dead_letters WHERE provider = $1) AS stored";
        self.database.client().await.query_one(sql, &[&provider]).await.unwrap().get(0)
    }

    /// Posts to NIU. The API must accept the webhook and the consumer must store it.
    async fn takes_and_stores(&mut self) {
        let before = self.stored("niu").await;
        eventually("a webhook to be taken", async || (self.post_to("niu").await == 200).then_some(())).await;
        self.stores("niu", before).await;
    }

    async fn stores(&self, provider: &str, before: i64) {
        let stored = async || (self.stored(provider).await > before).then_some(());
        eventually(&format!("{provider}'s message to be stored"), stored).await;
    }

    /// Asserts that the other queue works and both programs are ready.
    async fn others_work(&mut self) {
        let before = self.stored("invers").await;
        assert_eq!(self.post_to("invers").await, 200);
        self.stores("invers", before).await;
        self.api.readiness(200).await;
        self.consumer.readiness(200).await;
    }

    /// Asserts that log, metrics and audit name the key, the kind of fault and what is wrong.
    async fn is_named(&self, key: &str, kind: &str, what: &str) {
        let log = self.consumer.logged(COUNTED).await;
        let line = log.lines().find(|line| line.contains(COUNTED)).unwrap();
        assert!(line.contains(key) && line.contains(what) && line.contains(kind), "{line}");
        let counted = format!("fleet_consumer_redis_errors_total{{kind=\"{kind}\"}}");
        eventually("the fault to be counted", async || {
            (self.consumer.metric(&counted).await >= 1.0).then_some(())
        })
        .await;
        let balanced = "fleet_queue_ledger_balanced{queue=\"niu\"}";
        assert!(self.consumer.metric(balanced).await < 1.0);
        assert!(self.consumer.metric(&balanced.replace("niu", "invers")).await > 0.0);
        let audit = run(&mut self.site.consumer(&["audit"])).await;
        let said = audit.output.lines().find(|line| line.starts_with("niu: ") && line.contains(key));
        assert!(audit.code == Some(1) && said.is_some_and(|line| line.contains(what)), "{audit:?}");
    }

    async fn api_counted(&self, kind: &str) {
        assert!(self.api.metric(&format!("fleet_api_redis_errors_total{{kind=\"{kind}\"}}")).await >= 1.0);
    }

    /// Renames the key as the runbook says, as the operator's user.
    async fn rename(&self, key: &str) {
        let foreign = format!("{}:{{niu}}:foreign", self.site.prefix);
        assert_eq!(self.redis::<u64>(RedisLogin::Operator, &["RENAMENX", key, &foreign]).await, 1);
    }

    /// Asserts that both programs recover without a restart.
    async fn recovers(&mut self) {
        self.takes_and_stores().await;
        self.consumer.logged(REPAIRED).await;
        self.consumer.assert_running();
        self.api.assert_running();
    }
}

#[tokio::test]
async fn a_queue_of_another_type() {
    let mut scene = Scene::start().await;
    let queue = scene.keys.queue.clone();
    // The API's user could do this before its rights had selectors.
    scene.redis::<i64>(RedisLogin::Admin, &["HINCRBY", &queue, "x", "1"]).await;
    assert_eq!(scene.post_to("niu").await, 503);
    let said = scene
        .api
        .logged("pushes to Redis fail: answering 503; message_id is the first message of the latest push")
        .await;
    assert!(said.contains(&queue) && said.contains("wrong_type"), "{said}");
    scene.api_counted("wrong_type").await;
    scene.is_named(&queue, "wrong_type", "must be of the type list and is hash").await;
    scene.others_work().await;
    scene.rename(&queue).await;
    scene.recovers().await;
    let audit = run(&mut scene.site.consumer(&["audit"])).await;
    assert_eq!(audit.code, Some(0), "refused pushes are not missing: {audit:?}");
}

#[tokio::test]
async fn a_ledger_of_another_type() {
    let mut scene = Scene::start().await;
    let ledger = scene.keys.ledger.clone();
    scene.redis::<()>(RedisLogin::Admin, &["SET", &ledger, "x"]).await;
    scene.takes_and_stores().await;
    let said = scene.api.logged(UNCOUNTED).await;
    assert!(said.contains(&ledger) && said.contains("wrong_type"), "{said}");
    scene.api_counted("wrong_type").await;
    scene.is_named(&ledger, "wrong_type", "must be of the type hash and is string").await;
    scene.others_work().await;
    scene.rename(&ledger).await;
    scene.recovers().await;
    scene.api.logged("Redis counts pushes again").await;
}

#[tokio::test]
async fn leases_of_another_type() {
    let mut scene = Scene::start().await;
    let leases = scene.keys.leases.clone();
    scene.redis::<i64>(RedisLogin::Admin, &["DEL", &leases]).await;
    scene.redis::<i64>(RedisLogin::Admin, &["SADD", &leases, "x"]).await;
    let before = scene.stored("niu").await;
    assert_eq!(scene.post_to("niu").await, 200);
    scene.is_named(&leases, "wrong_type", "must be of the type zset and is set").await;
    scene.others_work().await;
    assert_eq!(scene.stored("niu").await, before, "the queue waits");
    scene.rename(&leases).await;
    scene.stores("niu", before).await;
    scene.recovers().await;
}

#[tokio::test]
async fn a_batchs_list_of_another_type_while_its_owner_works() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let mut client = database.client().await;
    let blocking = client.transaction().await.unwrap();
    blocking.batch_execute("LOCK TABLE vehicles").await.unwrap();
    site.fill(2).await;
    let mut command = site.consumer(&[]);
    let consumer =
        Program::start(command.env("FLEET_CONSUMER__LEASE", "1s").env("FLEET_CONSUMER__HEARTBEAT", "300ms"));
    let keys = QueueKeys::new(&site.prefix, "niu");
    let redis = async |words: &[&str]| -> redis::Value {
        let mut command = redis::cmd(words[0]);
        site.link().command(command.arg(&words[1..])).await.unwrap()
    };
    let id = eventually("a batch at work", async || {
        let leases = redis(&["ZRANGE", &keys.leases, "0", "-1"]).await;
        Vec::<String>::from_redis_value(leases).unwrap().pop()
    })
    .await;
    let (list, backup) = (keys.lease(id.parse().unwrap()), format!("{}:backup", site.prefix));
    redis(&["RENAME", &list, &backup]).await;
    redis(&["SADD", &list, "x"]).await;
    blocking.rollback().await.unwrap();
    eventually("the batch to be given up", async || {
        let lost = consumer.metric(r#"fleet_consumer_leases_total{provider="niu",fate="lost"}"#).await;
        (lost == 1.0).then_some(())
    })
    .await;
    redis(&["RENAME", &backup, &list]).await;
    site.settled().await;
    let stored = client.query_one("SELECT count(*) FROM vehicles", &[]).await.unwrap();
    assert_eq!(stored.get::<_, i64>(0), 2);
}

#[tokio::test]
async fn counters_that_cannot_be() {
    let mut scene = Scene::start().await;
    let ledger = scene.keys.ledger.clone();
    // The API's user has the right to do this.
    scene.redis::<i64>(RedisLogin::Api, &["HINCRBY", &ledger, "accepted_messages", "-1000"]).await;
    scene.takes_and_stores().await;
    let said = scene.api.logged(UNCOUNTED).await;
    assert!(said.contains(&ledger) && said.contains("corrupt"), "{said}");
    scene.api_counted("corrupt").await;
    scene.is_named(&ledger, "corrupt", "accepted_messages is negative").await;
    scene.others_work().await;
    assert!(!scene.api.logged("").await.contains("Redis has gone back"));
    assert!(!scene.consumer.logged("").await.contains("Redis has gone back"));
    let mut begin_anew = runbook::redis_commands().into_iter().filter(|command| command[0] == "EVAL");
    let begin_anew = begin_anew.find(|command| command[1].contains("begun anew")).unwrap();
    let own: Vec<_> = begin_anew.iter().map(|word| word.replace("fleet:{niu}", scene.keys.name())).collect();
    let words: Vec<_> = own.iter().map(String::as_str).collect();
    eventually("the ledger to begin anew", async || {
        let said: String = scene.redis(RedisLogin::Operator, &words).await;
        (said == "begun anew").then_some(())
    })
    .await;
    scene.recovers().await;
}

#[tokio::test]
async fn without_a_ledger_the_queues_length_keeps_the_cap() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let mut api = Program::start(site.api(&[]).env("FLEET_PROVIDERS__NIU__MAX_BACKLOG_BYTES", "3000"));
    api.readiness(200).await;
    let link = site.link();
    let keys = QueueKeys::new(&site.prefix, "niu");
    let () = link.command(redis::cmd("SET").arg(&keys.ledger).arg("x")).await.unwrap();
    let post = async || {
        let posted = reqwest::Client::new().post(api.webhooks()).header("token", TOKEN).body(report(1));
        posted.send().await.unwrap().status().as_u16()
    };
    let refused = async || (post().await == 503).then_some(());
    eventually("the backlog to be above its cap", refused).await;
    let log = api.logged("backlog above its cap: accepting no more webhooks until consumers catch up").await;
    assert_eq!(log.matches("backlog above its cap").count(), 1, "{log}");
    let waiting: u64 = link.command(redis::cmd("LLEN").arg(&keys.queue)).await.unwrap();
    assert!((3..40).contains(&waiting), "{waiting}");
    let _consumer = Program::start(&mut site.consumer(&[]));
    // The API also responds 200 if it knows only the queue's length, so the log has to show that there is room again.
    eventually("webhooks to be taken again", async || {
        let taken = post().await == 200;
        let log = api.logged("").await;
        (taken && log.contains("backlog below its cap again: accepting webhooks")).then_some(())
    })
    .await;
}
