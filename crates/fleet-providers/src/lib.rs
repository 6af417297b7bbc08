//! What each vehicle provider sends and what it means.
//!
//! Pure: no I/O, no clock, no async, no tracing. A provider is a [`Provider`] value in [`PROVIDERS`]; routes,
//! Redis keys, metric labels, configuration checks and fixture tests all follow from that list.

mod auth;
mod body;
mod dropped;
mod error;
mod event;
mod fields;
mod form;
mod identity;
mod invers;
mod items;
mod json;
mod message;
mod niu;
mod provider;
mod quantity;
mod reader;
mod reading;
mod report;
mod segway;
mod time;

pub use auth::{AuthScheme, InvalidAuthScheme, Secrets, Verdict};
pub use dropped::{Attribute, DropReason, DroppedValue};
pub use error::ParseError;
pub use event::{Attributes, Position, Timed, VehicleEvent};
pub use identity::vehicle_id;
pub use message::{Limits, Message, StoredEvent};
pub use provider::{Events, PROVIDERS, Provider, SuccessBody, provider};
