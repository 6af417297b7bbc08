//! A database for each test.

use fleet_store::{DatabaseOptions, Schema, migrate};
use fleet_testbed::{DatabaseLogin, database_sql};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use super::{database_as, server_database_url};

/// The database is dropped together with this value.
pub(crate) struct TestDatabase {
    name: String,
    url: String,
}

impl TestDatabase {
    /// A database without tables, prepared as in `compose/roles.sh`.
    pub(crate) async fn empty() -> Self {
        let database = Self::bare().await;
        if database.url_as(DatabaseLogin::Migrator) != database.url {
            database.client().await.batch_execute(&database_sql()).await.unwrap();
        }
        database
    }

    async fn bare() -> Self {
        let name = format!("fleet_test_{}", Uuid::now_v7().simple());
        let server = server_database_url();
        let admin = connect(&server).await;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let (base, _) = server.rsplit_once('/').expect("the URL ends in /database");
        Self { url: format!("{base}/{name}"), name }
    }

    /// A database with both schemas, migrated with the migrator's login.
    pub(crate) async fn migrated() -> Self {
        let database = Self::empty().await;
        database.migrate(Schema::State).await;
        database.migrate(Schema::Telemetry).await;
        database
    }

    /// Migrates a schema with the migrator's login.
    pub(crate) async fn migrate(&self, schema: Schema) {
        migrate(&DatabaseOptions::new(&self.url_as(DatabaseLogin::Migrator)), schema).await.unwrap();
    }

    /// The URL with the administrator's login. [`Site`](crate::process::program::Site) and [`Fleet`](super::Fleet)
    /// replace it with the programs' logins.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The URL with this login.
    pub(crate) fn url_as(&self, login: DatabaseLogin) -> String {
        database_as(login, &self.url)
    }

    /// A connection with this login.
    pub(crate) async fn client_as(&self, login: DatabaseLogin) -> Client {
        connect(&self.url_as(login)).await
    }

    /// A connection with the administrator's login.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let server = server_database_url();
        // In a runtime of its own, because the test's runtime may be shutting down.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { connect(&server).await.batch_execute(&drop).await }).unwrap();
        });
        if dropping.join().is_err() && !std::thread::panicking() {
            panic!("the test's database could not be dropped");
        }
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .unwrap_or_else(|error| panic!("PostgreSQL is not there ({error}): run `cargo xtask test`"));
    tokio::spawn(connection);
    client
}
