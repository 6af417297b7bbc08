//! Databases full of reports that went through the queue, and the real `fleet-consumer` beside them.

use std::sync::Arc;

use fleet_queue::{Envelope, Producer, RedisLink, RedisLinkOptions};
use jiff::Timestamp;
use tokio_postgres::Client;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use crate::process::program::{Ended, Program, Site, hearing_hangups, run};
use crate::support::{Fleet, TestDatabase, redis_url};

/// A range that has all fixtures in it.
pub(super) const ALL: [&str; 4] = ["--from", "2024-01-01", "--to", "2025-01-01"];

/// A database, a running consumer and a place to run commands.
pub(super) struct Stage {
    pub(super) fleet: Fleet,
    pub(super) sql: Client,
    site: Site,
    _database: TestDatabase,
}

impl Stage {
    /// An empty one.
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

    /// One that has taken every fixture, ten seconds after most of them were observed.
    pub(super) async fn with_fixtures() -> Self {
        let stage = Self::empty().await;
        for fleet_fixtures::Fixture { provider, topic, content_type, body, .. } in fleet_fixtures::all() {
            let received_at = "2024-06-10T06:13:30Z".parse().unwrap();
            stage.push(&provider, topic, content_type, received_at, &[body]).await;
        }
        stage.fleet.settled().await;
        stage
    }

    /// One that has taken these reports of NIU.
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

    /// Runs it, and it must succeed; returns what it printed.
    pub(super) async fn replayed(&self, arguments: &[&str]) -> String {
        let ended = self.replay(arguments).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.output
    }

    /// Starts it with these settings on top.
    pub(super) fn start_replay(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Program {
        let mut command = self.site.consumer(&[&["replay"], arguments].concat());
        command.envs(settings.iter().copied());
        Program::start(&mut hearing_hangups(&command))
    }

    /// Whether the ledgers of queues and databases still agree.
    pub(super) async fn audit(&self) -> Ended {
        run(&mut self.site.consumer(&["audit"])).await
    }

    /// Every vehicle with everything it has.
    pub(super) async fn vehicles(&self) -> String {
        vehicles(&self.sql).await
    }

    /// Changes with every write to any row that a replay might touch, even one that writes what was there.
    pub(super) async fn versions(&self) -> String {
        let versions = |table: &str| {
            format!(
                "(SELECT string_agg(xmin::text || ctid::text, ' ' ORDER BY xmin::text, ctid) FROM {table})"
            )
        };
        let tables = ["vehicles", "telemetry", "settled_state_batches", "settled_batches", "dead_letters"];
        self.value(&format!("SELECT concat_ws('; ', {})", tables.map(versions).join(", "))).await
    }

    /// The one value of a query's one row.
    pub(super) async fn value<T: for<'a> FromSql<'a>>(&self, query: &str) -> T {
        self.sql.query_one(query, &[]).await.unwrap().get(0)
    }

    pub(super) async fn execute(&self, statement: &str) {
        self.sql.batch_execute(statement).await.unwrap();
    }
}

/// Puts messages into the queue of `provider`.
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

/// Every vehicle with everything it has.
pub(super) async fn vehicles(sql: &Client) -> String {
    let query =
        "SELECT coalesce(string_agg(to_jsonb(v)::text, E'\\n' ORDER BY vehicle_id), '') FROM vehicles v";
    sql.query_one(query, &[]).await.unwrap().get(0)
}

/// The count that the report has before this text.
pub(super) fn count(report: &str, of: &str) -> u64 {
    let mut lines = report.lines().filter_map(|line| line.trim().split_once(' '));
    let found = lines.find(|(_count, text)| text.starts_with(of));
    found.unwrap_or_else(|| panic!("no line about {of}: {report}")).0.parse().unwrap()
}
