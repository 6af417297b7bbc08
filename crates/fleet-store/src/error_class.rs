//! What the consumer does after a failed transaction.

/// What to do about a `StoreError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The database cannot do it now: try the whole transaction again later, for as long as it takes.
    Unavailable,
    /// The state of the connection, the session or the schema is at fault, never the data: try the whole transaction again
    /// on another connection, [`SESSION_RETRIES`] times, then as for `Fatal`.
    Session,
    /// The statement took too long: a smaller transaction may get through.
    TooSlow,
    /// The database refuses the data: find the row, and put it aside.
    Poison,
    /// A defect, or settings that cannot work: stop, keep the lease, tell somebody.
    Fatal,
}

/// How often a transaction is tried again after errors of class [`ErrorClass::Session`] in a row. With the default pauses
/// that takes 16 seconds.
pub const SESSION_RETRIES: u32 = 8;
