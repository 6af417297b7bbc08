//! Servers on which no push can ever be confirmed: nothing is pushed, and every webhook is answered 503.

use fleet_testbed::{Redis, RedisServer};

use super::{accepted_again, api_on, ask, post, primary, primary_with, queued, replica_of, replica_with};
use crate::answers::client::assert_refused;
use crate::support::Fleet;

async fn refused(fleet: &Fleet, primary: &Redis, outcome: &str) {
    for _ in 0..3 {
        assert_refused(&post(fleet).await, 503, outcome);
    }
    assert!(queued(fleet, primary).await.is_empty(), "nothing was pushed");
}

#[tokio::test]
async fn a_primary_without_an_append_only_file() {
    for server in [RedisServer::Redis, RedisServer::Valkey] {
        let primary = primary_with(server, &["--appendonly", "no"]).await;
        let _replica = replica_with(server, &primary, &[]).await;
        let fleet = api_on(&primary, "1", "600ms").await;
        refused(&fleet, &primary, "queue_unavailable").await;
        let () = ask(&primary, &["CONFIG", "SET", "appendonly", "yes"]).await;
        accepted_again(&fleet).await;
    }
}

#[tokio::test]
async fn a_replica_without_an_append_only_file() {
    for server in [RedisServer::Redis, RedisServer::Valkey] {
        let primary = primary_with(server, &[]).await;
        let replica = replica_with(server, &primary, &["--appendonly", "no"]).await;
        let fleet = api_on(&primary, "1", "600ms").await;
        refused(&fleet, &primary, "unconfirmed").await;
        let () = ask(&replica, &["CONFIG", "SET", "appendonly", "yes"]).await;
        accepted_again(&fleet).await;
    }
}

#[tokio::test]
async fn a_user_that_may_not_wait() {
    let primary = primary().await;
    let _replica = replica_of(&primary).await;
    for command in ["wait", "waitaof"] {
        let () = ask(&primary, &["ACL", "SETUSER", "api", &format!("-{command}")]).await;
        let fleet = api_on(&primary, "1", "3s").await;
        refused(&fleet, &primary, "queue_unavailable").await;
        let () = ask(&primary, &["ACL", "SETUSER", "api", &format!("+{command}")]).await;
        accepted_again(&fleet).await;
    }
}
