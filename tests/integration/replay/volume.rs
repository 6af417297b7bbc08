//! A replay of more than one page: it reads every row once, and continues after an interruption.

use std::collections::BTreeSet;

use fleet_consumer::connect::Databases;
use fleet_store::{EventKey, PageBounds, PageCursor, Schema, TelemetryStore, Window};
use fleet_testbed::DatabaseLogin;
use rustix::process::Signal;

use super::stage::{ALL, Stage, count, push, vehicles};
use crate::process::program::{Site, run};
use crate::support::{Fleet, TestDatabase, eventually, redis_url};

const EVENTS: u64 = 30_000;
const VEHICLES: u64 = 300;

/// 30,000 reports of 300 vehicles over three days, in arrays of 1,000.
fn reports() -> Vec<String> {
    let report = |number: u64| {
        let (vehicle, round) = (number % VEHICLES, number / VEHICLES);
        let time = 1_718_000_000_000 + round * 2_592_000 + vehicle;
        let (speed, charge) = (number % 45, 100 - round);
        format!(
            r#"{{"sn":"V{vehicle}","infoTimestamp":{time},"nowSpeed":{speed},"isAccOn":{},"batteries":{{"compartmentA":{{"batteryCharging":{charge}}}}},"postion":{{"lat":52.{number:06},"lng":13.4}}}}"#,
            number % 2
        )
    };
    let numbers: Vec<_> = (0..EVENTS).collect();
    let bodies = numbers.chunks(1000).map(|numbers| {
        let reports: Vec<_> = numbers.iter().map(|number| report(*number)).collect();
        format!("[{}]", reports.join(","))
    });
    bodies.collect()
}

