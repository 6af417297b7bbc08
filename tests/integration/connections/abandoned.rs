//! Statements whose caller has stopped waiting: the server must cancel them instead of running them until
//! `statement_timeout`.

use std::time::{Duration, Instant};

use fleet_store::{Database, DatabaseOptions, StoreError};
use fleet_testbed::Proxy;

use super::{database, options, port, through};
use crate::support::{TestDatabase, eventually};

/// Far below the 30 s of `statement_timeout`.
const SOON: Duration = Duration::from_secs(5);

const WAIT: &str = "SELECT pg_advisory_xact_lock(7)";

/// A session that holds the lock for which [`WAIT`] waits. Its pool has one connection, so the lock stays with it.
pub(crate) struct Lock(Database);

impl Lock {
    pub(crate) async fn take(only: Database) -> Self {
        assert_eq!(only.pool_usage().max, 1);
        only.query("SELECT pg_advisory_lock(7)", &[]).await.unwrap();
        Self(only)
    }

    /// The number of backends that wait for the lock.
    async fn waiting(&self) -> i64 {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                      AND state = 'active' AND query LIKE '%pg_advisory_xact_lock(7)%' AND pid <> pg_backend_pid()";
        self.0.query(count, &[]).await.unwrap()[0].get(0)
    }

    /// Two statements are dropped while they wait for the lock. Their backends must end soon.
    pub(crate) async fn assert_dropped_statements_are_cancelled(&self, database: &Database) {
        let both = async { tokio::join!(database.query(WAIT, &[]), database.query(WAIT, &[])) };
        tokio::select! {
            ended = both => panic!("the lock did not hold: {ended:?}"),
            () = self.wait_for(2) => {}
        }
        self.assert_nobody_waits_soon().await;
    }

    async fn wait_for(&self, waiting: i64) {
        let what = format!("{waiting} backends to wait for the lock");
        eventually(&what, async || (self.waiting().await == waiting).then_some(())).await;
    }

    async fn assert_nobody_waits_soon(&self) {
        let start = Instant::now();
        self.wait_for(0).await;
        assert!(start.elapsed() < SOON, "the backends continued for {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_dropped_statement_is_cancelled_in_the_server() {
    let test = TestDatabase::migrated().await;
    let lock = Lock::take(database(test.url(), 1)).await;
    lock.assert_dropped_statements_are_cancelled(&database(test.url(), 2)).await;
}

#[tokio::test]
async fn a_statement_that_the_server_does_not_end_in_time_is_cancelled() {
    let test = TestDatabase::migrated().await;
    let lock = Lock::take(database(test.url(), 1)).await;
    let second = Duration::from_secs(1);
    let timeouts =
        DatabaseOptions { connect_timeout: second, statement_timeout: second, ..options(test.url(), 1) };
    let database = Database::open(&timeouts).unwrap();
    database.query("SELECT set_config('statement_timeout', '0', false)", &[]).await.unwrap();
    let error = database.query(WAIT, &[]).await.unwrap_err();
    assert!(matches!(error, StoreError::Timeout(_)), "{error}");
    lock.assert_nobody_waits_soon().await;
}

#[tokio::test]
async fn a_statement_whose_connection_is_cut_is_cancelled() {
    let test = TestDatabase::migrated().await;
    let lock = Lock::take(database(test.url(), 1)).await;
    let proxy = Proxy::start(port(test.url())).unwrap();
    let database = database(&through(&proxy, test.url()), 1);
    let cut = async {
        lock.wait_for(1).await;
        proxy.cut();
    };
    let (result, ()) = tokio::join!(database.query(WAIT, &[]), cut);
    assert_eq!(result.unwrap_err().label(), "io");
    lock.assert_nobody_waits_soon().await;
}

#[tokio::test]
async fn a_repeated_insert_does_not_wait_for_the_abandoned_one() {
    let test = TestDatabase::migrated().await;
    let client = test.client().await;
    client.batch_execute("CREATE TABLE numbers (number int PRIMARY KEY)").await.unwrap();
    let database = database(test.url(), 2);
    let slow =
        "WITH stored AS (INSERT INTO numbers VALUES (1) RETURNING number) SELECT pg_sleep(25) FROM stored";
    let sleeping = async {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        eventually("the insert to sleep", async || {
            (client.query_one(count, &[]).await.unwrap().get::<_, i64>(0) == 1).then_some(())
        })
        .await;
    };
    tokio::select! {
        ended = database.query(slow, &[]) => panic!("the statement did not sleep: {ended:?}"),
        () = sleeping => {}
    }
    let start = Instant::now();
    database.query("INSERT INTO numbers VALUES (1)", &[]).await.unwrap();
    assert!(start.elapsed() < SOON, "it waited {:?} for the abandoned insert", start.elapsed());
}
