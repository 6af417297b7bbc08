//! Checks values that can never work, alone or together.

use std::time::Duration;

use fleet_queue::MAX_SHARDS;

use super::names::environment_name;
use super::schema::Settings;

/// Every problem, one line each.
pub(super) fn problems(settings: &Settings) -> Vec<String> {
    let mut problems = Vec::new();
    if settings.consumer.max_events_per_second == Some(0) {
        let key = "consumer.max_events_per_second";
        problems.push(format!("{} ({key}): must be more than 0, or absent", environment_name(key)));
    }
    problems.extend(caps_on_new_vehicles(settings));
    problems.extend(shards(settings));
    if settings.queue.prefix.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        problems.push(
            "FLEET_QUEUE__PREFIX (queue.prefix): must be one word, because it begins the name of every key; for example \
             fleet"
                .to_owned(),
        );
    }
    if let Err(error) = fleet_tls::TrustAnchors::read(settings.tls.ca_file.as_deref()) {
        problems.push(format!("FLEET_TLS__CA_FILE (tls.ca_file): {error}"));
    }
    if settings.retention.telemetry_days == 0 {
        problems.push(
            "FLEET_RETENTION__TELEMETRY_DAYS (retention.telemetry_days): 0 would drop everything; use a large number to \
             keep it"
                .to_owned(),
        );
    }
    problems.extend(zeros(settings));
    problems.extend(contradictions(settings));
    problems
}

/// The map, and clients that follow docs/queries.md, connect again after 15 s without a heartbeat.
const MAX_QUERY_HEARTBEAT: Duration = Duration::from_secs(5);

/// Counts and durations that must not be zero.
fn zeros(settings: &Settings) -> impl Iterator<Item = String> {
    let (api, consumer, database, amqp) =
        (&settings.api, &settings.consumer, &settings.database, &settings.amqp);
    let query = &settings.query;
    let counts = [
        ("api.max_connections", api.max_connections),
        ("api.listen_backlog", usize::try_from(api.listen_backlog).unwrap_or(usize::MAX)),
        ("api.commit_max_messages", api.commit_max_messages),
        ("api.commit_max_bytes", api.commit_max_bytes),
        ("api.commit_queue", api.commit_queue),
        ("consumer.claim_max_messages", consumer.claim_max_messages),
        ("consumer.claim_max_bytes", consumer.claim_max_bytes),
        ("consumer.batch_max_messages", consumer.batch_max_messages),
        ("consumer.batch_max_bytes", consumer.batch_max_bytes),
        ("consumer.batches_in_flight", consumer.batches_in_flight),
        ("consumer.max_transaction_events", consumer.max_transaction_events),
        ("amqp.prefetch", usize::from(amqp.prefetch)),
        ("database.pool_size", database.pool_size),
        ("query.listen_backlog", usize::try_from(query.listen_backlog).unwrap_or(usize::MAX)),
        ("query.max_connections", query.max_connections),
        ("query.max_in_flight", query.max_in_flight),
        ("query.max_streams", query.max_streams),
        ("query.max_page", query.max_page),
        ("worker_threads", settings.worker_threads),
    ];
    let durations = [
        ("api.header_timeout", api.header_timeout),
        ("api.body_timeout", api.body_timeout),
        ("queue.timeout", settings.queue.timeout),
        ("consumer.heartbeat", consumer.heartbeat),
        ("consumer.poll_min", consumer.poll_min),
        ("consumer.retry_min", consumer.retry_min),
        ("consumer.status_interval", consumer.status_interval),
        ("query.header_timeout", query.header_timeout),
        ("query.response_timeout", query.response_timeout),
        ("query.max_track_span", query.max_track_span),
        ("query.refresh_interval", query.refresh_interval),
        ("query.max_age", query.max_age),
        ("query.heartbeat", query.heartbeat),
        ("amqp.timeout", amqp.timeout),
        ("amqp.check_interval", amqp.check_interval),
        ("amqp.retry_min", amqp.retry_min),
        ("amqp.abort_pause", amqp.abort_pause),
        ("database.connect_timeout", database.connect_timeout),
        ("database.statement_timeout", database.statement_timeout),
    ];
    let counts = counts.into_iter().filter(|(_key, count)| *count == 0).map(|(key, _)| key);
    let durations = durations.into_iter().filter(|(_key, duration)| duration.is_zero()).map(|(key, _)| key);
    counts.chain(durations).map(|key| format!("{} ({key}): must be more than 0", environment_name(key)))
}

