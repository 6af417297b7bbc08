//! The queries of the alerts and of the dashboard match what the real programs export.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::token::{T_GROUP, T_MAX, T_MIN, TokenId};
use promql_parser::parser::{Call, Expr, LabelModifier, VectorSelector, parse};
use serde_json::Value;

use super::rules::alerts;
use super::scrape::{Families, families, family_of};
use crate::documents::text::read;

/// The labels that Prometheus adds to each series of a pod.
const TARGET_LABELS: [&str; 2] = ["namespace", "pod"];

/// Other projects' metrics and their labels. Only kube-state-metrics reports what an autoscaler does and how often a
/// container has ended.
const FOREIGN: [(&str, &[&str]); 5] = [
    ("kube_horizontalpodautoscaler_status_current_replicas", &["horizontalpodautoscaler"]),
    ("kube_horizontalpodautoscaler_status_desired_replicas", &["horizontalpodautoscaler"]),
    ("kube_horizontalpodautoscaler_spec_max_replicas", &["horizontalpodautoscaler"]),
    ("kube_horizontalpodautoscaler_status_condition", &["horizontalpodautoscaler", "condition", "status"]),
    ("kube_pod_container_status_restarts_total", &["container"]),
];

/// A selector in a query, and the expressions around it.
struct Selected<'a> {
    selector: &'a VectorSelector,
    /// The innermost aggregation.
    aggregation: Option<TokenId>,
    /// The labels in the `by` and `on` clauses around it.
    labels: Vec<String>,
}

/// Every selector of an expression.
fn select<'a>(
    expression: &'a Expr,
    aggregation: Option<TokenId>,
    labels: &[String],
    found: &mut Vec<Selected<'a>>,
) {
    let grouping = |modifier: &Option<LabelModifier>| match modifier {
        Some(LabelModifier::Include(labels)) => labels.labels.clone(),
        Some(LabelModifier::Exclude(_)) | None => Vec::new(),
    };
    let selected = |selector| Selected { selector, aggregation, labels: labels.to_vec() };
    match expression {
        Expr::Aggregate(aggregate) => {
            let labels = [labels, &grouping(&aggregate.modifier)].concat();
            select(&aggregate.expr, Some(aggregate.op.id()), &labels, found);
        }
        Expr::Binary(binary) => {
            let matching = binary.modifier.as_ref().map(|modifier| grouping(&modifier.matching));
            let labels = [labels, &matching.unwrap_or_default()].concat();
            select(&binary.lhs, aggregation, &labels, found);
            select(&binary.rhs, aggregation, &labels, found);
        }
        Expr::Unary(unary) => select(&unary.expr, aggregation, labels, found),
        Expr::Paren(paren) => select(&paren.expr, aggregation, labels, found),
        Expr::Subquery(subquery) => select(&subquery.expr, aggregation, labels, found),
        Expr::Call(call) => {
            let made = made_label(call);
            let labels: Vec<_> = labels.iter().filter(|label| Some(*label) != made).cloned().collect();
            for argument in &call.args.args {
                select(argument, aggregation, &labels, found);
            }
        }
        Expr::VectorSelector(selector) => found.push(selected(selector)),
        Expr::MatrixSelector(matrix) => found.push(selected(&matrix.vs)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
        Expr::Extension(_) => panic!("the parser makes no extensions"),
    }
}

/// The label that `label_replace` adds. Its argument does not have that label.
fn made_label(call: &Call) -> Option<&String> {
    match call.args.args.get(1).map(AsRef::as_ref) {
        Some(Expr::StringLiteral(label)) if call.func.name == "label_replace" => Some(&label.val),
        Some(_) | None => None,
    }
}

/// The labels that a selector may name, each with its values. None allows any value.
fn known_labels(families: &Families, name: &str) -> Option<BTreeMap<String, Option<BTreeSet<String>>>> {
    let mut known: BTreeMap<_, _> = TARGET_LABELS.map(|label| (label.to_owned(), None)).into();
    if let Some((_name, labels)) = FOREIGN.iter().find(|(foreign, _)| *foreign == name) {
        known.extend(labels.iter().map(|label| ((*label).to_owned(), None)));
        return Some(known);
    }
    let family = families.get(family_of(families, name)?)?;
    known.extend(family.labels.iter().map(|(label, values)| (label.clone(), Some(values.clone()))));
    if name.ends_with("_bucket") {
        known.insert("le".to_owned(), None);
    }
    Some(known)
}

fn matches_something(matcher: &Matcher, values: &BTreeSet<String>) -> bool {
    match &matcher.op {
        MatchOp::Equal | MatchOp::Re(_) => values.iter().any(|value| matcher.is_match(value)),
        // A typing error in a negative matcher would exclude nothing.
        MatchOp::NotEqual | MatchOp::NotRe(_) => values.iter().any(|value| !matcher.is_match(value)),
    }
}

/// What is wrong with a query, if anything.
fn check(families: &Families, place: &str, query: &str) -> Result<(), String> {
    let said = |problem: String| format!("{place}: {problem}: {query}");
    let expression = parse(query).map_err(said)?;
    let mut found = Vec::new();
    select(&expression, None, &[], &mut found);
    if found.is_empty() {
        return Err(said("it selects nothing".to_owned()));
    }
    for Selected { selector, aggregation, labels } in found {
        let name = selector.name.as_deref().unwrap_or_default();
        let known = known_labels(families, name).ok_or_else(|| said(format!("nobody exports {name:?}")))?;
        for matcher in &selector.matchers.matchers {
            match known.get(&matcher.name) {
                None => return Err(said(format!("{name} has no label {}", matcher.name))),
                Some(Some(values)) if !matches_something(matcher, values) => {
                    return Err(said(format!("{name} has no such value: {matcher}")));
                }
                Some(_) => {}
            }
        }
        if let Some(label) = labels.iter().find(|label| !known.contains_key(*label)) {
            return Err(said(format!("{name} has no label {label} to group by")));
        }
        let of_a_queue = known.contains_key("queue");
        if of_a_queue && !aggregation.is_none_or(|aggregation| [T_MAX, T_MIN, T_GROUP].contains(&aggregation))
        {
            return Err(said(format!("every consumer shows {name}: use max by (queue)")));
        }
    }
    Ok(())
}

fn dashboard() -> Value {
    let text = read("deploy/k8s/components/monitoring/dashboard.json");
    serde_json::from_str(&text).expect("the dashboard is JSON")
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

/// Title and query of each target, with Grafana's variables replaced.
fn dashboard_queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in panels(dashboard) {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let filled = query.replace("$__rate_interval", "1m");
            let filled = filled.replace("$namespace", ".*").replace("$provider", ".*");
            assert!(!filled.contains('$'), "{title}: an unknown variable: {query}");
            queries.push((title.to_owned(), filled));
        }
    }
    queries
}

