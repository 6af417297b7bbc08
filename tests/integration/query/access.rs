//! Who may ask, and how much.

use uuid::Uuid;

use super::fleet::{id, vehicle_at};
use super::rig::{Answer, Rig, Service};

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
