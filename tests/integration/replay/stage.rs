//! Databases with reports that went through the queue, and the real `fleet-consumer` to run on them.

use std::sync::Arc;

use fleet_queue::{Envelope, Producer, RedisLink, RedisLinkOptions};
use jiff::Timestamp;
use tokio_postgres::Client;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use crate::process::program::{Ended, Program, Site, hearing_hangups, run};
use crate::support::{Fleet, TestDatabase, redis_url};

/// A range of time that contains all fixtures.
pub(super) const ALL: [&str; 4] = ["--from", "2024-01-01", "--to", "2025-01-01"];

/// A database, a running consumer, and the addresses for commands.
pub(super) struct Stage {
    pub(super) fleet: Fleet,
    pub(super) sql: Client,
    site: Site,
    _database: TestDatabase,
}

impl Stage {
    /// With an empty database.
    pub(super) async fn empty() -> Self {
        let database = TestDatabase::migrated().await;
        let fleet = Fleet::start(&database).await;
        let site = Site {
            redis: redis_url(),
            database: database.url().to_owned(),
            prefix: fleet.settings.queue.prefix.clone(),
            has_database_logins: true,
            ca_file: None,
        };
        let sql = database.client().await;
        Self { fleet, sql, site, _database: database }
    }

    /// With every fixture, received ten seconds after most of them were observed.
    pub(super) async fn with_fixtures() -> Self {
        let stage = Self::empty().await;
        for fleet_fixtures::Fixture { provider, topic, content_type, body, .. } in fleet_fixtures::all() {
            let received_at = "2024-06-10T06:13:30Z".parse().unwrap();
            stage.push(&provider, topic, content_type, received_at, &[body]).await;
        }
        stage.fleet.settled().await;
        stage
    }

    /// With these reports of NIU.
    pub(super) async fn with_reports(received_at: &str, bodies: &[String]) -> Self {
        let stage = Self::empty().await;
        let bodies: Vec<_> = bodies.iter().map(|body| body.clone().into_bytes()).collect();
        stage.push("niu", "", "application/json", received_at.parse().unwrap(), &bodies).await;
        stage.fleet.settled().await;
        stage
    }

    pub(super) async fn push(
        &self,
        provider: &str,
        topic: &str,
        media_type: &str,
        received_at: Timestamp,
        bodies: &[Vec<u8>],
    ) {
        push(&self.fleet, provider, topic, media_type, received_at, bodies).await;
    }

    /// Runs `fleet-consumer replay` to its end.
    pub(super) async fn replay(&self, arguments: &[&str]) -> Ended {
        run(&mut self.site.consumer(&[&["replay"], arguments].concat())).await
    }

    /// Runs `fleet-consumer replay`, which must succeed. Returns its output.
    pub(super) async fn replayed(&self, arguments: &[&str]) -> String {
        let ended = self.replay(arguments).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.output
    }

    /// Starts `fleet-consumer replay` with these additional settings.
    pub(super) fn start_replay(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Program {
        let mut command = self.site.consumer(&[&["replay"], arguments].concat());
        command.envs(settings.iter().copied());
        Program::start(&mut hearing_hangups(&command))
    }

    /// Runs `fleet-consumer audit`.
    pub(super) async fn audit(&self) -> Ended {
        run(&mut self.site.consumer(&["audit"])).await
    }

    /// All columns of every vehicle.
    pub(super) async fn vehicles(&self) -> String {
        vehicles(&self.sql).await
    }

    /// A text that changes with every write to a row that a replay might touch, even if the write changes no value.
    pub(super) async fn versions(&self) -> String {
        let versions = |table: &str| {
            format!(
                "(SELECT string_agg(xmin::text || ctid::text, ' ' ORDER BY xmin::text, ctid) FROM {table})"
            )
        };
        let tables = ["vehicles", "telemetry", "settled_state_batches", "settled_batches", "dead_letters"];
        self.value(&format!("SELECT concat_ws('; ', {})", tables.map(versions).join(", "))).await
    }

    /// The single value of a query's single row.
    pub(super) async fn value<T: for<'a> FromSql<'a>>(&self, query: &str) -> T {
        self.sql.query_one(query, &[]).await.unwrap().get(0)
    }

    pub(super) async fn execute(&self, statement: &str) {
        self.sql.batch_execute(statement).await.unwrap();
    }
}

/// Adds messages to the queue of `provider`.
pub(super) async fn push(
    fleet: &Fleet,
    provider: &str,
    topic: &str,
    media_type: &str,
    received_at: Timestamp,
    bodies: &[Vec<u8>],
) {
    let item = |body: &Vec<u8>| {
        let content_type = Some(media_type);
        let message_id = Uuid::now_v7();
        Envelope { message_id, received_at, topic, content_type, traceparent: None, body }.encode()
    };
    let items: Vec<_> = bodies.iter().map(item).collect();
    let link = Arc::new(
        RedisLink::open(&RedisLinkOptions::new(&redis_url(), fleet.settings.queue.timeout)).unwrap(),
    );
    Producer::new(link, &fleet.settings.queue.prefix, provider).push(&items).await.unwrap();
}

/// All columns of every vehicle.
pub(super) async fn vehicles(sql: &Client) -> String {
    let query =
        "SELECT coalesce(string_agg(to_jsonb(v)::text, E'\\n' ORDER BY vehicle_id), '') FROM vehicles v";
    sql.query_one(query, &[]).await.unwrap().get(0)
}

/// The number before the text `of` in the report.
pub(super) fn count(report: &str, of: &str) -> u64 {
    let mut lines = report.lines().filter_map(|line| line.trim().split_once(' '));
    let found = lines.find(|(_count, text)| text.starts_with(of));
    found.unwrap_or_else(|| panic!("no line about {of}: {report}")).0.parse().unwrap()
}
