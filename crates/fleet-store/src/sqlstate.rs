//! Classification of SQLSTATEs.

use tokio_postgres::error::{DbError, SqlState};

use crate::error_class::ErrorClass;

/// States that pass or that an operator resolves while the consumer retries.
const UNAVAILABLE: [&str; 7] = ["3D000", "55000", "55006", "25006", "25P03", "23505", INSUFFICIENT_PRIVILEGE];

/// Classes of such states: connection, authorization, transaction rollback, resources, operator intervention, system
/// error.
const UNAVAILABLE_CLASSES: [&str; 6] = ["08", "28", "40", "53", "57", "58"];

/// Classes of errors in the data.
const POISON_CLASSES: [&str; 3] = ["22", "23", "54"];

/// TimescaleDB: one transaction would decompress too many rows.
const DECOMPRESSION_LIMIT: &str = "53400";

/// A row refers to a row that does not exist.
const FOREIGN_KEY_VIOLATION: &str = "23503";

/// The only foreign key: from a dead letter to its message's bytes. Another transaction may have removed them.
const DEAD_MESSAGE_REFERENCE: &str = "dead_letters_dead_message";

/// States of these classes that no record can cause: a sequence that somebody added has ended, a column that somebody added
/// is required, a COPY, too many columns, too many arguments.
const OF_TABLES: [&str; 5] = ["2200H", "23502", "22P04", "54011", "54023"];

/// A row violates a check, or the table has no partition for it.
const CHECK_VIOLATION: &str = "23514";

const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// The schema of TimescaleDB's own tables.
const TIMESCALE_CATALOG: &str = "_timescaledb_catalog";

/// The labels of SQLSTATEs: their classes.
pub(crate) const LABELS: [&str; 17] =
    ["08", "0A", "22", "23", "25", "26", "28", "3D", "40", "42", "53", "54", "55", "57", "58", "XX", "other"];

/// The parts of PostgreSQL's error that decide its class. None of them is a message text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusal<'a> {
    pub(crate) state: &'a str,
    /// The violated constraint.
    pub(crate) constraint: Option<&'a str>,
    /// The schema of the affected table.
    pub(crate) schema: Option<&'a str>,
}

impl<'a> From<&'a DbError> for Refusal<'a> {
    fn from(error: &'a DbError) -> Self {
        Self { state: error.code().code(), constraint: error.constraint(), schema: error.schema() }
    }
}

impl Refusal<'_> {
    /// What to do about it. An unlisted state has the class `Session`: the row does not become a dead letter, and the
    /// transaction is not retried forever.
    pub(crate) fn class(self) -> ErrorClass {
        let class = self.state.get(..2).unwrap_or_default();
        if self.state == SqlState::QUERY_CANCELED.code() || self.state == DECOMPRESSION_LIMIT {
            ErrorClass::TooSlow
        } else if self.state == SqlState::LOCK_NOT_AVAILABLE.code() {
            ErrorClass::Locked
        } else if UNAVAILABLE.contains(&self.state)
            || UNAVAILABLE_CLASSES.contains(&class)
            || self.is_missing_dead_message()
        {
            ErrorClass::Unavailable
        } else if POISON_CLASSES.contains(&class) && !self.is_about_tables() {
            ErrorClass::Poison
        } else {
            ErrorClass::Session
        }
    }

    /// Whether another transaction has removed the message's bytes in the meantime. The retry stores them again.
    fn is_missing_dead_message(self) -> bool {
        self.state == FOREIGN_KEY_VIOLATION && self.constraint == Some(DEAD_MESSAGE_REFERENCE)
    }

    /// Whether the tables are the cause and not the row. Either there is no partition for the row, in which case
    /// PostgreSQL names no constraint. Or no record can cause the state: this version fills every required column of its
    /// own. Or the constraint belongs to one of TimescaleDB's own tables, for example
    /// because a chunk was dropped during the insert.
    fn is_about_tables(self) -> bool {
        OF_TABLES.contains(&self.state)
            || self.schema == Some(TIMESCALE_CATALOG)
            || (self.state == CHECK_VIOLATION && self.constraint.is_none())
    }
}

/// Whether a connection is of no further use after this state.
pub(crate) fn ends_connection(state: &str) -> bool {
    const LAST_WORDS: [&str; 6] = [
        "25006", // the server has become a standby
        "57P01", // terminated by an administrator, or the server stops
        "57P02", // another backend crashed
        "57P03", // a pooler without a server
        "57P05", // idle_session_timeout
        "25P03", // idle_in_transaction_session_timeout
    ];
    LAST_WORDS.contains(&state) || state.starts_with("08")
}

