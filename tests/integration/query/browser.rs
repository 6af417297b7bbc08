//! The map in a real browser.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet_testbed::{Browser, DatabaseLogin, Progress};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::fleet::{insert, set, vehicle_at};
use super::rig::Service;
use crate::support::{Fleet, TOKEN, TestDatabase, eventually, folder_of_binaries};

/// A tab.
struct Page {
    _browser: Browser,
    session: String,
    http: reqwest::Client,
}

impl Page {
    async fn open(url: &str) -> Self {
        let start = || Browser::start(&Progress::stderr()).unwrap_or_else(|error| panic!("{error}"));
        let browser = tokio::task::spawn_blocking(start).await.unwrap();
        let http = reqwest::Client::new();
        // Tests run as root, with which Chromium's sandbox does not work.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1280,800",
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let made = ask(&http, &format!("{}/session", browser.url()), &capabilities).await;
        let session = format!("{}/session/{}", browser.url(), made["sessionId"].as_str().unwrap());
        let page = Self { _browser: browser, session, http };
        page.post("url", &json!({ "url": url })).await;
        page
    }

    async fn post(&self, command: &str, body: &Value) -> Value {
        ask(&self.http, &format!("{}/{command}", self.session), body).await
    }

    /// The value of an expression.
    async fn value(&self, expression: &str) -> Value {
        let script = format!("try {{ return {expression} }} catch {{ return null }}");
        self.post("execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Waits until an expression is true.
    async fn until(&self, expression: &str) {
        eventually(expression, async || (self.value(expression).await == true).then_some(())).await;
    }

    /// The messages of the browser since the last call.
    async fn log(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": "browser" })).await;
        let entries = entries.as_array().unwrap().iter();
        entries.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Writes a picture of the page for people to look at.
    async fn picture(&self, name: &str) {
        let shot = self.http.get(format!("{}/screenshot", self.session)).send().await.unwrap();
        let shot: Value = serde_json::from_str(&shot.text().await.unwrap()).unwrap();
        let picture = STANDARD.decode(shot["value"].as_str().unwrap()).unwrap();
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000);
        std::fs::write(folder_of_binaries().join(name), picture).unwrap();
    }
}

async fn ask(http: &reqwest::Client, url: &str, body: &Value) -> Value {
    let request = http.post(url).header("content-type", "application/json").body(body.to_string());
    let text = request.send().await.unwrap().text().await.unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert!(answer["value"]["error"].is_null(), "{url} {body}: {answer}");
    answer["value"].clone()
}

/// Vehicles in a city, of which some are online.
fn city() -> Vec<Value> {
    let mut rng = fastrand::Rng::with_seed(10);
    let mut around = move |centre: f64, most: f64| centre + most * (rng.f64() + rng.f64() + rng.f64() - 1.5);
    let one = |number: u32| {
        let mut made = vehicle_at(&format!("CITY-{number}"), around(52.52, 0.05), around(13.4, 0.1));
        let now = json!(Timestamp::now().to_string());
        for (column, value) in [
            ("online", json!(!number.is_multiple_of(10))),
            ("powered_on", json!(number.is_multiple_of(3))),
            ("charging", json!(number.is_multiple_of(13))),
            ("battery_percent", json!(f64::from(number % 100))),
        ] {
            set(&mut made, column, value);
            set(&mut made, &format!("{}_at", column.trim_end_matches("_percent")), now.clone());
        }
        made
    };
    (0..800).map(one).collect()
}

/// A webhook of NIU.
async fn post_position(fleet: &Fleet, lat: f64, lng: f64) {
    let now = Timestamp::now().as_millisecond();
    let body = json!({
        "sn": "BROWSER-1", "type": "status", "infoTimestamp": now, "gpsTimestamp": now,
        "postion": { "lat": lat, "lng": lng }, "isAccOn": 1, "nowSpeed": 20, "ss_online_sta": "1",
    });
    let webhook = reqwest::Client::new().post(format!("{}/webhooks/niu", fleet.api)).header("token", TOKEN);
    let webhook = webhook.header("content-type", "application/json").body(body.to_string());
    assert_eq!(webhook.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_map_shows_the_fleet_as_it_moves_and_survives_a_restart_of_the_service() {
    let database = TestDatabase::migrated().await;
    insert(&database.client().await, &city()).await;
    let fleet = Fleet::start(&database).await;
    let reader = database.url_as(DatabaseLogin::Reader);
    let mut service = Service::start(&reader, &[]).await;
    service.ready().await;
    let page = Page::open(&service.url).await;
    page.until("fleetMap.fleet.vehicles.size === 800").await;
    page.until("document.getElementById('status').textContent === 'Live'").await;
    page.until("document.getElementById('shown').textContent === '800'").await;

    post_position(&fleet, 52.5, 13.3).await;
    let find =
        "[...fleetMap.fleet.vehicles.values()].find((v) => v.data.provider_vehicle_id === 'BROWSER-1')";
    page.until(&format!("{find}.data.lat === 52.5")).await;
    page.value(&format!("(fleetMap.select({find}.data.vehicle_id, true), true)")).await;
    page.until("document.querySelector('#details h2').textContent === 'BROWSER-1'").await;
    page.until("document.querySelector('#details .track').textContent.includes(': 1 positions')").await;
    post_position(&fleet, 52.51, 13.31).await;
    page.until(&format!("{find}.data.lat === 52.51")).await;
    page.until("document.querySelector('#details dl').textContent.includes('52.51000, 13.31000')").await;
    page.until("fleetMap.drawing.track.length === 2").await;

    page.value("(document.querySelector('#details .close').click(), true)").await;
    page.until("document.getElementById('details').hidden").await;
    let choose = |id: &str, value: &str| {
        format!(
            "(document.getElementById('{id}').value = '{value}', document.getElementById('{id}').dispatchEvent(new Event('input')), true)"
        )
    };
    page.value(&choose("online", "false")).await;
    page.until("document.getElementById('shown').textContent === '80'").await;
    page.value(&choose("online", "")).await;
    page.value(&choose("search", "city-77")).await;
    page.until("document.querySelectorAll('#results button').length === 8").await;
    page.value("(document.querySelector('#results button').click(), true)").await;
    page.until("document.querySelector('#details h2').textContent.startsWith('CITY-77')").await;
    page.value("(document.querySelector('#details .close').click(), fleetMap.drawing.frames = 0, true)")
        .await;
    page.value(&choose("search", "")).await;
    page.value("(document.getElementById('show-all').click(), true)").await;
    page.until("fleetMap.drawing.frames > 0").await;
    page.picture("map.png").await;
    let problems: Vec<_> = page.log().await;
    assert!(problems.is_empty(), "{problems:?}");

    let address = service.url.strip_prefix("http://").unwrap().to_owned();
    service.stop();
    assert!(service.ended().await);
    page.until("!document.getElementById('notice').hidden").await;
    post_position(&fleet, 52.52, 13.32).await;
    fleet.settled().await;
    let _service = Service::start_at(&address, &reader, &[]).await;
    page.until(&format!("{find}.data.lat === 52.52")).await;
    page.until("document.getElementById('notice').hidden && fleetMap.fleet.vehicles.size === 801").await;
    fleet.stop().await;
}

#[tokio::test]
async fn the_map_asks_for_a_token_if_the_service_has_one() {
    let database = TestDatabase::migrated().await;
    insert(&database.client().await, &[vehicle_at("one", 1.0, 2.0)]).await;
    let token = ("FLEET_QUERY__TOKENS__APP__SECRETS", "0123456789abcdef");
    let service = Service::start(&database.url_as(DatabaseLogin::Reader), &[token]).await;
    let page = Page::open(&service.url).await;
    for given in ["wrong-token-000001", "0123456789abcdef"] {
        page.until("document.getElementById('login').open").await;
        let enter = format!(
            "(document.getElementById('token').value = '{given}', document.querySelector('#login button').click(), true)"
        );
        page.value(&enter).await;
    }
    page.until("fleetMap.fleet.vehicles.size === 1 && !document.getElementById('login').open").await;
    assert_eq!(
        page.value("localStorage.length + document.cookie.length").await,
        0,
        "it is kept in the tab only"
    );
}