#[tokio::test]
async fn every_query_asks_for_what_is_exported() {
    let families = families().await;
    let alerts = alerts().into_iter().map(|alert| (alert.name, alert.expression));
    let dashboard = dashboard_queries(&dashboard());
    assert!(dashboard.len() > 40, "{} queries", dashboard.len());
    let problems: Vec<_> =
        alerts.chain(dashboard).filter_map(|(place, query)| check(&families, &place, &query).err()).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));

    // The check itself must be able to fail.
    for wrong in [
        "rate(fleet_api_webhook_total[5m])",
        r#"fleet_api_webhooks_total{provider="nui"}"#,
        r#"fleet_api_webhooks_total{queue="niu"}"#,
        r#"fleet_api_webhooks_total{outcome!="okay"}"#,
        "sum by (reason) (fleet_api_webhooks_total)",
        "sum by (queue) (fleet_queue_backlog_bytes)",
        "fleet_api_commit_messages_total",
        "rate(fleet_api_webhooks_total[5m]",
    ] {
        assert!(check(&families, "a wrong one", wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard = dashboard();
    assert!(!dashboard["uid"].as_str().unwrap().is_empty());
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 38, "Grafana 10");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "namespace", "provider"]);
    let rows = panels(&dashboard).iter().filter(|panel| panel["type"] == "row");
    let rows: Vec<_> = rows.map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(
        rows,
        ["Overview", "API", "Queue", "AMQP", "Consumer", "Database", "Queries", "Autoscaling and processes"]
    );
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "twice: {panel}");
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
        }
    }
}
