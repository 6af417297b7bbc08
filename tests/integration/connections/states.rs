//! SQLSTATEs that are not the data's fault: the consumer retries, and makes no dead letters.

use fleet_store::ErrorClass;

use super::{buried, database, fail};
use crate::process::program::{Program, Site};
use crate::support::{TestDatabase, eventually};

/// More than [`fleet_store::SESSION_RETRIES`].
const FOR_LONG: usize = 12;

/// A consumer that retries quickly.
fn consumer(site: &Site) -> Program {
    let mut command = site.consumer(&[]);
    Program::start(command.env("FLEET_CONSUMER__RETRY_MIN", "5ms").env("FLEET_CONSUMER__RETRY_MAX", "20ms"))
}

#[tokio::test]
async fn what_a_fresh_connection_may_cure_is_retried_and_never_buried() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    let site = Site::new(database.url());
    let mut consumer = consumer(&site);
    consumer.readiness(200).await;
    for (number, state) in [
        "26000", "42P05", "XX000", "0A000", "23514", "25P02", "34000", "42P01", "42703", "P0001", "22012",
        "22023", "23000", "23502", "2200H", "54000", "54011",
    ]
    .into_iter()
    .enumerate()
    {
        for table in ["settled_state_batches", "settled_batches"] {
            fail(&client, "INSERT", table, state, 6).await;
        }
        site.fill(3).await;
        site.settled().await;
        consumer.assert_running();
        assert_eq!(buried(&client).await, 0, "{state}");
        let sum = "SELECT sum(inserted) FROM settled_batches";
        let sum: i64 = client.query_one(sum, &[]).await.unwrap().get(0);
        assert_eq!(sum, 3 * (i64::try_from(number).unwrap() + 1), "{state}");
    }
}

#[tokio::test]
async fn what_an_operator_cures_is_waited_for() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    let site = Site::new(database.url());
    let mut consumer = consumer(&site);
    consumer.readiness(200).await;
    for state in ["42501", "55000", "55006"] {
        fail(&client, "INSERT", "settled_state_batches", state, FOR_LONG).await;
        site.fill(3).await;
        site.settled().await;
        consumer.assert_running();
        assert_eq!(buried(&client).await, 0, "{state}");
    }
}

#[tokio::test]
async fn what_nothing_cures_stops_the_consumer_and_keeps_the_batch() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    let site = Site::new(database.url());
    for table in ["settled_state_batches", "settled_batches"] {
        fail(&client, "INSERT", table, "XX000", 1_000_000).await;
    }
    let consumer = consumer(&site);
    site.fill(3).await;
    let ended = consumer.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("XX000") && ended.errors.contains("check its log"), "{ended:?}");
    assert_eq!(buried(&client).await, 0);
    let tries: i64 = client.query_one("SELECT last_value FROM tries", &[]).await.unwrap().get(0);
    assert!((9..40).contains(&tries), "{tries}");
    assert_eq!(site.queue().await.backlog().messages, 3);
}

#[tokio::test]
async fn while_one_side_is_stored_the_consumer_goes_on_without_the_other() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    let site = Site::new(database.url());
    fail(&client, "INSERT", "settled_batches", "XX000", 1_000_000).await;
    let mut command = site.consumer(&[]);
    let mut consumer = Program::start(&mut command);
    site.fill(3).await;
    eventually("the batch to stand aside", async || (site.queue().await.parked == 1).then_some(())).await;
    consumer.logged("check its log").await;
    consumer.assert_running();
    client.batch_execute("DROP TRIGGER refuse ON settled_batches").await.unwrap();
    site.settled().await;
    assert_eq!(buried(&client).await, 0);
}

#[tokio::test]
async fn a_missing_partition_buries_nothing() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    let partitioned = "DROP TABLE settled_state_batches;
        CREATE TABLE settled_state_batches (
            lease_id uuid NOT NULL, first_record integer NOT NULL, records integer NOT NULL, provider text NOT NULL,
            vehicles integer NOT NULL, settled_at timestamptz NOT NULL DEFAULT now()) PARTITION BY LIST (provider);
        GRANT SELECT, INSERT ON settled_state_batches TO fleet_consumer";
    client.batch_execute(partitioned).await.unwrap();
    let site = Site::new(database.url());
    // The default back-off leaves enough time to create the partition.
    let mut consumer = Program::start(&mut site.consumer(&[]));
    site.fill(3).await;
    consumer.logged("no partition of relation").await;
    let partition = "CREATE TABLE settled_niu PARTITION OF settled_state_batches FOR VALUES IN ('niu')";
    client.batch_execute(partition).await.unwrap();
    site.settled().await;
    consumer.assert_running();
    let stored: i64 = client.query_one("SELECT count(*) FROM vehicles", &[]).await.unwrap().get(0);
    assert_eq!(stored, 3);
    assert_eq!(buried(&client).await, 0);
}

