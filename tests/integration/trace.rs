//! `fleet-consumer trace` reports every place where a message can be.

mod database;
mod queues;

use std::process::Command;

use fleet_testbed::{DatabaseLogin, RedisLogin};
use uuid::Uuid;

use crate::process::program::{Ended, binary, run};
use crate::support::{Fleet, TOKEN, TestDatabase, redis_as};

/// The command with this database login.
fn command(login: DatabaseLogin, fleet: &Fleet, database: &TestDatabase, id: &str) -> Command {
    let mut command = binary("fleet-consumer", &["trace", id]);
    command
        .env("FLEET_REDIS_URL", redis_as(RedisLogin::Consumer, fleet.settings.redis_url.expose()))
        .env("FLEET_QUEUE__PREFIX", &fleet.settings.queue.prefix)
        .env("FLEET_DATABASE_URL", database.url_as(login));
    command
}

/// Runs the command with this database login.
async fn trace_as(login: DatabaseLogin, fleet: &Fleet, database: &TestDatabase, id: &str) -> Ended {
    run(&mut command(login, fleet, database, id)).await
}

/// Runs the command, which must find the message. Returns its output.
async fn found(fleet: &Fleet, database: &TestDatabase, id: Uuid, said: &[&str]) -> String {
    let ended = trace_as(DatabaseLogin::Reader, fleet, database, &id.to_string()).await;
    assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""), "{ended:?}");
    for words in said {
        assert!(ended.output.contains(words), "{words}: {ended:?}");
    }
    assert!(ended.output.contains(&format!("message {id}, received ")), "{ended:?}");
    assert!(!ended.output.contains("not searched"), "{ended:?}");
    ended.output
}

/// Posts a body to NIU's webhook. Returns the x-request-id.
async fn post(fleet: &Fleet, body: &str) -> Uuid {
    let request = reqwest::Client::new().post(format!("{}/webhooks/niu", fleet.api)).header("token", TOKEN);
    let response = request.body(body.to_owned()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.headers()["x-request-id"].to_str().unwrap().parse().unwrap()
}

/// A report of a vehicle. The same number makes the same report.
fn report(number: i64) -> String {
    let time = 1_000 * (jiff::Timestamp::now().as_second() / 86_400 * 86_400) - number * 1_000;
    format!(r#"{{"sn":"TRACED{number}","type":"status","time":{time},"infoTimestamp":{time},"nowSpeed":7}}"#)
}