/// Whether an operator must grant a privilege or correct a password. Commands do not retry then.
pub(crate) fn is_refused(state: &str) -> bool {
    state == INSUFFICIENT_PRIVILEGE || state.starts_with("28")
}

/// The state's class, if it is one of [`LABELS`].
pub(crate) fn label(state: &str) -> &'static str {
    LABELS.into_iter().find(|label| state.get(..2) == Some(label)).unwrap_or("other")
}

/// What an operator can do about a refused statement.
pub(crate) fn advice(state: &str) -> Option<&'static str> {
    match state {
        INSUFFICIENT_PRIVILEGE => Some(
            "the user must be a member of fleet_consumer; for `migrate`, `retention` and `replay` of fleet_migrator; for \
             `trace` of fleet_reader; if it is, run `fleet-consumer migrate`, which grants missing privileges",
        ),
        "26000" | "42P05" => Some(
            "a connection pooler that shares sessions must support prepared statements: use PgBouncer 1.21 or newer \
             with max_prepared_statements above 0, session pooling, or a direct connection",
        ),
        "0A000" => Some(
            "if the message names a cached plan, let the connection pooler reconnect to PostgreSQL; if it names a \
             licence, set timescaledb.license",
        ),
        _ if state == SqlState::LOCK_NOT_AVAILABLE.code() => Some(
            "another transaction holds a lock; compression or removal of a chunk ends by itself, other transactions are in \
             pg_stat_activity and pg_locks",
        ),
        CHECK_VIOLATION => Some("if the table has no partition for the row, create it"),
        _ if state.starts_with("42") || state.starts_with("3F") => Some(
            "the schema does not match this version: run `fleet-consumer migrate` of this version, and check the \
             search_path",
        ),
        _ if state.starts_with("XX") => Some("an internal error of PostgreSQL: check its log and its disk"),
        _ => None,
    }
}

/// What an operator can do about a refused connection.
pub(crate) fn connect_advice(state: &str) -> Option<&'static str> {
    // PostgreSQL itself does not report this state here.
    (state == SqlState::PROTOCOL_VIOLATION.code()).then_some(
        "a connection pooler refuses the session's settings: connect directly; or, with PgBouncer, set \
         ignore_startup_parameters = options and give the settings to the role, by ALTER ROLE … SET synchronous_commit = on \
         and SET statement_timeout = '30s'",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(state: &str) -> ErrorClass {
        // As PostgreSQL does, with the constraint that a row breaks.
        Refusal { state, constraint: Some("positive"), schema: Some("public") }.class()
    }

    #[test]
    fn every_documented_state_is_sorted() {
        for state in [
            "08006", "08P01", "28P01", "3D000", "40001", "40P01", "53100", "53300", "55000", "55006",
            "57P01", "58030", "25006", "25P03", "23505", "57P03", "42501",
        ] {
            assert_eq!(classify(state), ErrorClass::Unavailable, "{state}");
        }
        for state in ["57014", "53400"] {
            assert_eq!(classify(state), ErrorClass::TooSlow, "{state}");
        }
        assert_eq!(classify("55P03"), ErrorClass::Locked);
        for state in ["22021", "22P02", "22003", "23503", "23514", "54000", "54001"] {
            assert_eq!(classify(state), ErrorClass::Poison, "{state}");
        }
        for state in [
            "26000", "42P05", "XX000", "XX001", "0A000", "25P02", "25000", "34000", "42P01", "42703",
            "3F000", "P0001", "TS001", "23502", "2200H", "54011", "",
        ] {
            assert_eq!(classify(state), ErrorClass::Session, "{state}");
        }
    }

    #[test]
    fn only_a_constraint_of_ours_speaks_of_the_data() {
        let class = |constraint, schema| Refusal { state: "23514", constraint, schema }.class();
        assert_eq!(class(Some("positive"), Some("public")), ErrorClass::Poison);
        assert_eq!(class(None, Some("public")), ErrorClass::Session, "no partition for the row");
        let foreign = Refusal { state: "23503", constraint: Some("chunk"), schema: Some(TIMESCALE_CATALOG) };
        assert_eq!(foreign.class(), ErrorClass::Session);
        let class = |constraint| Refusal { state: "23503", constraint, schema: Some("public") }.class();
        assert_eq!(class(Some("dead_letters_dead_message")), ErrorClass::Unavailable);
        assert_eq!(class(Some("an_operators_own")), ErrorClass::Poison);
    }

    #[test]
    fn labels_are_classes() {
        let labels = ["40P01", "3D000", "57014", "42P01", "26000", "XX000", "0A000", "P0001", ""].map(label);
        assert_eq!(labels, ["40", "3D", "57", "42", "26", "XX", "0A", "other", "other"]);
    }
}