/// Values that contradict each other.
fn contradictions(settings: &Settings) -> Vec<String> {
    let (api, consumer, amqp, query) = (&settings.api, &settings.consumer, &settings.amqp, &settings.query);
    let mut problems = Vec::new();
    if api.max_in_flight_bytes < api.max_body_bytes {
        problems.push(
            "FLEET_API__MAX_IN_FLIGHT_BYTES (api.max_in_flight_bytes): must not be less than api.max_body_bytes, or the \
             largest bodies would always be refused"
                .to_owned(),
        );
    }
    // The protocol counts whole seconds, and 0 switches heartbeats off.
    if amqp.heartbeat < Duration::from_secs(1) || amqp.heartbeat > Duration::from_secs(u64::from(u16::MAX)) {
        problems.push(
            "FLEET_AMQP__HEARTBEAT (amqp.heartbeat): must be from 1s to 65535s; without heartbeats a connection that is cut \
             off would look as if the queue were empty"
                .to_owned(),
        );
    }
    if consumer.heartbeat * 2 > consumer.lease {
        problems.push(
            "FLEET_CONSUMER__HEARTBEAT (consumer.heartbeat): must be at most half of consumer.lease, or one lost \
             heartbeat loses the batch"
                .to_owned(),
        );
    }
    let pairs = [
        ("consumer.poll_min", consumer.poll_min, "consumer.poll_max", consumer.poll_max),
        ("consumer.retry_min", consumer.retry_min, "consumer.retry_max", consumer.retry_max),
        ("query.refresh_interval", query.refresh_interval, "query.max_age", query.max_age),
        ("amqp.retry_min", amqp.retry_min, "amqp.retry_max", amqp.retry_max),
    ];
    if query.heartbeat > MAX_QUERY_HEARTBEAT {
        problems.push(format!(
            "{} (query.heartbeat): must be at most 5s, because clients take a longer silence for an outage",
            environment_name("query.heartbeat")
        ));
    }
    for (least, shortest, most, longest) in pairs {
        if shortest > longest {
            problems.push(format!("{} ({least}): must not be more than {most}", environment_name(least)));
        }
    }
    problems
}

/// The consumer serves every provider, so a cap for one that does not exist would go unnoticed.
fn caps_on_new_vehicles(settings: &Settings) -> impl Iterator<Item = String> {
    settings.providers.iter().filter_map(|(slug, provider)| {
        let key = format!("providers.{slug}.max_new_vehicles_per_minute");
        let name = environment_name(&key);
        match provider.max_new_vehicles_per_minute {
            Some(0) => Some(format!("{name} ({key}): must be more than 0, or absent")),
            Some(_) if fleet_providers::provider(slug).is_none() => {
                Some(format!("{name} ({key}): {}", unknown_provider(slug)))
            }
            Some(_) | None => None,
        }
    })
}

/// Both services must have the same number, so one for a provider that does not exist must not go unnoticed.
fn shards(settings: &Settings) -> impl Iterator<Item = String> {
    settings.providers.iter().filter_map(|(slug, provider)| {
        let key = format!("providers.{slug}.shards");
        let name = environment_name(&key);
        if !(1..=MAX_SHARDS).contains(&provider.shards) {
            return Some(format!("{name} ({key}): must be from 1 to {MAX_SHARDS}"));
        }
        let is_unknown = provider.shards > 1 && fleet_providers::provider(slug).is_none();
        is_unknown.then(|| format!("{name} ({key}): {}", unknown_provider(slug)))
    })
}

fn unknown_provider(slug: &str) -> String {
    let known: Vec<_> = fleet_providers::PROVIDERS.iter().map(|provider| provider.slug).collect();
    format!("there is no provider {slug}; use one of {}", known.join(", "))
}
