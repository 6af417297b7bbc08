//! The alert rules, their tests and the runbook name the same alerts.

use serde_json::Value;

use crate::documents::text::read;

const RULES: &str = "deploy/k8s/rules/fleet.rules.yaml";
const TESTS: &str = "deploy/k8s/rules/fleet.rules.test.yaml";

/// One alert.
pub(crate) struct Alert {
    pub(crate) name: String,
    pub(crate) expression: String,
    pub(crate) runbook_url: String,
}

fn yaml(path: &str) -> Value {
    yaml_serde::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn items(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

/// Every alert. All fields must be there.
pub(crate) fn alerts() -> Vec<Alert> {
    let rules = yaml(RULES);
    let rules = items(&rules["groups"]).iter().flat_map(|group| items(&group["rules"]));
    rules
        .map(|rule| {
            let text = |value: &Value| {
                let text = value.as_str().unwrap_or_else(|| panic!("something is missing in {rule}"));
                assert!(!text.trim().is_empty(), "something is empty in {rule}");
                text.to_owned()
            };
            // No recording rules: they would delay the values by which consumers are scaled.
            let name = text(&rule["alert"]);
            let severity = text(&rule["labels"]["severity"]);
            assert!(["critical", "warning"].contains(&severity.as_str()), "{name}: {severity}");
            let annotations = &rule["annotations"];
            for annotation in ["summary", "description"] {
                text(&annotations[annotation]);
            }
            Alert { name, expression: text(&rule["expr"]), runbook_url: text(&annotations["runbook_url"]) }
        })
        .collect()
}

fn minutes(test: &Value) -> u32 {
    let time = test["eval_time"].as_str().unwrap();
    time.strip_suffix('m').unwrap_or_else(|| panic!("{time}")).parse().unwrap()
}

/// promtool runs the tests. This test checks that none is missing.
#[test]
fn every_alert_has_tests_in_which_it_fires_and_clears_and_a_healthy_hour() {
    let tests = yaml(TESTS);
    let tests = items(&tests["tests"]);
    let healthy = tests.iter().find(|test| test["name"] == "A healthy hour").unwrap();
    for Alert { name, .. } in alerts() {
        let about = |test: &&Value| test["alertname"] == name.as_str();
        let quiet = |test: &Value| items(&test["exp_alerts"]).is_empty();
        let in_the_hour: Vec<_> = items(&healthy["alert_rule_test"]).iter().filter(about).collect();
        assert!(
            in_the_hour.len() >= 3 && in_the_hour.iter().all(|test| quiet(test)),
            "{name}: the healthy hour"
        );
        let fires_and_clears = tests.iter().any(|test| {
            let about: Vec<_> = items(&test["alert_rule_test"]).iter().filter(about).collect();
            let fired = about.iter().find(|test| !quiet(test)).map(|test| minutes(test));
            fired.is_some_and(|fired| about.iter().any(|test| quiet(test) && minutes(test) > fired))
        });
        assert!(fires_and_clears, "{name}");
    }
}
