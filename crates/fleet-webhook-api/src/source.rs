//! One served provider, opened: its connection to Redis, its secrets and its bounds.

use std::sync::Arc;

use fleet_providers::{AuthScheme, Provider};
use fleet_queue::{Producer, QueueError};
use fleet_runtime::settings::Settings;

use crate::admission::{Admission, AdmissionLimits};
use crate::group_commit::{CommitLimits, GroupCommit, Share};
use crate::metrics::CommitMetrics;
use crate::outcome_record::OutcomeRecord;
use crate::redis_link::link;
use crate::secrets::SecretsInUse;
use crate::source_settings::SourceSettings;

/// What the requests of one provider share.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) provider: &'static Provider,
    pub(crate) scheme: AuthScheme,
    pub(crate) secrets: Arc<SecretsInUse>,
    pub(crate) admission: Admission,
    pub(crate) commit: GroupCommit,
    pub(crate) record: OutcomeRecord,
}

impl Source {
    /// Opens a source. Returns the future of its committer, too, which does the pushes.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if Redis' URL is not valid.
    pub(crate) fn open(
        settings: &Settings,
        source: &SourceSettings,
        share: Share,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), QueueError> {
        let slug = source.provider.slug;
        // A connection for each provider, so that one provider's pushes never wait behind another's.
        let link = Arc::new(link(settings)?);
        let (commit, committer) = GroupCommit::new(
            Producer::new(link, &settings.queue.prefix, slug).confirmed_by(settings.queue.replicas),
            commit_limits(settings, source),
            share,
            CommitMetrics::new(slug),
        );
        let opened = Self {
            provider: source.provider,
            scheme: source.scheme.clone(),
            secrets: Arc::new(SecretsInUse::new(source.secrets.clone())),
            admission: Admission::new(slug, admission_limits(settings, source)),
            commit,
            record: OutcomeRecord::of(slug),
        };
        Ok((opened, committer))
    }
}

fn commit_limits(settings: &Settings, source: &SourceSettings) -> CommitLimits {
    CommitLimits {
        max_messages: settings.api.commit_max_messages.max(1),
        max_bytes: settings.api.commit_max_bytes,
        queue: settings.api.commit_queue.max(1),
        max_backlog_bytes: source.max_backlog_bytes,
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
