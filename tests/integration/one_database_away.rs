//! State and telemetry are in two databases. If one of them is down, the other one continues.

use fleet_consumer::commands::audit::ledgers::Audit;
use fleet_store::{DatabaseOptions, Schema};
use fleet_testbed::{Postgres, Proxy};

use crate::support::{Fleet, TOKEN, TestDatabase, eventually, fresh_prefix};

/// A fleet with two databases on two servers, one of which a test may stop.
struct Rig {
    fleet: Fleet,
    prefix: String,
    lasting: TestDatabase,
    leaving: Postgres,
    proxy: Proxy,
    leaving_schema: Schema,
    posted: usize,
}

impl Rig {
    async fn start(leaving_schema: Schema) -> Self {
        let lasting = TestDatabase::empty().await;
        let leaving = tokio::task::spawn_blocking(|| Postgres::private(&[]).unwrap()).await.unwrap();
        let proxy = Proxy::start(leaving.port()).unwrap();
        let prefix = fresh_prefix();
        let rig = Self {
            fleet: Fleet::api_only(&[("FLEET_QUEUE__PREFIX", &prefix)]).await,
            prefix,
            lasting,
            leaving,
            proxy,
            leaving_schema,
            posted: 0,
        };
        for (schema, url) in [(Schema::State, rig.urls().0), (Schema::Telemetry, rig.urls().1)] {
            fleet_store::migrate(&DatabaseOptions::new(&url), schema).await.unwrap();
        }
        rig.with_consumer().await
    }

    /// The URLs of state and telemetry.
    fn urls(&self) -> (String, String) {
        let leaving =
            self.leaving.url().replace(&self.leaving.port().to_string(), &self.proxy.port().to_string());
        let lasting = self.lasting.url().to_owned();
        match self.leaving_schema {
            Schema::State => (leaving, lasting),
            Schema::Telemetry => (lasting, leaving),
        }
    }

    /// Replaces the running programs. The consumer's leases are shorter than the outages.
    async fn with_consumer(mut self) -> Self {
        let (state, telemetry) = self.urls();
        let variables = [
            ("FLEET_QUEUE__PREFIX", self.prefix.as_str()),
            ("FLEET_DATABASE_URL", &state),
            ("FLEET_TELEMETRY_DATABASE_URL", &telemetry),
            ("FLEET_CONSUMER__LEASE", "1s"),
            ("FLEET_CONSUMER__HEARTBEAT", "200ms"),
            ("FLEET_CONSUMER__RETRY_MAX", "300ms"),
        ];
        self.fleet = Fleet::start_with(&variables).await;
        self
    }

    /// Posts one report.
    async fn post(&mut self) {
        self.posted += 1;
        let body = format!(r#"{{"sn":"V{}","nowSpeed":7}}"#, self.posted);
        let post = reqwest::Client::new().post(format!("{}/webhooks/niu", self.fleet.api));
        let response = post.header("token", TOKEN).body(body).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }

    /// Posts one report and waits until the database that is up has it.
    async fn report(&mut self) {
        self.post().await;
        let count = match self.leaving_schema {
            Schema::State => "SELECT count(*) FROM telemetry",
            Schema::Telemetry => "SELECT count(*) FROM vehicles",
        };
        let client = self.lasting.client().await;
        let wanted = i64::try_from(self.posted).unwrap();
        eventually("the other database to have the report", async || {
            let stored: i64 = client.query_one(count, &[]).await.unwrap().get(0);
            (stored == wanted).then_some(())
        })
        .await;
    }

    /// Posts reports for longer than two leases, until a batch is parked.
    async fn report_meanwhile(&mut self) {
        let start = std::time::Instant::now();
        while start.elapsed().as_secs() < 3 || self.fleet.queue("niu").await.parked == 0 {
            self.report().await;
        }
        let status = self.fleet.queue("niu").await;
        assert!(status.balances(), "{status:?}");
        assert_eq!(status.settled.messages + status.leased().messages, status.claimed.messages);
    }

    async fn assert_complete(self) {
        self.fleet.settled().await;
        assert_eq!(self.fleet.queue("niu").await.parked, 0);
        let counts = "SELECT count(*)::text FROM ";
        let (lasting, leaving) = match self.leaving_schema {
            Schema::State => ("telemetry", "vehicles"),
            Schema::Telemetry => ("vehicles", "telemetry"),
        };
        let client = self.lasting.client().await;
        let stored: String = client.query_one(&format!("{counts}{lasting}"), &[]).await.unwrap().get(0);
        assert_eq!(stored, self.posted.to_string());
        assert_eq!(self.leaving.psql(&format!("{counts}{leaving}")).unwrap(), self.posted.to_string());
        let audit = Audit::read(&self.fleet.settings).await.unwrap();
        assert!(audit.balances(), "{audit}");
        self.fleet.stop().await;
    }
}

#[tokio::test]
async fn without_its_history_the_state_goes_on() {
    the_other_goes_on_without(Schema::Telemetry).await;
}

#[tokio::test]
async fn without_the_state_its_history_goes_on() {
    the_other_goes_on_without(Schema::State).await;
}

async fn the_other_goes_on_without(schema: Schema) {
    let mut rig = Rig::start(schema).await;
    rig.report().await;
    rig.fleet.settled().await;
    rig.leaving.stop_immediate().unwrap();
    rig.report_meanwhile().await;
    rig.leaving.restart().unwrap();
    rig.report().await;
    rig.assert_complete().await;
}

#[tokio::test]
async fn a_database_that_says_nothing_is_away_as_well() {
    let mut rig = Rig::start(Schema::Telemetry).await;
    rig.report().await;
    rig.fleet.settled().await;
    rig.proxy.black_hole();
    rig.report_meanwhile().await;
    rig.proxy.heal();
    rig.report().await;
    rig.assert_complete().await;
}

#[tokio::test]
async fn what_stands_aside_outlives_its_consumer() {
    let mut rig = Rig::start(Schema::Telemetry).await;
    rig.leaving.stop_immediate().unwrap();
    rig.report_meanwhile().await;
    // Like `kill -9`: the old consumer finishes and releases nothing.
    let mut rig = rig.with_consumer().await;
    rig.report_meanwhile().await;
    rig.leaving.restart().unwrap();
    let rig = rig.with_consumer().await;
    rig.assert_complete().await;
}

#[tokio::test]
async fn a_database_that_is_back_is_not_kept_waiting_for_one_that_is_gone_since() {
    let mut rig = Rig::start(Schema::Telemetry).await;
    rig.report().await;
    rig.fleet.settled().await;
    rig.leaving.stop_immediate().unwrap();
    rig.report_meanwhile().await;
    // Now the state database is stuck, too. Batches that only need the state wait for it.
    let mut client = rig.lasting.client().await;
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE vehicles").await.unwrap();
    for _ in 0..4 {
        rig.post().await;
    }
    eventually("batches to wait for the state", async || {
        (rig.fleet.queue("niu").await.leases > 0).then_some(())
    })
    .await;
    rig.leaving.restart().unwrap();
    rig.post().await;
    eventually("the history to be complete", async || {
        let stored = rig.leaving.psql("SELECT count(*) FROM telemetry").unwrap();
        (stored == rig.posted.to_string()).then_some(())
    })
    .await;
    lock.rollback().await.unwrap();
    rig.assert_complete().await;
}
