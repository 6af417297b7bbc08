//! What is counted and logged of every request, by provider.

use std::sync::Arc;

use fleet_runtime::logging::trace_id;

use crate::arrival::Arrival;
use crate::metrics::WebhookMetrics;
use crate::outcome::Outcome;
use crate::refusals::Refusals;

/// The provider in logs and metrics for requests that name no served provider.
const UNKNOWN: &str = "unknown";

/// Records the outcomes of one provider's requests.
#[derive(Debug)]
pub(crate) struct OutcomeRecord {
    metrics: WebhookMetrics,
    refusals: Arc<Refusals>,
}

impl OutcomeRecord {
    /// For the requests of a served provider.
    pub(crate) fn of(provider: &'static str) -> Self {
        Self { metrics: WebhookMetrics::new(provider), refusals: Arc::new(Refusals::new(provider)) }
    }

    /// For the requests that name no served provider.
    pub(crate) fn of_unknown() -> Self {
        Self { metrics: WebhookMetrics::unknown(UNKNOWN), refusals: Arc::new(Refusals::new(UNKNOWN)) }
    }

    /// The refused requests, to be summed up.
    pub(crate) fn refusals(&self) -> Arc<Refusals> {
        Arc::clone(&self.refusals)
    }

    /// Counts one outcome. Logs it at debug level only, because any client could fill the log otherwise.
    pub(crate) fn note(&self, outcome: Outcome, arrival: &Arrival) {
        self.metrics.responded(outcome, arrival.started.elapsed());
        self.refusals.note(outcome, arrival.message_id);
        tracing::debug!(
            provider = self.refusals.provider(),
            message_id = %arrival.message_id,
            trace_id = trace_id(arrival.traceparent.as_deref()),
            outcome = outcome.name(),
            "answered a webhook"
        );
    }
}
