//! The reference for the query service: the same axum, and a query of PostgreSQL for each request.
//!
//! It has a pool of connections with prepared statements, and writes the same fields.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{NoTls, Row};
use uuid::Uuid;

use crate::failure::Failure;
use crate::reference::serve;

/// What PostgreSQL needs for boxes and circles.
pub(crate) const INDEX: &str = "CREATE INDEX bench_position ON vehicles USING gist (point(lon, lat))";

const COLUMNS: &str = "vehicle_id, provider, provider_vehicle_id, lat, lon, altitude_m, heading_deg, accuracy_m, position_at, \
     extract(epoch FROM now() - position_at)::float8 AS position_age_s, position_received_at AS received_at, \
     speed_kmh, speed_at, battery_percent, battery_at, range_m, range_at, odometer_m, odometer_at, powered_on, powered_on_at, \
     locked, locked_at, charging, charging_at, online, online_at, driving_enabled, driving_enabled_at, \
     first_seen_at, last_seen_at, clock_skewed_at > last_seen_at - interval '24 hours' IS TRUE AS clock_skewed";

const IN_BOX: &str = "point(lon, lat) <@ box(point($1, $2), point($3, $4))";

/// Metres from the point in $5 and $6, on a sphere.
const DISTANCE: &str = "2 * 6371008.8 * asin(least(1, sqrt(sin(radians(lat - $5) / 2) ^ 2 \
     + cos(radians($5)) * cos(radians(lat)) * sin(radians(lon - $6) / 2) ^ 2)))";

const CONNECTIONS: usize = 8;
const METRES_A_DEGREE: f64 = 111_195.0;

/// The pool and the statements.
#[derive(Debug)]
struct Queries {
    pool: Pool,
    bbox: String,
    near: String,
    by_id: String,
}

/// Serves boxes, circles and single vehicles.
pub(crate) async fn run(port: u16, database_url: &str) -> Result<(), Failure> {
    let config: tokio_postgres::Config = database_url.parse()?;
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let pool = Pool::builder(Manager::from_config(config, NoTls, recycling)).max_size(CONNECTIONS).build();
    let queries = Queries {
        pool: pool.map_err(|error| Failure::measurement(error.to_string()))?,
        bbox: format!("SELECT {COLUMNS} FROM vehicles WHERE {IN_BOX} ORDER BY vehicle_id LIMIT 1001"),
        near: format!(
            "SELECT * FROM (SELECT {COLUMNS}, {DISTANCE} AS distance_m FROM vehicles WHERE {IN_BOX}) AS near \
             WHERE distance_m <= $7 ORDER BY distance_m, vehicle_id LIMIT 1001"
        ),
        by_id: format!("SELECT {COLUMNS} FROM vehicles WHERE vehicle_id = $1"),
    };
    let router = Router::new()
        .route("/v1/vehicles", get(list))
        .route("/v1/vehicles/{vehicle_id}", get(one))
        .with_state(Arc::new(queries));
    serve(port, router).await
}

async fn list(State(queries): State<Arc<Queries>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let numbers = |name: &str| -> Option<Vec<f64>> {
        parameter(name)?.split(',').map(|number| number.parse().ok()).collect()
    };
    let (bbox, near, radius) = (numbers("bbox"), numbers("near"), numbers("radius_m"));
    let rows = match (bbox.as_deref(), near.as_deref(), radius.as_deref()) {
        (Some([west, south, east, north]), _, _) => {
            queries.rows(&queries.bbox, &[west, south, east, north]).await
        }
        (_, Some([lat, lon]), Some([radius])) => {
            let up = radius / METRES_A_DEGREE;
            let right = up / lat.to_radians().cos();
            let (west, south, east, north) = (lon - right, lat - up, lon + right, lat + up);
            queries.rows(&queries.near, &[&west, &south, &east, &north, lat, lon, radius]).await
        }
        _ => return StatusCode::BAD_REQUEST.into_response(),
    };
    rows.map_or_else(|error| error.to_string().into_response(), |rows| json(&rows))
}

async fn one(State(queries): State<Arc<Queries>>, Path(id): Path<Uuid>) -> Response {
    match queries.rows(&queries.by_id, &[&id]).await {
        Ok(rows) if !rows.is_empty() => json(&rows),
        Ok(_none) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

impl Queries {
    async fn rows(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        let client = self.pool.get().await.map_err(|error| Failure::measurement(error.to_string()))?;
        let statement = client.prepare_cached(sql).await?;
        Ok(client.query(&statement, parameters).await?)
    }
}

fn json(rows: &[Row]) -> Response {
    let mut text = Vec::with_capacity(100 + rows.len() * 1_000);
    text.extend_from_slice(b"{\"as_of\":");
    write(&Timestamp::now(), &mut text);
    text.extend_from_slice(b",\"vehicles\":[");
    for (index, row) in rows.iter().enumerate() {
        text.push(if index == 0 { b'{' } else { b',' });
        if index > 0 {
            text.push(b'{');
        }
        vehicle(row, &mut text);
        text.push(b'}');
    }
    text.extend_from_slice(b"],\"after\":null}");
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn vehicle(row: &Row, text: &mut Vec<u8>) {
    for (index, column) in row.columns().iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.push(b'"');
        text.extend_from_slice(column.name().as_bytes());
        text.extend_from_slice(b"\":");
        let kind = column.type_();
        if *kind == Type::FLOAT8 {
            write(&row.get::<_, Option<f64>>(index), text);
        } else if *kind == Type::TIMESTAMPTZ {
            write(&row.get::<_, Option<Timestamp>>(index), text);
        } else if *kind == Type::BOOL {
            write(&row.get::<_, Option<bool>>(index), text);
        } else if *kind == Type::INT4 {
            write(&row.get::<_, Option<i32>>(index), text);
        } else if *kind == Type::UUID {
            write(&row.get::<_, Option<Uuid>>(index), text);
        } else {
            write(&row.get::<_, Option<&str>>(index), text);
        }
    }
}

fn write(value: &impl Serialize, text: &mut Vec<u8>) {
    // Writing numbers, texts and times into memory cannot fail.
    let _written = serde_json::to_writer(text, value);
}
