//! A page of telemetry, and its bounds.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{Derived, EventKey};

/// A piece of telemetry within one chunk: observed at `from` or later, before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first moment of the window.
    pub from: Timestamp,
    /// The first moment after the window.
    pub to: Timestamp,
}

/// A row of telemetry with what is needed to parse its event again.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTelemetry {
    /// Its key.
    pub key: EventKey,
    /// When the event was received.
    pub received_at: Timestamp,
    /// The message's id.
    pub message_id: Uuid,
    /// Slug of the provider.
    pub provider: String,
    /// The message's topic.
    pub topic: String,
    /// What the parser made of it.
    pub derived: Derived,
    /// The event as JSON text. Absent in rows of providers that were not asked for.
    pub raw: Option<String>,
}

/// Rows in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The rows.
    pub rows: Vec<StoredTelemetry>,
    /// Whether its bounds may have left out rows of the vehicles that it looked at.
    pub is_cut: bool,
}

/// The bounds of one page.
#[derive(Clone, Copy, Debug)]
pub struct PageBounds {
    /// Rows.
    pub rows: i64,
    /// Bytes of raw events, before the last row.
    pub bytes: i64,
}
