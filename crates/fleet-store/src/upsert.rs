//! The statements that write `vehicles`, made from the columns of `vehicle_row`.

use std::sync::LazyLock;

use fleet_failpoints::Failpoint;

use crate::settled::REPLICATE_UNLESS_SETTLED;
use crate::vehicle_row::{ATTRIBUTES, AttributeColumns, FIELDS, POSITION, ROW_TYPE};

/// Stores the vehicles of a part and the part itself, in one statement and therefore in one transaction and one round
/// trip. Each attribute keeps the greater of the stored and the new (time, receipt, value). A maximum is commutative,
/// associative and idempotent: any order and any repetition of batches gives the same row. Values that were stored
/// before receipts were recorded have no receipt, and are less than any other value of the same time.
pub fn store_state() -> &'static str {
    static STATEMENT: LazyLock<String> = LazyLock::new(build_statement);
    &STATEMENT
}

/// The statement returns the number of new vehicles. An inserted row has no `xmax`. An updated row has the
/// transaction that locked it, which is this one.
fn build_statement() -> String {
    format!(
        "WITH written AS (\n{}\nRETURNING v.xmax = 0 AS is_new\n),\n\
         settled AS (\n\
         INSERT INTO settled_state_batches (lease_id, first_record, records, provider, vehicles)\n\
         VALUES ($2, $3, $4, $1::text, $5)\nON CONFLICT DO NOTHING\nRETURNING 1\n)\n\
         SELECT count(*) FILTER (WHERE is_new), {REPLICATE_UNLESS_SETTLED} FROM written",
        upsert(6)
    )
}

/// The same without a part, for vehicles that did not come from a queue.
pub fn raise_state() -> &'static str {
    static STATEMENT: LazyLock<String> = LazyLock::new(|| upsert(2));
    &STATEMENT
}

/// The provider is the first parameter. `vehicles` is the number of the parameter with the vehicles.
fn upsert(vehicles: usize) -> String {
    let mut updates: Vec<String> = Vec::new();
    let receipt = |row: &str, column: &str| format!("coalesce({row}.{column}, '-infinity')");
    // An absent altitude, heading or accuracy is less than any number.
    let key = |row: &str| {
        let rest = ["altitude_m", "heading_deg", "accuracy_m"];
        let rest = rest.map(|column| format!("coalesce({row}.{column}, '-Infinity')")).join(", ");
        format!("({row}.position_at, {}, {row}.lat, {row}.lon, {rest})", receipt(row, "position_received_at"))
    };
    let newer = format!(
        "v.position_at IS NULL OR v.lat IS NULL OR v.lon IS NULL OR {} > {}",
        key("excluded"),
        key("v")
    );
    for column in POSITION.into_iter().chain(["position_at", "position_received_at"]) {
        updates.push(format!("{column} = CASE WHEN {newer} THEN excluded.{column} ELSE v.{column} END"));
    }
    for AttributeColumns { value, at, received_at } in ATTRIBUTES {
        // A value that an operator has cleared before a replay is less than any other, whatever its time.
        let newer = if Failpoint::ArrivalOrder.is_active() {
            format!("excluded.{at} IS NOT NULL")
        } else {
            format!(
                "v.{at} IS NULL OR v.{value} IS NULL OR \
                 (excluded.{at}, excluded.{received_at}, excluded.{value}) > (v.{at}, {}, v.{value})",
                receipt("v", received_at)
            )
        };
        for column in [value, at, received_at] {
            updates.push(format!("{column} = CASE WHEN {newer} THEN excluded.{column} ELSE v.{column} END"));
        }
    }
    // least() and greatest() ignore nulls.
    updates.push("first_seen_at = least(v.first_seen_at, excluded.first_seen_at)".to_owned());
    updates.push("last_seen_at = greatest(v.last_seen_at, excluded.last_seen_at)".to_owned());
    updates.push("clock_skewed_at = greatest(v.clock_skewed_at, excluded.clock_skewed_at)".to_owned());

    let names = FIELDS.iter().map(|(name, _type)| *name).collect::<Vec<_>>().join(", ");
    let updates = updates.join(",\n    ");
    format!(
        "INSERT INTO vehicles AS v (provider, {names})\n\
         SELECT $1::text, {names}\n  FROM unnest(${vehicles}::{ROW_TYPE}[])\n\
         ON CONFLICT (vehicle_id) DO UPDATE SET\n    {updates}"
    )
}
