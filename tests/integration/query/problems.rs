//! Requests that cannot be answered: each problem names the parameter that is wrong.

use uuid::Uuid;

use super::fleet::{id, vehicle_at};
use super::rig::{Rig, Service};

#[tokio::test]
async fn as_many_ids_as_documented_are_answered() {
    let rig = Rig::start(&[vehicle_at("one", 1.0, 2.0)]).await;
    let ids =
        |count: u128| (0..count).map(|id| Uuid::from_u128(id).to_string()).collect::<Vec<_>>().join(",");
    let most = rig.service.get(&format!("/v1/vehicles?ids={}", ids(400))).await;
    assert_eq!(most.status, 200);
    let more = rig.service.get(&format!("/v1/vehicles?ids={}", ids(401))).await;
    assert_eq!(more.problem(), (400, "invalid_parameter".to_owned(), Some("ids".to_owned())));
}

#[tokio::test]
async fn a_problem_names_the_parameter_that_is_wrong() {
    let row = vehicle_at("one", 1.0, 2.0);
    let rig = Rig::start_with(std::slice::from_ref(&row), &[("FLEET_QUERY__MAX_PAGE", "50")]).await;
    let one = id(&row);
    let many = vec![Uuid::nil().to_string(); 3].join(",") + ",x";
    let invalid = [
        ("vehicles?bbox=1,2,3", "bbox"),
        ("vehicles?bbox=1,2,3,4,5", "bbox"),
        ("vehicles?bbox=1,3,2,2", "bbox"),
        ("vehicles?bbox=1,2,3,NaN", "bbox"),
        ("vehicles?bbox=1,2,181,3", "bbox"),
        ("vehicles?near=91,0&radius_m=1", "near"),
        ("vehicles?near=1&radius_m=1", "near"),
        ("vehicles?near=1,2", "radius_m"),
        ("vehicles?radius_m=5", "radius_m"),
        ("vehicles?near=1,2&radius_m=-1", "radius_m"),
        ("vehicles?near=1,2&radius_m=inf", "radius_m"),
        ("vehicles?near=1,2&radius_m=1&bbox=1,2,3,4", "near"),
        (&format!("vehicles?ids={one}&bbox=1,2,3,4"), "ids"),
        (&format!("vehicles?ids={many}"), "ids"),
        ("vehicles?ids=", "ids"),
        ("vehicles?provider=nio", "provider"),
        ("vehicles?online=yes", "online"),
        ("vehicles?locked=", "locked"),
        ("vehicles?powered_on=1", "powered_on"),
        ("vehicles?charging=TRUE", "charging"),
        ("vehicles?battery_lte=101", "battery_lte"),
        ("vehicles?battery_gte=x", "battery_gte"),
        ("vehicles?seen_within=10", "seen_within"),
        ("vehicles?position_within=-5m", "position_within"),
        ("vehicles?limit=0", "limit"),
        ("vehicles?limit=51", "limit"),
        ("vehicles?after=x", "after"),
        ("vehicles?limit=5&limit=5", "limit"),
        ("vehicles/x", "vehicle_id"),
        ("vehicles/%ff", "vehicle_id"),
        ("vehicles/%ff/track", "vehicle_id"),
        ("providers/niu/vehicles/%ff", "provider_vehicle_id"),
        ("vehicles/x/track", "vehicle_id"),
        (&format!("vehicles/{one}/track?from=yesterday"), "from"),
        (&format!("vehicles/{one}/track?to=2026"), "to"),
        (&format!("vehicles/{one}/track?from=-009000-01-01T00:00:00Z"), "from"),
        (&format!("vehicles/{one}/track?from=2026-05-02T00:00:00Z&to=2026-05-01T00:00:00Z"), "from"),
        (&format!("vehicles/{one}/track?from=2026-05-01T00:00:00Z&to=2026-05-08T00:00:01Z"), "from"),
        (&format!("vehicles/{one}/track?limit=51"), "limit"),
        ("vehicles/stream?online=maybe", "online"),
    ];
    for (path, parameter) in invalid {
        let problem = rig.service.get(&format!("/v1/{path}")).await.problem();
        assert_eq!(problem, (400, "invalid_parameter".to_owned(), Some(parameter.to_owned())), "{path}");
    }
    for path in [
        "vehicles?onlin=true".to_owned(),
        "vehicles?near=1,2&radius_m=1&onlin".to_owned(),
        format!("vehicles/{one}?onlin=true"),
        "providers/niu/vehicles/one?onlin=true".to_owned(),
        format!("vehicles/{one}/track?onlin=true"),
        "vehicles/stream?onlin=true".to_owned(),
    ] {
        let problem = rig.service.get(&format!("/v1/{path}")).await.problem();
        assert_eq!(problem, (400, "unknown_parameter".to_owned(), Some("onlin".to_owned())), "{path}");
    }
}

#[tokio::test]
async fn other_problems_have_their_status() {
    let row = vehicle_at("one", 1.0, 2.0);
    let rig = Rig::start(std::slice::from_ref(&row)).await;
    for path in [
        format!("/v1/vehicles/{}", Uuid::nil()),
        format!("/v1/vehicles/{}/track", Uuid::nil()),
        "/v1/providers/niu/vehicles/two".to_owned(),
        "/v1/providers/none/vehicles/one".to_owned(),
        "/v1/fleet".to_owned(),
        "/map/none.js".to_owned(),
    ] {
        assert_eq!(rig.service.get(&path).await.problem(), (404, "not_found".to_owned(), None), "{path}");
    }
    let post = reqwest::Client::new().post(format!("{}/v1/vehicles", rig.service.url));
    let refused = Service::send(post).await;
    assert_eq!(refused.problem(), (405, "method_not_allowed".to_owned(), None));
    assert!(refused.header("allow").contains("GET"), "{refused:?}");
    let xml = rig.service.request("/v1/vehicles").header("accept", "text/xml");
    assert_eq!(Service::send(xml).await.problem(), (406, "not_acceptable".to_owned(), None));
}

/// Whatever a client sends, it gets a response, and no other client notices.
#[tokio::test]
async fn any_query_gets_a_response() {
    let rig = Rig::start(&[vehicle_at("one", 1.0, 2.0)]).await;
    let mut rng = fastrand::Rng::with_seed(7);
    let names = [
        "bbox",
        "near",
        "radius_m",
        "ids",
        "provider",
        "online",
        "battery_lte",
        "seen_within",
        "limit",
        "after",
        "x",
    ];
    let pieces = [
        "1",
        "-",
        ",",
        "true",
        "niu",
        "%00",
        "%ff",
        "%E2%82%AC",
        "1e308",
        "NaN",
        "9999999999999999999999",
        "m",
        "=",
        "+",
    ];
    for _ in 0..500 {
        let pairs: Vec<_> = (0..rng.usize(1..4))
            .map(|_| {
                let value: String =
                    (0..rng.usize(0..5)).map(|_| pieces[rng.usize(0..pieces.len())]).collect();
                format!("{}={value}", names[rng.usize(0..names.len())])
            })
            .collect();
        let path = format!("/v1/vehicles?{}", pairs.join("&"));
        let answer = rig.service.get(&path).await;
        assert!([200, 400].contains(&answer.status), "{path}: {answer:?}");
        answer.json();
    }
    rig.service.json("/v1/vehicles").await;
}
