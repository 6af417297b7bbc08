//! A Redis whose default user has no rights drops its queue at a restart. The tests follow docs/runbook.md ("A restart
//! that dropped the queue") to recover it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fleet_consumer::commands::accept_loss::accept_loss;
use fleet_consumer::commands::audit::ledgers::Audit;
use fleet_queue::{ClaimLimits, Consumer, Lease, Mark, RedisLink, RedisLinkOptions};
use fleet_testbed::{Redis, RedisOptions, redis_users_for_tests};
use redis::FromRedisValue;
use uuid::Uuid;

use crate::observability::runbook::script;
use crate::process::program::report;
use crate::support::{Fleet, TOKEN, TestDatabase, eventually};

/// Longer than a test runs.
const LONG: Duration = Duration::from_secs(600);
/// Expires at once, like the lease of a consumer that has ended.
const SHORT: Duration = Duration::from_millis(1);

/// A Redis without rights for its default user, an API, and a database.
struct Rig {
    database: TestDatabase,
    redis: Option<Redis>,
    fleet: Fleet,
    consumer: Consumer,
    posted: usize,
}

impl Rig {
    async fn start() -> Self {
        let database = TestDatabase::migrated().await;
        let acl = redis_users_for_tests().replace("default off resetpass ~* &* +@all", "default off");
        let options = RedisOptions { acl: Some(acl), ..RedisOptions::default() };
        let redis = tokio::task::spawn_blocking(|| Redis::private_with(options).unwrap()).await.unwrap();
        let variables = [("FLEET_DATABASE_URL", database.url()), ("FLEET_REDIS_URL", &redis.url())];
        let fleet = Fleet::api_only(&variables).await;
        let link = RedisLink::open(&RedisLinkOptions::new(
            fleet.settings.redis_url.expose(),
            Duration::from_secs(5),
        ))
        .unwrap();
        let consumer = Consumer::new(Arc::new(link), &fleet.settings.queue.prefix, "niu");
        Self { database, redis: Some(redis), fleet, consumer, posted: 0 }
    }

    fn redis(&self) -> &Redis {
        self.redis.as_ref().unwrap()
    }

    async fn post(&mut self, messages: usize) {
        for _ in 0..messages {
            self.posted += 1;
            let request = reqwest::Client::new().post(format!("{}/webhooks/niu", self.fleet.api));
            let request = request.header("token", TOKEN).body(report(self.posted));
            assert_eq!(request.send().await.unwrap().status(), 200);
        }
    }

    async fn claim(&self, lease: Duration) -> Lease {
        let (id, token) = (Uuid::now_v7(), Uuid::now_v7());
        let limits = ClaimLimits { max_messages: 2, max_bytes: 1 << 20, lease };
        self.consumer.claim(id, token, limits).await.unwrap().unwrap()
    }

    /// `kill -9`, then a restart with the same append-only file.
    async fn restart(&mut self) {
        let mut redis = self.redis.take().unwrap();
        let restarting = tokio::task::spawn_blocking(move || {
            redis.restart().unwrap();
            redis
        });
        self.redis = Some(restarting.await.unwrap());
    }

    /// A restart with the repaired ACL file and the same append-only file.
    async fn restart_with_rights(&mut self) {
        self.redis().set_acl(&redis_users_for_tests()).unwrap();
        self.restart().await;
    }

    async fn audit(&self) -> Audit {
        Audit::read(&self.fleet.settings).await.unwrap()
    }

    /// Runs a command as the administrator.
    async fn redis_command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let link =
            RedisLink::open(&RedisLinkOptions::new(&self.redis().url(), Duration::from_secs(5))).unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        link.command(&command).await.unwrap()
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{{niu}}:{name}", self.fleet.settings.queue.prefix)
    }

    async fn assert_lost(&self, messages: usize) {
        let found = self.audit().await;
        assert!(!found.balances(), "{found}");
        let said = format!("niu: up to {messages} webhooks that were answered 200 are unaccounted for");
        assert!(found.to_string().contains(&said), "{found}");
    }

    /// The audit does not balance until an operator accepts the messages as lost for now. Then it does.
    async fn assert_balances_once_accepted(&self) {
        assert!(!self.audit().await.balances());
        assert_eq!(accept_loss(&self.fleet.settings).await.unwrap().len(), 1);
        let found = self.audit().await;
        assert!(found.balances(), "{found}");
    }

    async fn stored(&self) -> usize {
        let client = self.database.client().await;
        let row = client.query_one("SELECT count(*) FROM telemetry", &[]).await.unwrap();
        usize::try_from(row.get::<_, i64>(0)).unwrap()
    }
}

#[tokio::test]
async fn everything_comes_back_if_no_consumer_has_worked_meanwhile() {
    let mut rig = Rig::start().await;
    rig.post(9).await;
    let settled = rig.claim(LONG).await;
    assert_eq!(rig.consumer.ack(&settled).await.unwrap(), 2);
    rig.claim(SHORT).await;
    assert!(rig.audit().await.balances());
    rig.restart().await;
    assert_eq!(rig.fleet.queue("niu").await.accepted.messages, 0);
    rig.assert_lost(7).await;
    // The API continues to accept webhooks.
    rig.post(3).await;
    let claimed: Option<u64> = rig.redis_command(&["HGET", &rig.key("ledger"), "claimed_messages"]).await;
    assert_eq!(claimed, None, "by this the runbook tells that no consumer has worked meanwhile");

    rig.restart_with_rights().await;
    let status = rig.fleet.queue("niu").await;
    assert!(status.balances(), "{status:?}");
    assert_eq!((status.accepted.messages, status.claimed.messages, status.settled.messages), (12, 4, 2));
    assert_eq!((status.waiting_messages, status.leases), (8, 1));
    let found = rig.audit().await.to_string();
    assert!(!found.contains("in no batch that has an owner's record"), "{found}");
    rig.fleet.start_consumer();
    rig.fleet.settled().await;
    assert_eq!(rig.stored().await, 10, "all but the two that were settled without being stored");
    rig.assert_balances_once_accepted().await;
}

