//! The number of shards changes under load, in the documented order and in the wrong one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{api, consumer, started};
use crate::process::program::{Program, Site, report, run};
use crate::support::{TOKEN, TestDatabase, eventually};

/// How many clients send webhooks at the same time.
const CLIENTS: usize = 6;

/// Sends reports to the current API, one after the other, and remembers the numbers of those that were answered 200.
struct Load {
    url: watch::Sender<String>,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    clients: JoinSet<BTreeSet<usize>>,
}

impl Load {
    fn start(api: &Program) -> Self {
        let url = watch::Sender::new(api.webhooks());
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let next = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _client in 0..CLIENTS {
            let (url, next) = (url.subscribe(), Arc::clone(&next));
            let (stop, accepted) = (Arc::clone(&stop), Arc::clone(&accepted));
            clients.spawn(async move {
                let (client, mut acknowledged) = (reqwest::Client::new(), BTreeSet::new());
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let target = url.borrow().clone();
                    let posted = client.post(target).header("token", TOKEN).body(report(number)).send().await;
                    // A connection of a process that ends may break; such a report may be stored, and need not be.
                    if posted.is_ok_and(|response| response.status() == 200) {
                        acknowledged.insert(number);
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                acknowledged
            });
        }
        Self { url, stop, accepted, clients }
    }

    /// Waits until more reports were answered 200.
    async fn more(&self) {
        let goal = self.accepted.load(Ordering::Relaxed) + 100;
        eventually("more webhooks to be accepted", async || {
            (self.accepted.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    async fn stop(mut self) -> BTreeSet<usize> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeSet::new();
        while let Some(acknowledged) = self.clients.join_next().await {
            all.extend(acknowledged.unwrap());
        }
        all
    }
}

/// Both programs under load.
struct Scene {
    database: TestDatabase,
    site: Site,
    api: Program,
    consumer: Program,
    load: Load,
}

impl Scene {
    async fn start(shards: u8) -> Self {
        let database = TestDatabase::migrated().await;
        let site = Site::new(database.url());
        let api = started(&mut api(&site, shards)).await;
        let consumer = started(&mut consumer(&site, shards, &[])).await;
        let load = Load::start(&api);
        load.more().await;
        Self { database, site, api, consumer, load }
    }

    /// Replaces the API as a rolling update does: the new one is ready before the old one gets SIGTERM.
    async fn api(&mut self, shards: u8) {
        let new = started(&mut api(&self.site, shards)).await;
        self.load.url.send_replace(new.webhooks());
        let old = std::mem::replace(&mut self.api, new);
        old.signal(Signal::TERM);
        assert_eq!(old.ended().await.code, Some(0));
        self.load.more().await;
    }

    async fn consumer(&mut self, shards: u8) {
        let new = started(&mut consumer(&self.site, shards, &[])).await;
        let old = std::mem::replace(&mut self.consumer, new);
        old.signal(Signal::TERM);
        assert_eq!(old.ended().await.code, Some(0));
        self.load.more().await;
    }

    /// Every report that was answered 200 must be stored, and none twice.
    async fn stores_everything(self, shards: u8, every_queue: &[&str]) {
        let Self { database, site, api: _api, consumer: _consumer, load } = self;
        let acknowledged = load.stop().await;
        for queue in every_queue {
            eventually(&format!("{queue} to be empty"), async || {
                let status = site.queue_of(queue).await;
                assert!(status.balances(), "{queue}: {status:?}");
                (status.backlog().messages == 0).then_some(())
            })
            .await;
            assert!(site.queue_of(queue).await.accepted.messages > 0, "{queue} was used");
        }
        let client = database.client().await;
        let rows = client.query("SELECT provider_vehicle_id FROM vehicles", &[]).await.unwrap();
        let stored: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
        let lost: Vec<_> =
            acknowledged.iter().filter(|number| !stored.contains(&format!("NBPROCESS{number}"))).collect();
        assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
        let row = client
            .query_one("SELECT count(*), count(DISTINCT vehicle_id) FROM telemetry", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1), "some are stored twice");
        let audit = run(&mut consumer(&site, shards, &["audit"])).await;
        assert_eq!(audit.code, Some(0), "{audit:?}");
    }
}

#[tokio::test]
async fn growing_and_shrinking_as_documented() {
    let mut scene = Scene::start(1).await;
    scene.consumer(3).await;
    scene.api(3).await;
    scene.api(2).await;
    scene.consumer(2).await;
    scene.api(1).await;
    scene.consumer(1).await;
    scene.stores_everything(1, &["niu", "niu.0", "niu.1", "niu.2"]).await;
}

#[tokio::test]
async fn growing_and_shrinking_in_the_wrong_order() {
    let mut scene = Scene::start(2).await;
    scene.api(4).await;
    scene.consumer(4).await;
    scene.consumer(1).await;
    scene.api(1).await;
    scene.stores_everything(1, &["niu", "niu.0", "niu.1", "niu.2", "niu.3"]).await;
}
