//! One served provider, opened: its connections to Redis, its secrets and its bounds.

use std::sync::Arc;

use fleet_providers::{AuthScheme, Provider};
use fleet_queue::{Producer, Queue, QueueError};
use fleet_runtime::settings::Settings;

use crate::admission::{Admission, AdmissionLimits};
use crate::group_commit::{CommitLimits, GroupCommit, Share};
use crate::metrics::{self, CommitMetrics};
use crate::outcome_record::OutcomeRecord;
use crate::secrets::SecretsInUse;
use crate::shards::Shards;
use crate::source_settings::SourceSettings;

/// What the requests of one provider share.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) provider: &'static Provider,
    pub(crate) scheme: AuthScheme,
    pub(crate) secrets: Arc<SecretsInUse>,
    pub(crate) admission: Admission,
    pub(crate) commit: Shards,
    pub(crate) record: OutcomeRecord,
}

impl Source {
    /// Opens a source. Returns the futures of its committers, too, which do the pushes.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if Redis' URL is not valid.
    pub(crate) fn open(
        settings: &Settings,
        source: &SourceSettings,
        shares: Vec<Share>,
    ) -> Result<(Self, Vec<(Queue, impl Future<Output = ()> + Send + use<>)>), QueueError> {
        let slug = source.provider.slug;
        metrics::shards(slug, source.queues.len());
        let (mut commits, mut committers) = (Vec::new(), Vec::new());
        for (&queue, share) in source.queues.iter().zip(shares) {
            // A connection for each queue, so that one queue's pushes never wait behind another's.
            let link = Arc::new(settings.redis_link(queue)?);
            let (commit, committer) = GroupCommit::new(
                Producer::new(link, &settings.queue.prefix, queue).confirmed_by(settings.queue.replicas),
                commit_limits(settings, source),
                share,
                CommitMetrics::new(queue),
            );
            commits.push(commit);
            committers.push((queue, committer));
        }
        let opened = Self {
            provider: source.provider,
            scheme: source.scheme.clone(),
            secrets: Arc::new(SecretsInUse::new(source.secrets.clone())),
            admission: Admission::new(slug, admission_limits(settings, source)),
            commit: Shards::new(commits),
            record: OutcomeRecord::of(slug),
        };
        Ok((opened, committers))
    }
}

/// The limits of one queue. The bounds of a provider are divided over its queues.
fn commit_limits(settings: &Settings, source: &SourceSettings) -> CommitLimits {
    let queues = source.queues.len().max(1);
    let max_backlog_bytes = source.max_backlog_bytes / u64::try_from(queues).unwrap_or(u64::MAX);
    CommitLimits {
        max_messages: settings.api.commit_max_messages.max(1),
        max_bytes: settings.api.commit_max_bytes,
        queue: (settings.api.commit_queue / queues).max(1),
        max_backlog_bytes,
        replica_patience: (settings.queue.replicas > 0).then_some(settings.queue.timeout),
    }
}

fn admission_limits(settings: &Settings, source: &SourceSettings) -> AdmissionLimits {
    AdmissionLimits {
        max_requests: settings.api.max_in_flight,
        // By default the requests in flight may use half of the connections: a quarter remains for other clients.
        max_kept_connections: settings.api.max_connections.div_ceil(4),
        max_bytes: settings.api.max_in_flight_bytes,
        max_unauthenticated_bytes: settings.api.max_unauthenticated_bytes,
        max_body_bytes: source.max_body_bytes,
        body_timeout: settings.api.body_timeout,
    }
}