const RECEIVED_AT: &str = "2024-06-13T08:00:00Z";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_interrupted_says_how_to_go_on() {
    let stage = Stage::with_reports(RECEIVED_AT, &reports()).await;
    assert_eq!(stage.value::<i64>("SELECT count(*) FROM telemetry").await, 30_000);
    let before = stage.vehicles().await;
    stage.execute("TRUNCATE vehicles").await;
    let slow = [
        ("FLEET_CONSUMER__MAX_EVENTS_PER_SECOND", "2500"),
        ("FLEET_CONSUMER__MAX_TRANSACTION_EVENTS", "250"),
    ];
    let replay = stage.start_replay(&ALL, &slow);
    replay.logged("% of the range").await;
    // As when the terminal session ends.
    replay.signal(Signal::HUP);
    let ended = replay.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let read = count(&ended.output, "events read");
    assert!(read > 0 && read < EVENTS, "{ended:?}");

    let (_, rest) = ended.errors.split_once("go on with ").unwrap_or_else(|| panic!("{ended:?}"));
    let rest: Vec<_> = rest.split_whitespace().collect();
    let report = stage.replayed(&rest).await;
    assert_eq!(stage.vehicles().await, before, "{report}");
    let again = stage.replayed(&ALL).await;
    assert_eq!(count(&again, "events read"), EVENTS);
    assert_eq!(count(&again, "vehicles changed"), 0, "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_too_slow_is_asked_for_less_and_waited_for() {
    let stage = Stage::with_fixtures().await;
    let before = stage.vehicles().await;
    stage.execute("TRUNCATE vehicles").await;
    stage.execute("BEGIN; LOCK TABLE telemetry IN ACCESS EXCLUSIVE MODE").await;
    let settings = [
        ("FLEET_DATABASE__STATEMENT_TIMEOUT", "300ms"),
        // 400 is halved twice, down to the minimum.
        ("FLEET_CONSUMER__MAX_TRANSACTION_EVENTS", "400"),
    ];
    let impatient = stage.start_replay(&ALL, &settings);
    impatient.logged("retrying").await;
    impatient.signal(Signal::INT);
    let ended = impatient.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("go on with --from"), "{ended:?}");

    let patient = stage.start_replay(&ALL, &settings);
    patient.logged("retrying").await;
    stage.execute("ROLLBACK").await;
    let ended = patient.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(stage.vehicles().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pages_in_two_databases() {
    let (state, telemetry) = (TestDatabase::empty().await, TestDatabase::empty().await);
    state.migrate(Schema::State).await;
    telemetry.migrate(Schema::Telemetry).await;
    let urls = [("FLEET_DATABASE_URL", state.url()), ("FLEET_TELEMETRY_DATABASE_URL", telemetry.url())];
    let fleet = Fleet::start_with(&urls).await;
    let bodies: Vec<_> = reports().into_iter().map(String::into_bytes).collect();
    push(&fleet, "niu", "", "application/json", RECEIVED_AT.parse().unwrap(), &bodies).await;
    fleet.settled().await;
    let sql = state.client().await;
    let before = vehicles(&sql).await;
    sql.batch_execute("TRUNCATE vehicles").await.unwrap();

    let site = Site {
        redis: redis_url(),
        database: state.url().to_owned(),
        prefix: fleet.settings.queue.prefix.clone(),
        has_database_logins: true,
        ca_file: None,
    };
    let mut reports = Vec::new();
    for more in [&["--dry-run"][..], &[]] {
        let arguments = [&["replay"], &ALL[..], more].concat();
        let mut command = site.consumer(&arguments);
        command.env("FLEET_TELEMETRY_DATABASE_URL", telemetry.url());
        command.env("FLEET_CONSUMER__MAX_TRANSACTION_EVENTS", "200");
        let ended = run(&mut command).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(count(&ended.output, "events read"), EVENTS);
        assert_eq!(count(&ended.output, "vehicles created"), VEHICLES);
        assert!(ended.output.contains("The first 20 of 300 vehicles"), "{}", ended.output);
        reports.push(ended.output);
        if !more.is_empty() {
            assert_eq!(vehicles(&sql).await, "", "a dry run writes nothing");
        }
    }
    assert_eq!(vehicles(&sql).await, before);
    assert_pages_read_little_more_than_themselves(&telemetry).await;
    assert_eq!(reports[0].split_once('\n').unwrap().1, reports[1], "the dry run matches the replay");
}

/// Two replays have read 150 pages each. If they read a chunk again for every page, they would read 1.5 million
/// entries.
async fn assert_pages_read_little_more_than_themselves(telemetry: &TestDatabase) {
    let sql = telemetry.client().await;
    let query = "SELECT coalesce(sum(idx_tup_read), 0)::int8 FROM pg_stat_user_indexes
                  WHERE indexrelname LIKE '%telemetry_event'";
    // A session reports its statistics when it ends.
    let read = eventually("the replays' statistics", async || {
        let read: i64 = sql.query_one(query, &[]).await.unwrap().get(0);
        (read >= 60_000).then_some(read)
    });
    let read = read.await;
    assert!(read < 300_000, "{read} index entries for 60,000 rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_have_every_row_once() {
    let stage = Stage::with_fixtures().await;
    let another_day = "INSERT INTO telemetry
         SELECT vehicle_id, observed_at - INTERVAL '2 days', event_id, received_at, message_id, provider, topic, kind,
                lat, lon, speed_kmh, battery_percent, raw FROM telemetry";
    stage.execute(another_day).await;
    let databases = Databases::new(&stage.fleet.settings_as(DatabaseLogin::Migrator)).unwrap();
    let telemetry = TelemetryStore::new(databases.telemetry);
    let (from, to) = ("2024-01-01T00:00:00Z".parse().unwrap(), "2025-01-01T00:00:00Z".parse().unwrap());
    let windows = telemetry.windows(from, to).await.unwrap();
    assert!(windows.len() > 1 && windows.is_sorted_by(|left, right| left.from >= right.to), "{windows:?}");
    let keys = |query: &'static str| {
        let sql = &stage.sql;
        async move {
            let rows = sql.query(query, &[]).await.unwrap();
            let key = |row: &tokio_postgres::Row| EventKey {
                vehicle_id: row.get(0),
                observed_at: row.get(1),
                event_id: row.get(2),
            };
            rows.iter().map(key).map(|key| format!("{key:?}")).collect::<BTreeSet<_>>()
        }
    };
    let all = keys("SELECT vehicle_id, observed_at, event_id FROM telemetry").await;
    let segway =
        keys("SELECT vehicle_id, observed_at, event_id FROM telemetry WHERE provider = 'segway'").await;
    for (rows, bytes) in [(1, i64::MAX), (7, i64::MAX), (1000, 1), (1000, 2000), (1000, i64::MAX)] {
        for provider in [None, Some("segway")] {
            let bounds = PageBounds { rows, bytes };
            let (mut met, mut with_raw) = (Vec::new(), BTreeSet::new());
            for window in &windows {
                for (key, raw) in read(&telemetry, *window, provider, bounds).await {
                    met.push(format!("{key:?}"));
                    if raw {
                        with_raw.insert(format!("{key:?}"));
                    }
                }
            }
            assert_eq!(met.len(), all.len(), "{bounds:?}");
            assert_eq!(met.into_iter().collect::<BTreeSet<_>>(), all, "{bounds:?}");
            assert_eq!(&with_raw, provider.map_or(&all, |_| &segway), "{bounds:?}");
        }
    }
}

/// Every key of a window, and whether its event was read with it. Reads pages and checks their limits.
async fn read(
    telemetry: &TelemetryStore,
    window: Window,
    provider: Option<&str>,
    bounds: PageBounds,
) -> Vec<(EventKey, bool)> {
    let (mut cursor, mut met) = (PageCursor::new(window), Vec::new());
    while !cursor.is_done() {
        let page = telemetry.page(&cursor, provider, bounds).await.unwrap();
        cursor.advance(&page, bounds.rows);
        assert!(i64::try_from(page.rows.len()).unwrap() <= bounds.rows);
        let before_last = page.rows.iter().rev().skip(1);
        let bytes: usize = before_last.filter_map(|row| row.raw.as_ref()).map(String::len).sum();
        assert!(i64::try_from(bytes).unwrap() < bounds.bytes, "{bytes} of {bounds:?}");
        met.extend(page.rows.into_iter().map(|row| (row.key, row.raw.is_some())));
    }
    met
}
