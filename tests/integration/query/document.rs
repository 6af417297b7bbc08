//! The OpenAPI document describes what is answered.

use std::collections::BTreeSet;

use serde_json::Value;
use uuid::Uuid;

use super::fleet::{id, random_fleet};
use super::rig::{Rig, Service};
use super::tracks::report;

/// Follows a reference into the document.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(path) => document.pointer(path.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{path}")),
        None => schema,
    }
}

/// Checks types, required members and unknown members.
fn check(document: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = resolved(document, schema);
    for name in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[name].as_array() {
            let fits = choices.iter().any(|choice| has_type(resolved(document, choice), value));
            assert!(fits, "{place}: {value} is none of {choices:?}");
            let choice = choices.iter().find(|choice| has_type(resolved(document, choice), value)).unwrap();
            return check(document, choice, value, place);
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        // Each part describes some of the members.
        let known: BTreeSet<_> = parts.iter().flat_map(|part| names(resolved(document, part))).collect();
        assert_known(&known, value, place);
        return parts.iter().for_each(|part| check_members(document, resolved(document, part), value, place));
    }
    assert!(has_type(schema, value), "{place}: {value} is not {schema}");
    if schema["properties"].is_object() {
        assert_known(&names(schema).collect(), value, place);
        check_members(document, schema, value, place);
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(document, &schema["items"], item, &format!("{place}[{index}]"));
    }
}

fn names(schema: &Value) -> impl Iterator<Item = &String> {
    schema["properties"].as_object().into_iter().flat_map(|properties| properties.keys())
}

fn assert_known(known: &BTreeSet<&String>, value: &Value, place: &str) {
    for name in value.as_object().into_iter().flat_map(|members| members.keys()) {
        assert!(known.contains(name), "{place}: {name} is not documented");
    }
}

fn check_members(document: &Value, schema: &Value, value: &Value, place: &str) {
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().unwrap()).is_some(), "{place}: {name} is missing");
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            check(document, schema, value, &format!("{place}.{name}"));
        }
    }
}

fn has_type(schema: &Value, value: &Value) -> bool {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is = |wanted: &Value| wanted == kind || (wanted == "number" && kind == "integer");
    match &schema["type"] {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(is),
        one @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => is(one),
    }
}

#[tokio::test]
async fn what_is_answered_is_documented() {
    let fleet = random_fleet(50, &mut fastrand::Rng::with_seed(8));
    let rig = Rig::start(&fleet).await;
    let one = id(&fleet[0]);
    for seconds in 0..5 {
        report(
            &rig.client,
            one,
            jiff::Timestamp::now() - jiff::SignedDuration::from_secs(10 * seconds),
            1.0,
            2.0,
        )
        .await;
    }
    let document = rig.service.json("/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/v1/vehicles"]["get"]["security"].is_null(), "this service needs no token");
    let name = fleet[0]["provider_vehicle_id"].as_str().unwrap();
    let provider = fleet[0]["provider"].as_str().unwrap();
    let paths = [
        ("/v1/vehicles", "/v1/vehicles?limit=20".to_owned()),
        ("/v1/vehicles", "/v1/vehicles?near=52.5,13.4&radius_m=20000000&limit=20".to_owned()),
        ("/v1/vehicles", "/v1/vehicles?x=1".to_owned()),
        ("/v1/vehicles/{vehicle_id}", format!("/v1/vehicles/{one}")),
        ("/v1/vehicles/{vehicle_id}", format!("/v1/vehicles/{}", Uuid::nil())),
        (
            "/v1/providers/{provider}/vehicles/{provider_vehicle_id}",
            format!("/v1/providers/{provider}/vehicles/{name}"),
        ),
        ("/v1/vehicles/{vehicle_id}/track", format!("/v1/vehicles/{one}/track?limit=2")),
        ("/v1/vehicles/{vehicle_id}/track", format!("/v1/vehicles/{}/track", id(&fleet[1]))),
    ];
    for (documented, path) in paths {
        for accept in ["application/json", "application/geo+json"] {
            let answer = Service::send(rig.service.request(&path).header("accept", accept)).await;
            let response = &document["paths"][documented]["get"]["responses"][answer.status.to_string()];
            let schema = &response["content"][answer.header("content-type")]["schema"];
            assert!(schema.is_object(), "{path}: {} {response}", answer.status);
            check(&document, schema, &answer.json(), &path);
        }
    }
}

/// A parameter that is documented is accepted, and one that is accepted is documented.
#[tokio::test]
async fn the_documented_parameters_are_those_that_are_accepted() {
    let rig = Rig::start(&random_fleet(1, &mut fastrand::Rng::with_seed(9))).await;
    let document = rig.service.json("/openapi.json").await;
    let one =
        rig.service.json("/v1/vehicles").await["vehicles"][0]["vehicle_id"].as_str().unwrap().to_owned();
    for (documented, path) in [
        ("/v1/vehicles", "/v1/vehicles".to_owned()),
        ("/v1/vehicles/stream", "/v1/vehicles/stream".to_owned()),
        ("/v1/vehicles/{vehicle_id}/track", format!("/v1/vehicles/{one}/track")),
    ] {
        let parameters = document["paths"][documented]["get"]["parameters"].as_array().unwrap();
        let names = parameters.iter().filter(|parameter| parameter["in"] == "query");
        let names: BTreeSet<_> = names.map(|parameter| parameter["name"].as_str().unwrap()).collect();
        let problem = rig.service.get(&format!("{path}?no-such=1")).await.json();
        let detail = problem["detail"].as_str().unwrap();
        let accepted = detail.split("use ").nth(1).unwrap().split(", ").collect::<BTreeSet<_>>();
        assert_eq!(names, accepted, "{documented}");
    }
}
