//! PgBouncer in transaction mode between the consumer and PostgreSQL.

use fleet_store::{DatabaseOptions, ErrorClass, Schema, migrate};
use fleet_testbed::{PgBouncer, Postgres, Proxy, StandbyOptions};

use super::abandoned::Lock;
use super::database;
use crate::process::program::{Program, Site, report};
use crate::support::eventually;

/// Settings that every PgBouncer in these tests has. PgBouncer reconnects to PostgreSQL every second, as after a
/// RECONNECT, even while consumers that are not ready keep sending queries.
const TRANSACTIONS: [&str; 4] =
    ["pool_mode = transaction", "default_pool_size = 2", "server_idle_timeout = 1", "server_lifetime = 1"];

/// In transaction mode the session's settings cannot reach PostgreSQL, so PgBouncer has to ignore them.
const IGNORE: &str = "ignore_startup_parameters = extra_float_digits, options";

/// The settings that the role needs instead.
const ROLE: &str =
    "ALTER ROLE fleet SET synchronous_commit = on; ALTER ROLE fleet SET statement_timeout = '30s'";

async fn blocking<T: Send + 'static>(start: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(start).await.unwrap()
}

/// A migrated PostgreSQL.
async fn postgres() -> Postgres {
    let postgres = blocking(|| Postgres::private(&[]).unwrap()).await;
    for schema in [Schema::State, Schema::Telemetry] {
        migrate(&DatabaseOptions::new(&postgres.url()), schema).await.unwrap();
    }
    postgres
}

/// A PgBouncer in front of `postgres`, with these settings in addition.
async fn pooler(postgres: Postgres, settings: &[&'static str]) -> (Postgres, PgBouncer) {
    let settings = [&TRANSACTIONS, settings].concat();
    blocking(move || {
        let pooler = PgBouncer::private(&postgres, "fleet", &settings).unwrap();
        (postgres, pooler)
    })
    .await
}

fn consumer(site: &Site) -> Program {
    let mut command = site.consumer(&[]);
    Program::start(command.env("FLEET_CONSUMER__RETRY_MIN", "20ms").env("FLEET_CONSUMER__RETRY_MAX", "200ms"))
}

fn count(postgres: &Postgres, table: &str) -> usize {
    postgres.psql(&format!("SELECT count(*) FROM {table}")).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_refusal_of_the_settings_names_the_cure() {
    let (_postgres, pooler) = pooler(postgres().await, &[]).await;
    let error = database(&pooler.url(), 1).query("SELECT 1", &[]).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("08P01") && said.contains("ignore_startup_parameters = options"), "{said}");
    assert_eq!(error.class(), ErrorClass::Unavailable);
}

#[tokio::test]
async fn without_its_settings_the_consumer_is_not_ready_and_with_them_it_works() {
    let (postgres, pooler) = pooler(postgres().await, &[IGNORE, "max_prepared_statements = 100"]).await;
    postgres.psql("ALTER DATABASE fleet SET synchronous_commit = off").unwrap();
    let site = Site::new(&pooler.url());
    let mut consumers = [consumer(&site), consumer(&site)];
    for consumer in &mut consumers {
        let log = consumer.logged("the database session cannot be used").await;
        assert!(log.contains("synchronous_commit is off") && log.contains("statement_timeout is 0"), "{log}");
        assert!(log.contains("ALTER ROLE fleet SET synchronous_commit = on"), "{log}");
        consumer.assert_running();
        assert_eq!(consumer.status("/readyz").await, Some(503));
    }
    // `migrate` takes a session lock. Behind the pooler, that lock might belong to another session a moment later.
    for settings in ["SELECT 1", ROLE] {
        postgres.psql(settings).unwrap();
        let error =
            migrate(&DatabaseOptions::new(&pooler.url()), Schema::State).await.unwrap_err().to_string();
        assert!(error.contains("let `migrate` connect directly"), "{error}");
    }
    for consumer in &mut consumers {
        consumer.readiness(200).await;
    }
    for round in 0..20 {
        // Each report is about another vehicle, because two reports of one vehicle in the same millisecond are one
        // event.
        let reports: Vec<_> = (0..25).map(|number| report(round * 25 + number)).collect();
        site.fill_with(&reports).await;
    }
    site.settled().await;
    for consumer in &mut consumers {
        consumer.assert_running();
    }
    assert_eq!((count(&postgres, "telemetry"), count(&postgres, "dead_letters")), (500, 0));
}

#[tokio::test]
async fn a_failover_behind_it_needs_no_restart() {
    let postgres = postgres().await;
    postgres.psql(ROLE).unwrap();
    let (postgres, standby, proxy, pooler) = blocking(move || {
        let standby = Postgres::standby_of(&postgres, StandbyOptions::default()).unwrap();
        let proxy = Proxy::start(postgres.port()).unwrap();
        let settings = [&TRANSACTIONS[..], &[IGNORE, "max_prepared_statements = 100"]].concat();
        let pooler = PgBouncer::in_front_of(proxy.port(), "fleet", &settings).unwrap();
        (postgres, standby, proxy, pooler)
    })
    .await;
    let site = Site::new(&pooler.url());
    let mut consumer = consumer(&site);
    site.fill_with(&(0..5).map(report).collect::<Vec<_>>()).await;
    site.settled().await;
    // Nothing is written meanwhile. What the standby has not received would be lost.
    let written = postgres.psql("SELECT pg_current_wal_flush_lsn()").unwrap();
    let received = format!("SELECT pg_last_wal_receive_lsn() >= '{written}'");
    eventually("the standby to have everything", async || {
        (standby.psql(&received).unwrap() == "t").then_some(())
    })
    .await;
    let standby = blocking(move || {
        postgres.destroy().unwrap();
        standby.promote().unwrap();
        proxy.retarget(standby.port());
        (standby, proxy)
    })
    .await;
    site.fill_with(&(5..10).map(report).collect::<Vec<_>>()).await;
    site.settled().await;
    consumer.assert_running();
    assert_eq!((count(&standby.0, "telemetry"), count(&standby.0, "dead_letters")), (10, 0));
}

#[tokio::test]
async fn a_dropped_statement_is_cancelled_behind_it() {
    let (postgres, pooler) = pooler(postgres().await, &[IGNORE, "max_prepared_statements = 100"]).await;
    postgres.psql(ROLE).unwrap();
    let lock = Lock::take(database(&postgres.url(), 1)).await;
    lock.assert_dropped_statements_are_cancelled(&database(&pooler.url(), 2)).await;
}

#[tokio::test]
async fn without_prepared_statements_nothing_is_buried_and_the_cure_is_named() {
    let (postgres, pooler) = pooler(postgres().await, &[IGNORE, "max_prepared_statements = 0"]).await;
    postgres.psql(ROLE).unwrap();
    let site = Site::new(&pooler.url());
    let consumers = [consumer(&site), consumer(&site), consumer(&site)];
    for _round in 0..20 {
        site.fill(5).await;
    }
    // Whichever consumer the pooler gives a session that another one has used.
    let said = |consumer: &Program| consumer.log().contains("max_prepared_statements above 0");
    eventually("a consumer to say what to do", async || consumers.iter().any(said).then_some(())).await;
    drop(consumers);
    assert_eq!(count(&postgres, "dead_letters"), 0);
    // Everything is still in the queue for a consumer that connects directly.
    let direct = Site { prefix: site.prefix.clone(), ..Site::new(&postgres.url()) };
    let mut command = direct.consumer(&[]);
    let mut consumer = Program::start(&mut command);
    consumer.readiness(200).await;
    consumer.assert_running();
}
