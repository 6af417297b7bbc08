//! What each vehicle provider sends and what it means.
//!
//! The crate is pure: no I/O, no clock, no async, no tracing. A provider is a [`Provider`] value in [`PROVIDERS`]. Routes, Redis
//! keys, metric labels, configuration checks and fixture tests all follow from that list.

mod attributes;
mod auth;
mod body;
mod drop_reason;
mod dropped;
mod error;
mod event;
mod fields;
mod form;
mod identity;
mod invers;
mod items;
mod json;
mod mapped_event;
mod message;
mod micros;
mod niu;
mod plausible;
mod provider;
mod providers;
mod quantity;
mod reader;
mod reading;
mod segway;
mod time;
mod value;

pub use attributes::{Attribute, Attributes};
pub use auth::secrets::Secrets;
pub use auth::{AuthScheme, InvalidAuthScheme, Verdict};
pub use drop_reason::DropReason;
pub use dropped::DroppedValue;
pub use error::ParseError;
pub use event::VehicleEvent;
pub use identity::vehicle_id;
pub use message::{Limits, Message, StoredEvent};
pub use micros::Micros;
pub use provider::{Events, Provider, SuccessBody};
pub use providers::{PROVIDERS, provider};
pub use value::{Position, Timed};
