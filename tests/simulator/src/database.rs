//! A PostgreSQL connection that reconnects, because the run may be part of a fault test.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row};

use crate::error::Error;

/// The timeout for connecting, and for one query.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One database.
#[derive(Debug)]
pub struct Database {
    name: &'static str,
    url: String,
    client: Option<Client>,
}

impl Database {
    /// Stores the URL. The first query connects.
    pub fn new(name: &'static str, url: &str) -> Self {
        Self { name, url: url.to_owned(), client: None }
    }

    /// Runs one statement.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached within 30 s, rejects the statement, or does not respond within 30 s.
    pub async fn query(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        let database = self.name;
        let answered = timeout(TIMEOUT, self.connect_and_query(sql, params)).await;
        if !matches!(answered, Ok(Ok(_))) {
            self.client = None;
        }
        match answered {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(source)) => Err(Error::Sql { database, source }),
            Err(_elapsed) => Err(Error::SqlTimeout { database }),
        }
    }

    /// Runs one statement that returns one number.
    ///
    /// # Errors
    ///
    /// Same as [`Self::query`].
    pub async fn number(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<i64, Error> {
        let rows = self.query(sql, params).await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    async fn connect_and_query(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => {
                let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
                // The task ends with the client. The query that fails reports its error.
                drop(tokio::spawn(connection));
                client.batch_execute("SET TIME ZONE 'UTC'").await?;
                client
            }
        };
        self.client.insert(client).query(sql, params).await
    }
}
