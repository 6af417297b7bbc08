//! Which providers the API serves.

use std::sync::Arc;

use fleet_runtime::readiness::Readiness;
use fleet_runtime::settings::{Settings, load};
use fleet_testbed::RedisLogin;
use fleet_webhook_api::server;
use fleet_webhook_api::source_settings::source_settings;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::client::{assert_refused, post, post_niu};
use crate::support::{TOKEN, fresh_prefix, redis_as, redis_url};

fn settings(variables: &[(&str, &str)]) -> Settings {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(None, variables).unwrap()
}

#[tokio::test]
async fn a_provider_that_is_not_configured_is_unknown() {
    let settings = settings(&[
        ("FLEET_REDIS_URL", &redis_as(RedisLogin::Api, &redis_url())),
        ("FLEET_QUEUE__PREFIX", &fresh_prefix()),
        ("FLEET_PROVIDERS__NIU__SECRETS", TOKEN),
    ]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let (shutdown, readiness) = (CancellationToken::new(), Arc::new(Readiness::default()));
    let served = source_settings(&settings).unwrap();
    let running = server::run(&settings, served, listener, readiness, shutdown.clone());
    let asking = async {
        assert_eq!(post_niu(&api, r#"{"sn":"A1"}"#).await.status, 200);
        for path in ["/webhooks/invers", "/webhooks/segway/vehicle/status"] {
            let answer = post(&api, path, &[("authorization", "Bearer x")], "{}").await;
            assert_refused(&answer, 404, "unknown_provider");
        }
        shutdown.cancel();
    };
    let (clean, ()) = tokio::join!(running, asking);
    assert!(clean.unwrap());
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let settings = settings(&[
        ("FLEET_PROVIDERS__ACME__SECRETS", "hunter2"),
        ("FLEET_PROVIDERS__NIU__AUTH", "magic"),
        ("FLEET_PROVIDERS__NIU__SECRETS", "hunter2"),
        ("FLEET_PROVIDERS__SEGWAY__AUTH", "segway-md5"),
        ("FLEET_PROVIDERS__INVERS__SECRETS", " , "),
    ]);
    let error = source_settings(&settings).unwrap_err();
    let named = [
        "FLEET_PROVIDERS__ACME__",
        "FLEET_PROVIDERS__INVERS__SECRETS",
        "FLEET_PROVIDERS__NIU__AUTH",
        "FLEET_PROVIDERS__SEGWAY__SECRETS",
    ];
    assert_eq!(error.0.len(), named.len(), "{error}");
    for (line, name) in error.0.iter().zip(named) {
        assert!(line.starts_with(name), "{line}");
    }
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn serving_nobody_is_refused() {
    let error = source_settings(&settings(&[])).unwrap_err();
    assert!(error.to_string().contains("FLEET_PROVIDERS__"), "{error}");
}

#[test]
fn a_provider_without_secrets_is_served_only_if_told_so() {
    let open = source_settings(&settings(&[("FLEET_PROVIDERS__NIU__AUTH", "none")])).unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].provider.slug, "niu");
    let closed = source_settings(&settings(&[("FLEET_PROVIDERS__NIU__MAX_BACKLOG_BYTES", "1000")]));
    assert!(closed.is_err(), "a cap alone says nothing about who may post");
}
