//! Who may ask, and how much.

use uuid::Uuid;

use super::fleet::{id, vehicle_at};
use super::rig::{Answer, Rig, Service};
use crate::process::program::{Program, Site, own_ip};

const OLD: &str = "app-token-old-0001";
const NEW: &str = "app-token-new-0001";
const DESK: &str = "desk-token-0000001";

const TOKENS: [(&str, &str); 4] = [
    ("FLEET_QUERY__TOKENS__APP__SECRETS", "app-token-old-0001,app-token-new-0001"),
    ("FLEET_QUERY__TOKENS__DESK__SECRETS", DESK),
    ("FLEET_QUERY__TOKENS__DESK__SCOPES", "positions,tracks"),
    ("FLEET_QUERY__MAX_STREAMS", "2"),
];

async fn ask(rig: &Rig, path: &str, token: Option<&str>) -> Answer {
    let request = rig.service.request(path);
    Service::send(match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    })
    .await
}

async fn with_tokens() -> (Rig, Uuid) {
    let row = vehicle_at("one", 1.0, 2.0);
    let rig = Rig::start_with(std::slice::from_ref(&row), &TOKENS).await;
    crate::support::eventually("the vehicles to be read", async || {
        (ask(&rig, "/v1/vehicles", Some(DESK)).await.status == 200).then_some(())
    })
    .await;
    (rig, id(&row))
}

#[tokio::test]
async fn without_tokens_only_loopback_hosts_are_answered() {
    let rig = Rig::start(&[vehicle_at("one", 1.0, 2.0)]).await;
    for (host, status) in [("localhost:8081", 200), ("127.0.0.1", 200), ("example.com", 401)] {
        let request = rig.service.request("/v1/vehicles").header("host", host);
        assert_eq!(Service::send(request).await.status, status, "{host}");
    }
}

#[tokio::test]
async fn a_token_opens_what_its_scopes_name() {
    let (rig, one) = with_tokens().await;
    let (list, track) = ("/v1/vehicles".to_owned(), format!("/v1/vehicles/{one}/track"));
    for token in
        [None, Some(""), Some("wrong-token-000001"), Some("app-token-old-000"), Some("app-token-old-00011")]
    {
        for path in [&list, &track, &format!("/v1/vehicles/{one}"), &"/v1/vehicles/stream".to_owned()] {
            let answer = ask(&rig, path, token).await;
            assert_eq!(answer.problem(), (401, "unauthorized".to_owned(), None), "{path} {token:?}");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
        }
    }
    for token in [OLD, NEW, DESK] {
        assert_eq!(ask(&rig, &list, Some(token)).await.status, 200, "{token}");
    }
    assert_eq!(ask(&rig, &track, Some(DESK)).await.status, 200);
    let refused = ask(&rig, &track, Some(NEW)).await;
    assert_eq!(refused.problem(), (403, "forbidden".to_owned(), None));
    assert!(refused.header("www-authenticate").contains("insufficient_scope"), "{refused:?}");
    let document = ask(&rig, "/openapi.json", None).await.json();
    let needs = |path: &str| document["paths"][path]["get"]["security"][0]["token"][0].clone();
    assert_eq!(
        (needs("/v1/vehicles"), needs("/v1/vehicles/{vehicle_id}/track")),
        ("positions".into(), "tracks".into())
    );
    for public in ["/", "/map/main.js", "/map/settings.json", "/openapi.json"] {
        assert_eq!(ask(&rig, public, None).await.status, 200, "{public} says nothing about vehicles");
    }
}

