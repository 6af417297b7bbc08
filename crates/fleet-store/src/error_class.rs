//! What the consumer does after a failed transaction.

/// What to do about a `StoreError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The database is unavailable: retry the whole transaction later, without a limit.
    Unavailable,
    /// The connection, the session or the schema is the cause, never the data: retry the whole transaction on another
    /// connection, at most [`SESSION_RETRIES`] times, then proceed as for `Fatal`.
    Session,
    /// The statement took too long: a smaller transaction may succeed.
    TooSlow,
    /// Another transaction holds a lock that the statement needs: retry the whole transaction later, without a limit. The
    /// database itself is up, and others of its rows can be written.
    Locked,
    /// The database refuses the data: find the row and store it as a dead letter.
    Poison,
    /// A defect, or settings that cannot work: stop, keep the lease, and report the error.
    Fatal,
}

/// How often a transaction is retried after consecutive errors of class [`ErrorClass::Session`]. With the default
/// pauses this takes 13 to 26 seconds.
pub const SESSION_RETRIES: u32 = 10;
