//! A running fleet, and a connection to its database.

use fleet_fixtures::Fixture;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::answers::client::{Answer, NIU_TOKEN, post};
use crate::support::{Fleet, TOKEN, TestDatabase};

pub(super) struct Scene {
    pub(super) fleet: Fleet,
    pub(super) sql: Client,
    _database: TestDatabase,
}

impl Scene {
    /// With the default retention.
    pub(super) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With a retention that keeps the fixtures, which are years old.
    pub(super) async fn long_ago() -> Self {
        Self::start_with(&[("FLEET_RETENTION__TELEMETRY_DAYS", "36500")]).await
    }

    async fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut scene = Self::api_only(variables).await;
        scene.fleet.start_consumer();
        scene
    }

    /// Without a consumer at first.
    pub(super) async fn api_only(variables: &[(&str, &str)]) -> Self {
        let database = TestDatabase::migrated().await;
        let variables = [variables, &[("FLEET_DATABASE_URL", database.url())]].concat();
        let fleet = Fleet::api_only(&variables).await;
        let sql = database.client().await;
        sql.batch_execute("SET TIME ZONE 'UTC'").await.unwrap();
        Self { fleet, sql, _database: database }
    }

    /// Posts a fixture as its provider does.
    pub(super) async fn post_fixture(&self, provider: &str, file: &str) -> Answer {
        let Fixture { topic, content_type, body, .. } = Fixture::named(provider, file);
        self.post(provider, topic, ("content-type", content_type), body).await
    }

    /// Posts `body` with `provider`'s authentication in the headers.
    pub(super) async fn post(
        &self,
        provider: &str,
        topic: &str,
        media_type: (&str, &str),
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let bearer = format!("Bearer {TOKEN}");
        let headers: &[(&str, &str)] = match provider {
            "niu" => &[NIU_TOKEN, media_type],
            "invers" => &[("authorization", &bearer), media_type],
            _ => &[media_type],
        };
        let path = format!("/webhooks/{provider}/{topic}");
        post(&self.fleet.api, path.trim_end_matches('/'), headers, body).await
    }

    /// Posts `body` as NIU, which must succeed. Returns the message's id.
    pub(super) async fn take(&self, body: impl Into<Vec<u8>>) -> Uuid {
        let answer = self.post("niu", "", ("content-type", "application/json"), body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.message_id()
    }

    /// Posts the fixtures one after the other, and waits after each until it is settled.
    pub(super) async fn take_fixtures(&self, provider: &str, files: &[&str]) {
        for file in files {
            let answer = self.post_fixture(provider, file).await;
            assert_eq!(answer.status, 200, "{file}");
            self.fleet.settled().await;
        }
    }

    /// The vehicle's row without nulls and without the times of receipt.
    pub(super) async fn vehicle(&self, provider_vehicle_id: &str) -> Value {
        let query = "SELECT jsonb_object_agg(key, value)
                       FROM vehicles v, jsonb_each(jsonb_strip_nulls(to_jsonb(v))) AS columns (key, value)
                      WHERE provider_vehicle_id = $1
                        AND key NOT IN ('vehicle_id', 'first_seen_at', 'last_seen_at') AND key NOT LIKE '%received_at'
                      GROUP BY vehicle_id";
        let row = self.sql.query_opt(query, &[&provider_vehicle_id]).await.unwrap();
        row.map_or(Value::Null, |row| row.get(0))
    }

    /// The number of telemetry rows and of dead letters of a message.
    pub(super) async fn stored(&self, message: Uuid) -> (i64, i64) {
        let query = "SELECT (SELECT count(*) FROM telemetry WHERE message_id = $1),
                            (SELECT count(*) FROM dead_letters WHERE message_id = $1)";
        let row = self.sql.query_one(query, &[&message]).await.unwrap();
        (row.get(0), row.get(1))
    }

    /// The one value of a query's one row.
    pub(super) async fn value<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, query: &str) -> T {
        self.sql.query_one(query, &[]).await.unwrap().get(0)
    }
}