/// What somebody may do to the tables, and how to undo it.
const REFUSE_EVERY_RECORD: [(&str, &str); 5] = [
    (
        "ALTER TABLE telemetry ADD CONSTRAINT added CHECK (provider = 'none') NOT VALID",
        "ALTER TABLE telemetry DROP CONSTRAINT added",
    ),
    (
        "ALTER TABLE vehicles ADD CONSTRAINT added CHECK (provider = 'none') NOT VALID",
        "ALTER TABLE vehicles DROP CONSTRAINT added",
    ),
    (
        "TRUNCATE vehicles; ALTER TABLE vehicles ADD COLUMN added text NOT NULL",
        "ALTER TABLE vehicles DROP COLUMN added",
    ),
    (
        "ALTER TABLE settled_batches ALTER COLUMN provider TYPE varchar(1) USING ''",
        "ALTER TABLE settled_batches ALTER COLUMN provider TYPE text",
    ),
    (
        "TRUNCATE settled_state_batches; CREATE SEQUENCE added MAXVALUE 2; SELECT nextval('added'), nextval('added'); GRANT USAGE ON SEQUENCE added TO PUBLIC;
         ALTER TABLE settled_state_batches ADD COLUMN added bigint DEFAULT nextval('added')",
        "ALTER TABLE settled_state_batches DROP COLUMN added; DROP SEQUENCE added",
    ),
];

#[tokio::test]
async fn tables_that_refuse_every_record_bury_none() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    let site = Site::new(database.url());
    for (refuse, undo) in REFUSE_EVERY_RECORD {
        client.batch_execute(refuse).await.unwrap();
        // The default back-off leaves enough time to undo it.
        let mut consumer = Program::start(&mut site.consumer(&[]));
        site.fill(3).await;
        consumer.logged("did not accept a batch").await;
        eventually("the batch to be retried or parked", async || {
            let log = consumer.log();
            (log.contains("harmless record") || log.contains("SQLSTATE 23502") || log.contains("2200H"))
                .then_some(())
        })
        .await;
        client.batch_execute(undo).await.unwrap();
        site.settled().await;
        consumer.assert_running();
        assert_eq!(buried(&client).await, 0, "{refuse}");
    }
}

#[tokio::test]
async fn a_record_that_an_operator_refuses_becomes_a_dead_letter() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    let refuse = "CREATE TABLE known (id text PRIMARY KEY); INSERT INTO known VALUES ('NBPROCESS0');
                  GRANT SELECT ON known TO PUBLIC;
                  ALTER TABLE vehicles ADD FOREIGN KEY (provider_vehicle_id) REFERENCES known";
    let site = Site::new(database.url());
    let mut consumer = Program::start(&mut site.consumer(&[]));
    site.fill(1).await;
    site.settled().await;
    client.batch_execute(refuse).await.unwrap();
    site.fill(2).await;
    site.settled().await;
    consumer.assert_running();
    assert_eq!(buried(&client).await, 1);
}

#[tokio::test]
async fn a_plan_of_an_older_schema_costs_nothing() {
    let test = TestDatabase::migrated().await;
    let database = database(test.url(), 2);
    let query = "SELECT * FROM vehicles";
    database.query(query, &[]).await.unwrap();
    test.client().await.batch_execute("ALTER TABLE vehicles ADD COLUMN colour text").await.unwrap();
    // On the connection that has the old plan, PostgreSQL reports: cached plan must not change result type.
    database.query(query, &[]).await.unwrap();
}

#[tokio::test]
async fn a_check_of_the_data_is_still_the_datas() {
    let test = TestDatabase::migrated().await;
    let database = database(test.url(), 1);
    let refused = "INSERT INTO settled_batches VALUES (gen_random_uuid(), 0, 1, 'niu', 5, 5, 5)";
    let error = database.query(refused, &[]).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Poison, "{error}");
}
