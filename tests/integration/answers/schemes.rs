//! Every authentication scheme over HTTP, with two secrets while one is rotated.

use super::client::{FORM, NIU_TOKEN, assert_refused, post, signed};
use crate::support::Fleet;

const BODY: &str = r#"{"sn":"A1"}"#;
const AUTH: &str = "FLEET_PROVIDERS__NIU__AUTH";
const SECRETS: &str = "FLEET_PROVIDERS__NIU__SECRETS";

/// A request's path and headers.
type Request<'a> = (&'a str, &'a [(&'a str, &'a str)]);

async fn check(scheme: &str, secrets: &str, body: &str, genuine: &[Request<'_>], refused: &[Request<'_>]) {
    let fleet = Fleet::api_only(&[(AUTH, scheme), (SECRETS, secrets)]).await;
    for (path, headers) in genuine {
        let answer = post(&fleet.api, path, headers, body).await;
        assert_eq!(answer.status, 200, "{scheme}: {path} {headers:?}");
    }
    for (path, headers) in refused {
        let answer = post(&fleet.api, path, headers, body).await;
        assert_refused(&answer, 401, "unauthorized");
    }
    assert_eq!(fleet.queue("niu").await.accepted.messages, u64::try_from(genuine.len()).unwrap());
}

#[tokio::test]
async fn none() {
    let anybody: Request<'_> = ("/webhooks/niu", &[]);
    check("none", "", BODY, &[anybody, ("/webhooks/niu", &[NIU_TOKEN])], &[]).await;
}

#[tokio::test]
async fn bearer() {
    let path = "/webhooks/niu";
    check(
        "bearer",
        "old-secret,new-secret",
        BODY,
        &[
            (path, &[("authorization", "Bearer old-secret")]),
            (path, &[("authorization", "bearer new-secret")]),
        ],
        &[
            (path, &[]),
            (path, &[("authorization", "Bearer old-secret,new-secret")]),
            (path, &[("authorization", "Basic old-secret")]),
            (path, &[("authorization", "old-secret")]),
            (path, &[("token", "old-secret")]),
        ],
    )
    .await;
}

#[tokio::test]
async fn basic() {
    let path = "/webhooks/niu";
    check(
        "basic",
        "fleet:old,fleet:new",
        BODY,
        &[
            (path, &[("authorization", "Basic ZmxlZXQ6b2xk")]),
            (path, &[("authorization", "Basic ZmxlZXQ6bmV3")]),
        ],
        &[
            (path, &[("authorization", "Basic fleet:old")]),
            (path, &[("authorization", "Basic ZmxlZXQ6b2x")]),
            (path, &[("authorization", "Bearer ZmxlZXQ6b2xk")]),
        ],
    )
    .await;
}

#[tokio::test]
async fn header() {
    let path = "/webhooks/niu";
    check(
        "header:x-api-key",
        "old-secret,new-secret",
        BODY,
        &[(path, &[("x-api-key", "old-secret")]), (path, &[("X-Api-Key", "new-secret")])],
        &[(path, &[("x-api-key", "old-secre")]), (path, &[("x-api-key", "")]), (path, &[NIU_TOKEN])],
    )
    .await;
}

#[tokio::test]
async fn query() {
    check(
        "query:key",
        "old secret,new-secret",
        BODY,
        &[("/webhooks/niu?key=old%20secret", &[]), ("/webhooks/niu/topic?a=b&key=new-secret", &[])],
        &[
            ("/webhooks/niu", &[]),
            ("/webhooks/niu?key=", &[]),
            ("/webhooks/niu?key=wrong&key=new-secret", &[]),
            ("/webhooks/niu?Key=new-secret", &[]),
            ("/webhooks/niu", &[("key", "new-secret")]),
        ],
    )
    .await;
}

/// As docs/configuration.md says: a query is decoded as a form, where a plus sign stands for a space.
#[tokio::test]
async fn a_plus_in_a_query_secret_is_percent_encoded() {
    let plus = ("/webhooks/niu?key=a+b", &[][..]);
    let encoded = ("/webhooks/niu?key=a%2Bb", &[][..]);
    check("query:key", "a+b", BODY, &[encoded], &[plus]).await;
    check("query:key", "a b", BODY, &[plus], &[encoded]).await;
}

#[tokio::test]
async fn hmac_sha256() {
    // The example of Wikipedia's article on HMAC.
    let body = "The quick brown fox jumps over the lazy dog";
    let mac = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
    let (prefixed, other) = (format!("sha256={mac}"), mac.replace('f', "e"));
    let path = "/webhooks/niu";
    check(
        "hmac-sha256:x-signature",
        "other,key",
        body,
        &[(path, &[("x-signature", mac)]), (path, &[("x-signature", &prefixed)])],
        &[(path, &[]), (path, &[("x-signature", &other)])],
    )
    .await;
    check("hmac-sha256:x-signature", "other", body, &[], &[(path, &[("x-signature", mac)])]).await;
}

#[tokio::test]
async fn segway_md5() {
    let fleet = Fleet::api_only(&[]).await;
    for (secret, status) in
        [("test-secret-0001", 200), ("test-secret-0002", 200), ("test-secret-0003", 401), ("", 401)]
    {
        let body = signed("iotCode=1&locked=true", secret);
        let answer = post(&fleet.api, "/webhooks/segway/vehicle/status", &[FORM], body).await;
        assert_eq!(answer.status, status, "{secret}");
    }
}
