//! The schema: from empty, twice at once, in two databases, and every statement against it.

use fleet_store::{Schema, migrate, statements};
use fleet_testbed::DatabaseLogin;

use crate::support::TestDatabase;

#[tokio::test]
async fn from_empty_and_again() {
    let database = TestDatabase::empty().await;
    for schema in [Schema::State, Schema::Telemetry] {
        let applied = migrate(&database.url_as(DatabaseLogin::Migrator), schema).await.unwrap();
        assert!(!applied.is_empty(), "{schema:?}");
        assert_eq!(
            migrate(&database.url_as(DatabaseLogin::Migrator), schema).await.unwrap(),
            Vec::<String>::new(),
            "{schema:?} again"
        );
    }
}

#[tokio::test]
async fn several_at_once() {
    let database = TestDatabase::empty().await;
    let run = async |schema| migrate(&database.url_as(DatabaseLogin::Migrator), schema).await.unwrap().len();
    let (a, b, c, d) =
        tokio::join!(run(Schema::State), run(Schema::State), run(Schema::Telemetry), run(Schema::Telemetry));
    assert_eq!([a.min(b), c.min(d)], [0, 0], "each migration is applied once");
    assert!(a + b > 0 && c + d > 0);
}

#[tokio::test]
async fn what_is_in_the_way_is_named() {
    let database = TestDatabase::empty().await;
    database.client().await.batch_execute("CREATE TABLE vehicles (sn text)").await.unwrap();
    let error =
        migrate(&database.url_as(DatabaseLogin::Migrator), Schema::State).await.unwrap_err().to_string();
    assert!(error.contains(r#"relation "vehicles" already exists (SQLSTATE 42P07)"#), "{error}");
}

#[tokio::test]
async fn every_statement_prepares() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    for statement in [
        statements::store_state(),
        statements::raise_state(),
        statements::STORE_TELEMETRY,
        statements::BURY_DEAD_LETTERS,
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
