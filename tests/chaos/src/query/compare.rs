//! Compares vehicles, wherever they come from (pure).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

/// The fields of a vehicle.
pub(super) type Vehicle = Map<String, Value>;

/// Vehicles by `vehicle_id`.
pub(super) type Fleet = BTreeMap<String, Vehicle>;

/// A vehicle with its id, without the field that depends on the time of the response. Times are microseconds and all numbers floats,
/// because PostgreSQL and the service write them differently.
pub(super) fn comparable(vehicle: Value) -> Option<(String, Vehicle)> {
    let Value::Object(mut vehicle) = vehicle else { return None };
    vehicle.remove("position_age_s");
    for (name, value) in &mut vehicle {
        let time = value.as_str().filter(|_text| name.ends_with("_at"));
        if let Some(time) = time.and_then(|text| text.parse::<Timestamp>().ok()) {
            *value = Value::from(time.as_microsecond());
        } else if let Some(number) = value.as_f64() {
            *value = Value::from(number);
        }
    }
    let id = vehicle.get("vehicle_id")?.as_str()?.to_owned();
    Some((id, vehicle))
}

/// Where `found`, which `place` names, differs from the table.
pub(super) fn differences(table: &Fleet, found: &Fleet, place: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (id, wanted) in table {
        let Some(vehicle) = found.get(id) else {
            all.push(format!("{place}: vehicle {id} is missing"));
            continue;
        };
        let names = wanted.keys().chain(vehicle.keys().filter(|name| !wanted.contains_key(*name)));
        for name in names.filter(|name| wanted.get(*name) != vehicle.get(*name)) {
            let show =
                |vehicle: &Vehicle| vehicle.get(name).map_or_else(|| "no field".to_owned(), Value::to_string);
            all.push(format!("{place}: {name} of {id} is {} instead of {}", show(vehicle), show(wanted)));
        }
    }
    let unknown = found.keys().filter(|id| !table.contains_key(*id));
    all.extend(unknown.map(|id| format!("{place}: vehicle {id} is not in the table")));
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fleet(vehicles: &[Value]) -> Fleet {
        vehicles.iter().cloned().filter_map(comparable).collect()
    }

    #[test]
    fn the_same_state_is_equal_however_it_is_written() {
        let row = json!({"vehicle_id": "a", "lat": 52, "position_at": "2026-03-01T12:00:00.5+00:00", "online": null});
        let event = json!({
            "vehicle_id": "a", "lat": 52.0, "position_at": "2026-03-01T12:00:00.500Z", "online": null,
            "position_age_s": 3.5,
        });
        assert!(differences(&fleet(&[row]), &fleet(&[event]), "the stream").is_empty());
    }

    #[test]
    fn every_difference_is_found() {
        let row = |battery: Value| json!({"vehicle_id": "a", "battery_percent": battery, "battery_at": "2026-03-01T12:00:00Z"});
        let table = fleet(&[row(json!(5.0))]);
        let found = |vehicles: &[Value]| differences(&table, &fleet(vehicles), "the stream");
        assert_eq!(found(&[]), ["the stream: vehicle a is missing"]);
        assert_eq!(found(&[row(json!(4.0))]), ["the stream: battery_percent of a is 4.0 instead of 5.0"]);
        assert_eq!(found(&[row(Value::Null)]), ["the stream: battery_percent of a is null instead of 5.0"]);
        let mut late = row(json!(5.0));
        late["battery_at"] = json!("2026-03-01T12:00:00.000001Z");
        assert_eq!(found(&[late]).len(), 1, "a microsecond");
        let mut more = row(json!(5.0));
        more["locked"] = json!(true);
        assert_eq!(found(&[more]), ["the stream: locked of a is true instead of no field"]);
        let other = json!({"vehicle_id": "b"});
        assert_eq!(found(&[row(json!(5.0)), other]), ["the stream: vehicle b is not in the table"]);
    }
}
