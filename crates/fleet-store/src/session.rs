//! The settings of a session. The start-up message sends them, and they are read back, because a connection pooler
//! may drop them.

use std::time::Duration;

use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use crate::StoreError;

/// A setting that only this crate sends. If it can be read back, the server has read the start-up message of this
/// session.
const MARK: &str = "fleet.session";

/// One round trip, without a prepared statement, because a pooler may not support those.
const READ_BACK: &str = "SELECT current_setting('synchronous_commit'),
       extract(epoch FROM current_setting('statement_timeout')::interval) * 1000,
       current_setting('fleet.session', true) = 'own',
       quote_ident(session_user)";

/// The `options` of the start-up message. Options of the URL come last and take precedence.
pub(crate) fn options(statement_timeout: Duration, given: Option<&str>) -> String {
    let timeout_ms = statement_timeout.as_millis();
    let own = format!(
        "-c statement_timeout={timeout_ms} -c idle_in_transaction_session_timeout={timeout_ms} \
         -c synchronous_commit=on -c timezone=UTC -c {MARK}=own"
    );
    given.map_or_else(|| own.clone(), |given| format!("{own} {given}"))
}

/// A session's settings.
#[derive(Debug, PartialEq)]
pub(crate) struct Session {
    synchronous_commit: String,
    /// 0 means no timeout.
    statement_timeout_ms: f64,
    /// Whether the settings of the start-up message are in effect.
    pub(crate) is_own: bool,
    user: String,
}

impl Session {
    /// Reads them. `None` if the response cannot be understood.
    ///
    /// # Errors
    ///
    /// The driver's error, if there is no response.
    pub(crate) async fn read(client: &Client) -> Result<Option<Self>, tokio_postgres::Error> {
        let answer = client.simple_query(READ_BACK).await?;
        let mut rows = answer
            .iter()
            .filter_map(|message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None });
        Ok(rows.next().and_then(Self::from_row))
    }

    fn from_row(row: &SimpleQueryRow) -> Option<Self> {
        Some(Self {
            synchronous_commit: row.get(0)?.to_owned(),
            statement_timeout_ms: row.get(1)?.parse().ok()?,
            is_own: row.get(2) == Some("t"),
            user: row.get(3)?.to_owned(),
        })
    }

    /// Checks the settings on which the safety of the data depends. A commit must survive a crash, because the batch
    /// is deleted from its queue afterwards. The server must cancel slow statements after at most `longest`, because
    /// only a cancelled statement makes the consumer try a smaller transaction. No statement depends on the time
    /// zone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Settings`], which says what to change.
    pub(crate) fn check(&self, longest: Duration) -> Result<(), StoreError> {
        let mut wrong = Vec::new();
        let loses = match &*self.synchronous_commit {
            "on" | "remote_apply" => None,
            "local" => Some("a failover to a synchronous standby"),
            "remote_write" => Some("a crash of both the server and its synchronous standby"),
            _off => Some("a crash of the server"),
        };
        if let Some(loses) = loses {
            let found = &self.synchronous_commit;
            wrong.push(format!(
                "synchronous_commit is {found}, so {loses} would lose acknowledged batches (it must be on or remote_apply)"
            ));
        }
        let longest_ms = longest.as_secs_f64() * 1000.0;
        if self.statement_timeout_ms <= 0.0 || self.statement_timeout_ms > longest_ms {
            wrong.push(format!(
                "statement_timeout is {} ms (it must be above 0 and at most {longest_ms} ms)",
                self.statement_timeout_ms
            ));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let user = &self.user;
        let cure = if self.is_own {
            "remove these settings from the options of the database URL".to_owned()
        } else {
            format!(
                "a connection pooler drops the settings of the session: connect directly; or set them for the role, by \
                 `ALTER ROLE {user} SET synchronous_commit = on; ALTER ROLE {user} SET statement_timeout = '30s';`, and let \
                 the pooler reconnect (PgBouncer: RECONNECT)"
            )
        };
        Err(StoreError::Settings(format!("{}; {cure}", wrong.join("; "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(synchronous_commit: &str, statement_timeout_ms: f64) -> Result<(), String> {
        let synchronous_commit = synchronous_commit.to_owned();
        let session =
            Session { synchronous_commit, statement_timeout_ms, is_own: false, user: "worker".to_owned() };
        session.check(Duration::from_secs(35)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_commit_must_last_and_a_statement_must_end() {
        check("on", 30_000.0).unwrap();
        check("remote_apply", 35_000.0).unwrap();
        for weaker in ["off", "local", "remote_write"] {
            assert!(
                check(weaker, 30_000.0).unwrap_err().contains("ALTER ROLE worker SET synchronous_commit")
            );
        }
        for timeout in [0.0, 35_001.0] {
            assert!(check("on", timeout).unwrap_err().contains("SET statement_timeout"));
        }
    }
}
