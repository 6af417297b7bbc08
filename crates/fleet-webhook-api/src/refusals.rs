//! Log lines of refused webhooks, bounded so that an unauthenticated client cannot fill the log.
//!
//! A line holds nothing that the sender chose: only the message id, the provider and the outcome.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use strum::VariantArray;
use uuid::Uuid;

use crate::outcome::Outcome;

/// Most lines within [`EVERY`] about one outcome of one provider. Each outcome has its own limit, so that forged requests do
/// not hide refusals for which this service is the reason.
const MAX_LINES: u64 = 10;

/// How often the refusals without a line are summed up and counting starts again.
const EVERY: Duration = Duration::from_secs(60);

/// One provider's refused webhooks.
#[derive(Debug)]
pub(crate) struct Refusals {
    provider: &'static str,
    /// How many since the last sum, by [`Outcome`] in the order of its variants.
    counts: [AtomicU64; Outcome::VARIANTS.len()],
}

impl Refusals {
    pub(crate) fn new(provider: &'static str) -> Self {
        Self { provider, counts: Default::default() }
    }

    /// The provider's slug.
    pub(crate) fn provider(&self) -> &'static str {
        self.provider
    }

    /// Logs a refusal if it is among the first ones. Does nothing for an accepted webhook.
    pub(crate) fn note(&self, outcome: Outcome, message_id: Uuid) {
        if outcome == Outcome::Accepted || !self.has_line(outcome) {
            return;
        }
        tracing::info!(provider = self.provider, %message_id, outcome = outcome.name(), "refused a webhook");
    }

    fn has_line(&self, outcome: Outcome) -> bool {
        let count = self.counts.get(outcome as usize);
        count.is_some_and(|count| count.fetch_add(1, Ordering::Relaxed) < MAX_LINES)
    }

    /// Logs how many refusals had no line since the last sum, and starts again.
    pub(crate) fn sum_up(&self) {
        for (outcome, not_logged) in self.take_rest() {
            tracing::info!(
                provider = self.provider,
                outcome = outcome.name(),
                not_logged,
                "refused more webhooks than were logged one by one"
            );
        }
    }

    fn take_rest(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let counts = Outcome::VARIANTS.iter().copied().zip(&self.counts);
        let rests = counts
            .map(|(outcome, count)| (outcome, count.swap(0, Ordering::Relaxed).saturating_sub(MAX_LINES)));
        rests.filter(|(_outcome, rest)| *rest > 0)
    }
}

/// Sums up every minute.
pub(crate) async fn watch(refusals: Vec<Arc<Refusals>>) -> Infallible {
    let mut interval = tokio::time::interval(EVERY);
    loop {
        interval.tick().await;
        for refusals in &refusals {
            refusals.sum_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_lines_of_its_own_and_new_ones_after_the_sum() {
        let refusals = Refusals::new("niu");
        let lines = |outcome, refused: u64| (0..refused).filter(|_| refusals.has_line(outcome)).count();
        assert_eq!(lines(Outcome::Unauthorized, 1000), 10);
        assert_eq!(lines(Outcome::QueueUnavailable, 10), 10);
        assert_eq!(refusals.take_rest().collect::<Vec<_>>(), [(Outcome::Unauthorized, 990)]);
        assert_eq!(refusals.take_rest().count(), 0);
        assert_eq!(lines(Outcome::Unauthorized, 1), 1);
    }
}
