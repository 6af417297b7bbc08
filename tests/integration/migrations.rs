//! The schema: migrated from empty, by two processes at once, in two databases, and every statement prepared against
//! it.

use fleet_store::{Database, DatabaseOptions, Schema, migrate, statements};
use fleet_testbed::DatabaseLogin;

use crate::documents::text::{read, root};
use crate::support::{TestDatabase, eventually};

#[tokio::test]
async fn from_empty_and_again() {
    let database = TestDatabase::empty().await;
    for schema in [Schema::State, Schema::Telemetry] {
        let applied =
            migrate(&DatabaseOptions::new(&database.url_as(DatabaseLogin::Migrator)), schema).await.unwrap();
        assert!(!applied.is_empty(), "{schema:?}");
        assert_eq!(
            migrate(&DatabaseOptions::new(&database.url_as(DatabaseLogin::Migrator)), schema).await.unwrap(),
            Vec::<String>::new(),
            "{schema:?} again"
        );
    }
}

#[tokio::test]
async fn several_at_once() {
    let database = TestDatabase::empty().await;
    let run = async |schema| {
        migrate(&DatabaseOptions::new(&database.url_as(DatabaseLogin::Migrator)), schema).await.unwrap().len()
    };
    let (a, b, c, d) =
        tokio::join!(run(Schema::State), run(Schema::State), run(Schema::Telemetry), run(Schema::Telemetry));
    assert_eq!([a.min(b), c.min(d)], [0, 0], "each migration is applied once");
    assert!(a + b > 0 && c + d > 0);
}

/// The schema before state V6, as its migration finds it.
const BEFORE_DRIVING_ENABLED: &str = "
    DO $$
    DECLARE owner name := (SELECT relowner::regrole FROM pg_class WHERE oid = 'vehicles'::regclass);
    BEGIN
        DROP VIEW vehicle_positions;
        ALTER TABLE vehicles DROP COLUMN driving_enabled, DROP COLUMN driving_enabled_at,
                             DROP COLUMN driving_enabled_received_at;
        DROP TYPE vehicle_row_v6;
        CREATE VIEW vehicle_positions AS
            SELECT provider, provider_vehicle_id, vehicle_id, lat, lon, position_at,
                   now() - position_at AS position_age, battery_percent, range_m, odometer_m, powered_on, locked,
                   charging, online, last_seen_at
              FROM vehicles;
        EXECUTE format('ALTER VIEW vehicle_positions OWNER TO %s', owner);
        DELETE FROM fleet_state_migrations WHERE version >= 6;
    END $$";

