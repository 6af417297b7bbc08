//! A PostgreSQL connection that is opened again after it broke: the run may be part of a fault test.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row};

use crate::error::Error;

/// To connect, and for one query.
const PATIENCE: Duration = Duration::from_secs(30);

/// One database.
#[derive(Debug)]
pub struct Database {
    name: &'static str,
    url: String,
    client: Option<Client>,
}

impl Database {
    /// Names a database; nothing is connected before the first query.
    pub fn new(name: &'static str, url: &str) -> Self {
        Self { name, url: url.to_owned(), client: None }
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// If the database cannot be reached within 30 s, refuses the statement, or does not answer it in 30 s.
    pub async fn query(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        let database = self.name;
        let answered = timeout(PATIENCE, self.connect_and_query(sql, params)).await;
        if !matches!(answered, Ok(Ok(_))) {
            self.client = None;
        }
        match answered {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(source)) => Err(Error::Sql { database, source }),
            Err(_elapsed) => Err(Error::SqlTimeout { database }),
        }
    }

    /// Runs one statement that answers with one number.
    ///
    /// # Errors
    /// As [`Self::query`].
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
                // Ends with the client; its error is also that of the query it breaks.
                drop(tokio::spawn(connection));
                client.batch_execute("SET TIME ZONE 'UTC'").await?;
                client
            }
        };
        self.client.insert(client).query(sql, params).await
    }
}
