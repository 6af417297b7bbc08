//! Broken connections to PostgreSQL, and states of connection, session and schema that are not the data's fault.

pub(crate) mod abandoned;
mod broken;
mod pooler;
mod retention;
mod states;

use std::time::Duration;

use fleet_store::{Database, DatabaseOptions};
use fleet_testbed::Proxy;
use tokio_postgres::Client;

/// A pool with this many connections.
fn database(url: &str, pool_size: usize) -> Database {
    Database::open(&options(url, pool_size)).unwrap()
}

/// The options of such a pool.
pub(crate) fn options(url: &str, pool_size: usize) -> DatabaseOptions<'_> {
    DatabaseOptions { pool_size, connect_timeout: Duration::from_secs(5), ..DatabaseOptions::new(url) }
}

/// The port in a URL of PostgreSQL.
fn port(url: &str) -> u16 {
    let address = url.rsplit_once('@').unwrap().1;
    address.split(['/', ':']).nth(1).unwrap().parse().unwrap()
}

/// The URL with the proxy's port.
fn through(proxy: &Proxy, url: &str) -> String {
    url.replace(&format!(":{}", port(url)), &format!(":{}", proxy.port()))
}

/// Lets every insertion into a table (or deletion from it) fail with this SQLSTATE, the first `times` times. A sequence
/// counts the failures, because a rollback does not reset sequences.
async fn fail(client: &Client, event: &str, table: &str, state: &str, times: usize) {
    let sql = format!(
        "CREATE SEQUENCE IF NOT EXISTS tries;
         GRANT USAGE ON SEQUENCE tries TO PUBLIC;
         ALTER SEQUENCE tries RESTART;
         CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('tries') <= {times} THEN
                 RAISE EXCEPTION 'on purpose' USING ERRCODE = '{state}';
             END IF;
             RETURN NULL;
         END $$;
         CREATE OR REPLACE TRIGGER refuse AFTER {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// The number of dead letters.
async fn buried(client: &Client) -> i64 {
    client.query_one("SELECT count(*) FROM dead_letters", &[]).await.unwrap().get(0)
}