/// The migration waits for a consumer's transaction, and a reader of the view comes meanwhile.
#[tokio::test]
async fn a_reader_and_a_writer_do_not_stop_the_migration_that_changes_a_table_and_its_view() {
    let database = TestDatabase::migrated().await;
    let (writer, reader) = (database.client().await, database.client().await);
    writer.batch_execute(BEFORE_DRIVING_ENABLED).await.unwrap();
    writer.batch_execute("BEGIN; LOCK TABLE vehicles IN ROW EXCLUSIVE MODE").await.unwrap();
    let waiting = async |count: i64| {
        let query = "SELECT count(*) FROM pg_locks WHERE NOT granted
                        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually("the other sessions to wait", async || {
            let found: i64 = writer.query_one(query, &[]).await.unwrap().get(0);
            (found >= count).then_some(())
        })
        .await;
    };
    let url = database.url_as(DatabaseLogin::Migrator);
    let migration = tokio::spawn(async move { migrate(&DatabaseOptions::new(&url), Schema::State).await });
    waiting(1).await;
    let reading = tokio::spawn(async move { reader.query("SELECT * FROM vehicle_positions", &[]).await });
    waiting(2).await;
    writer.batch_execute("COMMIT").await.unwrap();
    assert_eq!(migration.await.unwrap().unwrap().len(), 1);
    reading.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_in_the_way_is_named() {
    let database = TestDatabase::empty().await;
    database.client().await.batch_execute("CREATE TABLE vehicles (sn text)").await.unwrap();
    let error = migrate(&DatabaseOptions::new(&database.url_as(DatabaseLogin::Migrator)), Schema::State)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(r#"relation "vehicles" already exists (SQLSTATE 42P07)"#), "{error}");
}

/// After a rollback, the consumers of the older release work, and its `migrate` changes nothing.
#[tokio::test]
async fn an_older_release_takes_a_newer_schema() {
    let test = TestDatabase::migrated().await;
    let client = test.client().await;
    for (schema, history) in
        [(Schema::State, "fleet_state_migrations"), (Schema::Telemetry, "fleet_telemetry_migrations")]
    {
        let newer = format!(
            "INSERT INTO {history} SELECT 999, 'of_a_newer_release', applied_on, checksum FROM {history} LIMIT 1"
        );
        client.batch_execute(&newer).await.unwrap();
        let url = test.url_as(DatabaseLogin::Consumer);
        let database = Database::open(&DatabaseOptions::new(&url)).unwrap();
        assert_eq!(database.missing_migrations(schema).await.unwrap(), Vec::<String>::new());
        let refused = migrate(&DatabaseOptions::new(&test.url_as(DatabaseLogin::Migrator)), schema)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("V999__of_a_newer_release is missing from the filesystem"), "{refused}");
    }
}

/// A migration that does more than add may stop the consumers of an older release. Then the runbook must say so.
#[test]
fn the_runbook_knows_every_migration() {
    let newest = ["state", "telemetry"].map(|schema| {
        let files = std::fs::read_dir(root().join("migrations").join(schema)).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let version = |name: &str| name[1..].split("__").next().unwrap().parse::<u32>().unwrap();
        let later: Vec<_> = names.filter(|name| version(name) > 1).collect();
        for name in &later {
            let sql = read(&format!("migrations/{schema}/{name}"));
            let starts =
                sql.lines().filter(|line| line.starts_with(|letter: char| letter.is_ascii_alphabetic()));
            for start in starts {
                let adds_column = start.starts_with("ALTER TABLE ") && start.contains(" ADD COLUMN ");
                let adds = adds_column
                    || // PostgreSQL refuses to replace a view with one that lacks a column of it.
                        ["CREATE TYPE ", "CREATE TABLE ", "CREATE INDEX ", "CREATE OR REPLACE VIEW ", "COMMENT ON "]
                        .iter()
                        .any(|word| start.starts_with(word));
                // Locks end with the migration.
                let only_locks = start.starts_with("SET LOCAL lock_timeout ") || start.starts_with("LOCK TABLE ");
                // Telemetry V4 accepts rows that V3 refuses, and adds a trigger that deletes only rows of its new table. The
                // runbook says what older releases cannot read.
                let is_dead_messages = name == "V4__dead_messages.sql" && schema == "telemetry";
                assert!(adds || only_locks || is_dead_messages, "{name} does not only add, as the runbook says: {start}");
            }
        }
        later.iter().map(|name| version(name)).max().unwrap()
    });
    let [state, telemetry] = newest;
    let schema = format!("on the newest schema (state V{state}, telemetry V{telemetry})");
    assert!(read("docs/runbook.md").contains(&schema), "no row for {schema}");
}

#[tokio::test]
async fn every_statement_prepares() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    for statement in [
        statements::store_state(),
        statements::raise_state(),
        statements::UNKNOWN_VEHICLES,
        statements::STORE_TELEMETRY,
        statements::BURY_DEAD_LETTERS,
        statements::NOTE_EMPTY_MESSAGES,
        statements::SETTLED_STATE_PARTS,
        statements::SETTLED_TELEMETRY_PARTS,
    ] {
        client.prepare(statement).await.unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
}

#[tokio::test]
async fn everything_is_documented() {
    let database = TestDatabase::migrated().await;
    let query = "SELECT c.relname || coalesce('.' || a.attname, '')
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND c.relkind = 'r'
        WHERE c.relkind IN ('r', 'v') AND c.relname !~ 'migrations'
          AND (col_description(c.oid, a.attnum) IS NULL AND a.attnum IS NOT NULL
               OR obj_description(c.oid, 'pg_class') IS NULL)";
    let undocumented: Vec<String> =
        database.client().await.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(undocumented, Vec::<String>::new());
}
