//! What a SQLSTATE says about a transaction that failed.

use tokio_postgres::error::{DbError, SqlState};

use crate::error_class::ErrorClass;

/// States that an operator or time cures while the consumer waits.
const UNAVAILABLE: [&str; 8] =
    ["3D000", "55P03", "55000", "55006", "25006", "25P03", "23505", INSUFFICIENT_PRIVILEGE];

/// The same, by class: connection, login, conflicts with other transactions, resources, an operator's hand, the system.
const UNAVAILABLE_CLASSES: [&str; 6] = ["08", "28", "40", "53", "57", "58"];

/// Classes that say what is wrong with the data.
const POISON_CLASSES: [&str; 3] = ["22", "23", "54"];

/// TimescaleDB: too many compressed rows in the way of one transaction.
const DECOMPRESSION_LIMIT: &str = "53400";

/// A row refers to one that is not there.
const FOREIGN_KEY_VIOLATION: &str = "23503";

/// The one foreign key: of a dead letter to its message's bytes, which another transaction has removed.
const DEAD_MESSAGE_REFERENCE: &str = "dead_letters_dead_message";

/// A row breaks a check, or a table has no partition for it.
const CHECK_VIOLATION: &str = "23514";

const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Where TimescaleDB keeps its own tables.
const TIMESCALE_CATALOG: &str = "_timescaledb_catalog";

/// Every label of a SQLSTATE: its class.
pub(crate) const LABELS: [&str; 17] =
    ["08", "0A", "22", "23", "25", "26", "28", "3D", "40", "42", "53", "54", "55", "57", "58", "XX", "other"];

/// The parts of PostgreSQL's error that decide about it. None of them is text for people.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusal<'a> {
    pub(crate) state: &'a str,
    /// The constraint that is broken.
    pub(crate) constraint: Option<&'a str>,
    /// The schema of the table that it is about.
    pub(crate) schema: Option<&'a str>,
}

impl<'a> From<&'a DbError> for Refusal<'a> {
    fn from(error: &'a DbError) -> Self {
        Self { state: error.code().code(), constraint: error.constraint(), schema: error.schema() }
    }
}

impl Refusal<'_> {
    /// What to do about it. A state that nobody has sorted is taken for one of the session: it is neither buried as data
    /// nor retried for ever.
    pub(crate) fn class(self) -> ErrorClass {
        let class = self.state.get(..2).unwrap_or_default();
        if self.state == SqlState::QUERY_CANCELED.code() || self.state == DECOMPRESSION_LIMIT {
            ErrorClass::TooSlow
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

    /// Whether another transaction has removed a message's bytes meanwhile: the next try stores them again.
    fn is_missing_dead_message(self) -> bool {
        self.state == FOREIGN_KEY_VIOLATION && self.constraint == Some(DEAD_MESSAGE_REFERENCE)
    }

    /// Whether the state of the tables is at fault, not a row: there is no partition for it, in which case PostgreSQL names
    /// no constraint; or the constraint is one of TimescaleDB's own tables, as when a chunk goes while a row comes.
    fn is_about_tables(self) -> bool {
        self.schema == Some(TIMESCALE_CATALOG) || (self.state == CHECK_VIOLATION && self.constraint.is_none())
    }
}

/// Whether the server says with this that it ends the connection.
pub(crate) fn ends_connection(state: &str) -> bool {
    const LAST_WORDS: [&str; 5] = [
        "57P01", // terminated by an administrator, or the server stops
        "57P02", // another backend crashed
        "57P03", // a pooler without a server
        "57P05", // idle_session_timeout
        "25P03", // idle_in_transaction_session_timeout
    ];
    LAST_WORDS.contains(&state) || state.starts_with("08")
}

/// Whether nobody but an operator can help, by a grant or a password, so that a command does not wait for it.
pub(crate) fn is_refused(state: &str) -> bool {
    state == INSUFFICIENT_PRIVILEGE || state.starts_with("28")
}

/// The state's class, if it is one of [`LABELS`].
pub(crate) fn label(state: &str) -> &'static str {
    LABELS.into_iter().find(|label| state.get(..2) == Some(label)).unwrap_or("other")
}

/// What an operator can do about a statement that was refused.
pub(crate) fn advice(state: &str) -> Option<&'static str> {
    match state {
        INSUFFICIENT_PRIVILEGE => Some(
            "the user needs to be a member of fleet_consumer, for `migrate`, `retention` and `replay` of fleet_migrator, for \
             `trace` of fleet_reader; if it is, run `fleet-consumer migrate`, which grants what is missing",
        ),
        "26000" | "42P05" => Some(
            "behind a connection pooler that shares sessions, prepared statements need its support: PgBouncer 1.21 or newer \
             with max_prepared_statements above 0; or connect directly, or with session pooling",
        ),
        "0A000" => Some(
            "if a connection pooler or TimescaleDB's licence is in the way, the message names it: let the pooler reconnect \
             to PostgreSQL, or set timescaledb.license",
        ),
        CHECK_VIOLATION => Some("if the table has no partition for the row, create it"),
        _ if state.starts_with("42") || state.starts_with("3F") => Some(
            "the schema is not the one that this version needs: run `fleet-consumer migrate` of this version, and check the \
             search_path",
        ),
        _ if state.starts_with("XX") => {
            Some("PostgreSQL met an error of its own: look at its log and its disk")
        }
        _ => None,
    }
}

/// What an operator can do about a connection that was refused.
pub(crate) fn connect_advice(state: &str) -> Option<&'static str> {
    // PostgreSQL itself has no reason to say so here.
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
            "08006", "08P01", "28P01", "3D000", "40001", "40P01", "53100", "53300", "55P03", "55000",
            "55006", "57P01", "58030", "25006", "25P03", "23505", "57P03", "42501",
        ] {
            assert_eq!(classify(state), ErrorClass::Unavailable, "{state}");
        }
        for state in ["57014", "53400"] {
            assert_eq!(classify(state), ErrorClass::TooSlow, "{state}");
        }
        for state in ["22021", "22P02", "22003", "23502", "23514", "54000"] {
            assert_eq!(classify(state), ErrorClass::Poison, "{state}");
        }
        for state in [
            "26000", "42P05", "XX000", "XX001", "0A000", "25P02", "25000", "34000", "42P01", "42703",
            "3F000", "P0001", "TS001", "",
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