/// Commands outside of transactions survive the lossy restart. The keys that consumers then make from them conflict
/// with the batches when these come back.
#[tokio::test]
async fn orphaned_batches_are_found_and_reclaimed() {
    let mut rig = Rig::start().await;
    rig.post(7).await;
    // Single commands survive the restart, so the owner's record does. An expiry does not, because the single command
    // only updates it.
    let extended = rig.claim(LONG).await;
    assert!(rig.consumer.extend(&extended, SHORT).await.unwrap());
    let marked = rig.claim(LONG).await;
    assert!(rig.consumer.mark(&marked, Mark::Clear).await.unwrap());
    assert!(rig.consumer.extend(&marked, SHORT).await.unwrap());
    rig.audit().await;
    rig.restart().await;
    rig.assert_lost(7).await;
    // A running consumer adds expiries for records that have none, and then removes leases without messages.
    assert_eq!(rig.consumer.reclaim().await.unwrap(), Some(1));
    assert!(rig.consumer.take_over_expired(Uuid::now_v7(), LONG).await.unwrap().is_none());

    rig.restart_with_rights().await;
    // A repair of the append-only file may also have removed an expiry and left its record.
    let removed: u64 = rig.redis_command(&["ZREM", &rig.key("leases"), &extended.id.to_string()]).await;
    assert_eq!(removed, 1);
    let found = rig.audit().await.to_string();
    assert!(found.contains("2 claimed messages are in no batch that has an owner's record"), "{found}");
    let lists: Vec<String> = rig.redis_command(&["KEYS", &rig.key("lease:*")]).await;
    let leases: Vec<String> = rig.redis_command(&["ZRANGE", &rig.key("leases"), "0", "-1"]).await;
    assert_eq!((lists.len(), leases.len()), (2, 0), "{lists:?} {leases:?}");
    // The consumer itself recovers the batch with a record. The runbook's command recovers the other one.
    let orphan = marked.id.to_string();
    assert!(lists.contains(&rig.key(&format!("lease:{orphan}"))), "{lists:?}");
    rig.fleet.start_consumer();
    eventually("the consumer to reclaim the batch that has a record", async || {
        (rig.fleet.queue("niu").await.settled.messages == 5).then_some(())
    })
    .await;
    let _added: u64 = rig.redis_command(&["ZADD", &rig.key("leases"), "0", &orphan]).await;
    rig.fleet.settled().await;
    assert_eq!(rig.stored().await, 7);
    rig.assert_balances_once_accepted().await;
}

#[tokio::test]
async fn a_recovery_server_brings_back_what_consumers_have_worked_past() {
    let mut rig = Rig::start().await;
    rig.post(6).await;
    rig.claim(SHORT).await;
    rig.audit().await;
    rig.restart().await;
    rig.post(4).await;
    rig.fleet.start_consumer();
    rig.fleet.settled().await;
    assert_eq!(rig.stored().await, 4);
    rig.assert_lost(6).await;
    let claimed: Option<u64> = rig.redis_command(&["HGET", &rig.key("ledger"), "claimed_messages"]).await;
    assert!(claimed.is_some(), "by this the runbook tells that consumers have worked meanwhile");

    let recovery = recovery_server(rig.redis()).await;
    let prefix = rig.fleet.settings.queue.prefix.clone();
    let mut recovering = Fleet::api_only(&[
        ("FLEET_DATABASE_URL", rig.database.url()),
        ("FLEET_REDIS_URL", &recovery.url()),
        ("FLEET_QUEUE__PREFIX", &prefix),
        ("FLEET_CONSUMER__STATUS_INTERVAL", "1h"),
    ])
    .await;
    let status = recovering.queue("niu").await;
    assert!(status.balances(), "{status:?}");
    assert_eq!((status.accepted.messages, status.waiting_messages, status.leases), (6, 4, 1));
    recovering.start_consumer();
    recovering.settled().await;
    assert_eq!(rig.stored().await, 10);
    recovering.stop().await;

    // From now on the append-only file contains only what Redis holds.
    let _started: String = rig.redis_command(&["BGREWRITEAOF"]).await;
    rig.assert_balances_once_accepted().await;
}

/// A server with a copy of the append-only file, truncated as in the runbook where the lossy restart began.
async fn recovery_server(lossy: &Redis) -> Redis {
    let start = || Redis::private_with(RedisOptions::default()).unwrap();
    let mut recovery = tokio::task::spawn_blocking(start).await.unwrap();
    recovery.kill().unwrap();
    let (from, to) = (lossy.append_only_folder(), recovery.append_only_folder());
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        // Overwrites the new server's own files, which have the same names.
        let target = to.join(file.file_name());
        assert!(target.exists(), "{}", target.display());
        std::fs::write(target, std::fs::read(file.path()).unwrap()).unwrap();
    }
    cut_off_last_start(&to);
    let restarting = tokio::task::spawn_blocking(move || {
        recovery.restart().unwrap();
        recovery
    });
    restarting.await.unwrap()
}

fn cut_off_last_start(folder: &Path) {
    let script = script("truncate");
    let output = Command::new("bash").args(["-euc", &script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let starts = String::from_utf8(output.stdout).unwrap();
    assert_eq!(starts.lines().count(), 2, "the first start and the lossy one: {starts}");
}
