//! How many events of one message cannot be stored, and which of them get a dead letter of their own.

use fleet_providers::{ParseError, VehicleEvent};

use crate::batch::rejection::Rejection;

/// Most dead letters of single events of one message.
const MAX_LETTERS: usize = 8;

/// The events of one message, counted. Every event is a record. But if more than [`MAX_LETTERS`] cannot be stored, a single
/// record stands for all of those: ten thousand dead letters of one message would say no more than the first, and a replay
/// puts the whole message back into its queue anyway.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventCounts {
    all: usize,
    rejected: usize,
    /// The first event that cannot be stored, and why.
    first: Option<(usize, Rejection)>,
}

impl EventCounts {
    /// Counts one event.
    pub(crate) fn add(&mut self, event: &Result<VehicleEvent<'_>, ParseError>) {
        if let Err(error) = event {
            self.rejected += 1;
            self.first.get_or_insert_with(|| (self.all, Rejection::parse(error)));
        }
        self.all += 1;
    }

    /// How many events there are.
    pub(crate) fn all(&self) -> usize {
        self.all
    }

    /// Whether any event can be stored.
    pub(crate) fn has_storable(&self) -> bool {
        self.rejected < self.all
    }

    /// The outcome of an event's own record, if it has one.
    pub(crate) fn outcome<'a>(
        &self,
        event: Result<VehicleEvent<'a>, ParseError>,
    ) -> Option<Result<VehicleEvent<'a>, Rejection>> {
        match event {
            Err(_error) if self.rejected > MAX_LETTERS => None,
            Err(error) => Some(Err(Rejection::parse(&error))),
            Ok(event) => Some(Ok(event)),
        }
    }

    /// The rejection of the record that stands for the events without a record of their own.
    pub(crate) fn shared_rejection(&self) -> Option<Rejection> {
        let Self { all, rejected, first } = self;
        let (index, Rejection { reason, detail }) = first.as_ref().filter(|_| *rejected > MAX_LETTERS)?;
        let detail = format!("{rejected} of {all} events, the first being event {index}: {detail}");
        Some(Rejection { reason, detail })
    }
}
