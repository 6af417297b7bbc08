//! What the real programs export.

use std::collections::{BTreeMap, BTreeSet};

use crate::process::program::{Program, Site, own_ip};
use crate::support::{TOKEN, TestDatabase, eventually};

/// One metric, with all its series.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    /// Every label except a bucket's `le`, with all values that it has.
    pub(crate) labels: BTreeMap<String, BTreeSet<String>>,
}

/// All metrics by name.
pub(crate) type Families = BTreeMap<String, Family>;

/// The metric that a sample or a selector belongs to. A histogram has three kinds of samples.
pub(crate) fn family_of<'a>(families: &Families, sample: &'a str) -> Option<&'a str> {
    if families.contains_key(sample) {
        return Some(sample);
    }
    let parts = ["_bucket", "_sum", "_count"].into_iter();
    let mut bases = parts.filter_map(|part| sample.strip_suffix(part));
    bases.find(|base| families.get(*base).is_some_and(|family| family.kind == "histogram"))
}

/// Adds the metrics in a program's response.
fn read(families: &mut Families, text: &str) {
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if !line.is_empty() {
            let (series, _value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let base = family_of(families, name).unwrap_or_else(|| panic!("{name} has no TYPE"));
            let family = families.get_mut(base).unwrap();
            for label in labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
                let (label, value) = label.split_once('=').unwrap();
                if label != "le" {
                    let values = family.labels.entry(label.to_owned()).or_default();
                    values.insert(value.trim_matches('"').to_owned());
                }
            }
        }
    }
}

/// Some metrics need replicas that must confirm pushes. The tests' Redis has none, so it takes a timeout to notice that.
const REPLICAS: [(&str, &str); 2] = [("FLEET_QUEUE__REPLICAS", "1"), ("FLEET_QUEUE__TIMEOUT", "1s")];

/// The metrics of an API with every provider, of a consumer with one database and of one with two, of a query service, and of a
/// bridge without a broker, before any webhook or query.
pub(crate) async fn families() -> Families {
    let (one, two) = (TestDatabase::migrated().await, TestDatabase::migrated().await);
    let site = Site::new(one.url());
    let api = Program::start(
        site.api(&[])
            .env("FLEET_PROVIDERS__SEGWAY__SECRETS", TOKEN)
            .env("FLEET_PROVIDERS__INVERS__SECRETS", TOKEN)
            .envs(REPLICAS),
    );
    let shared = Program::start(site.consumer(&[]).envs(REPLICAS));
    let query = Program::start(&mut site.query(own_ip()));
    let apart = Program::start(site.consumer(&[]).env("FLEET_TELEMETRY_DATABASE_URL", two.url()));
    let bridge = Program::start(
        site.bridge(&[])
            .env("FLEET_AMQP__URL", "amqp://nobody:nothing@127.0.0.1:1/none")
            .env("FLEET_AMQP__QUEUES", "states")
            .envs(REPLICAS),
    );
    let mut families = Families::new();
    let consumers = vec![
        r#"fleet_queue_backlog_bytes{queue="invers"}"#,
        r#"fleet_queue_unaccounted_messages{queue="invers"}"#,
        "fleet_consumer_redis_durability_weaknesses",
        "fleet_consumer_pool_max_connections",
    ];
    // The metrics that each program exports last.
    for (program, last) in [
        (
            &api,
            vec![
                "fleet_api_redis_durability_weaknesses",
                r#"missing{queue="invers"}"#,
                r#"missing{queue="niu"}"#,
                r#"missing{queue="segway"}"#,
            ],
        ),
        (
            &shared,
            [
                &consumers[..],
                &[
                    r#"fleet_queue_redis_replica_lag_bytes{queue="segway"}"#,
                    r#"fleet_queue_redis_replica_lag_bytes{queue="niu"}"#,
                ],
            ]
            .concat(),
        ),
        (&apart, consumers),
        // The first read of the vehicles and the first look at their age.
        (&query, vec!["fleet_query_knowledge_age_seconds", "fleet_query_vehicles 0"]),
        (&bridge, vec!["fleet_bridge_redis_durability_weaknesses", "fleet_bridge_redis_replicas_missing"]),
    ] {
        let text = eventually(&format!("{last:?}"), async || {
            let (_status, text) = program.get("/metrics").await?;
            last.iter().all(|metric| text.contains(metric)).then_some(text)
        })
        .await;
        read(&mut families, &text);
    }
    families
}