#[tokio::test]
async fn one_token_cannot_use_up_the_streams_of_another() {
    let (rig, _one) = with_tokens().await;
    let open = async |token: &str| {
        rig.service.request("/v1/vehicles/stream").bearer_auth(token).send().await.unwrap()
    };
    let (first, second) = (open(OLD).await, open(NEW).await);
    assert_eq!([first.status().as_u16(), second.status().as_u16()], [200, 200]);
    let refused = ask(&rig, "/v1/vehicles/stream", Some(NEW)).await;
    assert_eq!(refused.problem(), (429, "too_many_streams".to_owned(), None));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(open(DESK).await.status(), 200);
    assert_eq!(ask(&rig, "/v1/vehicles", Some(NEW)).await.status, 200, "streams are counted apart");
    drop(first);
    crate::support::eventually("the place of a stream that has ended", async || {
        (open(OLD).await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_streams_of_all_tokens_leave_room_for_requests() {
    let bounds = [("FLEET_QUERY__MAX_STREAMS", "100"), ("FLEET_QUERY__MAX_CONNECTIONS", "8")];
    let rig = Rig::start_with(&[vehicle_at("one", 1.0, 2.0)], &[&TOKENS[..3], &bounds].concat()).await;
    let open = async |token: &str| {
        rig.service.request("/v1/vehicles/stream").bearer_auth(token).send().await.unwrap()
    };
    crate::support::eventually("the vehicles to be read", async || {
        (ask(&rig, "/v1/vehicles", Some(DESK)).await.status == 200).then_some(())
    })
    .await;
    let mut streams = Vec::new();
    for token in [OLD, DESK, OLD, DESK, OLD, DESK] {
        streams.push(open(token).await);
        assert_eq!(streams.last().unwrap().status(), 200);
    }
    let refused = ask(&rig, "/v1/vehicles/stream", Some(OLD)).await;
    assert_eq!(refused.problem(), (503, "overloaded".to_owned(), None));
    assert_eq!(refused.header("retry-after"), "1");
    for token in [OLD, DESK] {
        assert_eq!(ask(&rig, "/v1/vehicles", Some(token)).await.status, 200);
    }
    streams.pop();
    crate::support::eventually("the place of a stream that has ended", async || {
        (open(OLD).await.status() == 200).then_some(())
    })
    .await;
}

/// The tracks of one token wait for a lock in the database, all connections of its share with them.
#[tokio::test]
async fn the_tracks_of_one_token_do_not_delay_those_of_another() {
    let row = vehicle_at("one", 1.0, 2.0);
    let tokens = [
        ("FLEET_QUERY__TOKENS__APP__SECRETS", OLD),
        ("FLEET_QUERY__TOKENS__APP__SCOPES", "positions,tracks"),
        ("FLEET_QUERY__TOKENS__DESK__SECRETS", DESK),
        ("FLEET_QUERY__TOKENS__DESK__SCOPES", "positions,tracks"),
        ("FLEET_DATABASE__POOL_SIZE", "2"),
        ("FLEET_DATABASE__CONNECT_TIMEOUT", "1s"),
    ];
    let rig = Rig::start_with(std::slice::from_ref(&row), &tokens).await;
    let path = format!("/v1/vehicles/{}/track", id(&row));
    crate::support::eventually("the vehicles to be read", async || {
        (ask(&rig, &path, Some(DESK)).await.status == 200).then_some(())
    })
    .await;
    rig.client.batch_execute("BEGIN; LOCK TABLE telemetry IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let begin = |token: &str| tokio::spawn(Service::send(rig.service.request(&path).bearer_auth(token)));
    let greedy = [begin(OLD), begin(OLD), begin(OLD)];
    let other = begin(DESK);
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FROM telemetry%'";
    crate::support::eventually("a track of each token to wait for the lock", async || {
        // Otherwise the transaction sees the same activity again and again.
        rig.client.batch_execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
        let count: i64 = rig.client.query_one(waiting, &[]).await.unwrap().get(0);
        (count == 2).then_some(())
    })
    .await;
    crate::support::eventually("the others to be refused", async || {
        (greedy.iter().filter(|task| task.is_finished()).count() == 2).then_some(())
    })
    .await;
    rig.client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(other.await.unwrap().status, 200);
    let mut statuses = Vec::new();
    for task in greedy {
        let answer = task.await.unwrap();
        statuses.push(answer.status);
        if answer.status != 200 {
            assert_eq!(answer.problem(), (503, "overloaded".to_owned(), None));
            assert_eq!(answer.header("retry-after"), "1");
        }
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503, 503]);
}

#[tokio::test]
async fn each_read_of_a_track_is_logged() {
    let database = crate::support::TestDatabase::migrated().await;
    let row = vehicle_at("one", 1.0, 2.0);
    super::fleet::insert(&database.client().await, std::slice::from_ref(&row)).await;
    let ip = own_ip();
    let mut command = Site::new(database.url()).query(ip);
    command.envs(TOKENS);
    let mut program = Program::start(&mut command);
    program.readiness(200).await;
    let (from, to) = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
    let url = format!("http://{ip}:8081/v1/vehicles/{}/track?from={from}&to={to}", id(&row));
    let http = reqwest::Client::new();
    assert_eq!(http.get(&url).bearer_auth(OLD).send().await.unwrap().status(), 403);
    assert_eq!(http.get(&url).bearer_auth(DESK).send().await.unwrap().status(), 200);
    let log = program.logged("a track is read").await;
    let lines: Vec<_> = log.lines().filter(|line| line.contains("a track is read")).collect();
    let [line] = lines[..] else { panic!("only the read that was allowed: {lines:?}") };
    for part in
        ["token=\"desk\"", &format!("vehicle_id={}", id(&row)), &format!("from={from}"), &format!("to={to}")]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[tokio::test]
async fn requests_of_one_token_are_bounded() {
    let row = vehicle_at("one", 1.0, 2.0);
    let many: Vec<_> = (0..5000).map(|n| vehicle_at(&format!("n{n}"), 1.0, 2.0)).collect();
    let rig = Rig::start_with(&[many, vec![row]].concat(), &[("FLEET_QUERY__MAX_IN_FLIGHT", "2")]).await;
    // Their clients do not read the responses, which are too large for the kernel's buffers.
    let unread = async || rig.service.request("/v1/vehicles?limit=10000").send().await.unwrap();
    let (first, _second) = (unread().await, unread().await);
    assert_eq!(
        rig.service.get("/v1/vehicles?limit=1").await.problem(),
        (429, "too_many_requests".to_owned(), None)
    );
    drop(first);
    rig.service.ready().await;
    crate::support::eventually("the place of a request that has ended", async || {
        (rig.service.get("/v1/vehicles?limit=1").await.status == 200).then_some(())
    })
    .await;
}
