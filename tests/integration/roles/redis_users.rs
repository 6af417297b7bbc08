//! The rights of the users of Redis.

use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{
    ClaimLimits, Consumer, Lookout, Mark, Observer, Producer, RedisLink, RedisLinkOptions, RedisMemory,
};
use fleet_testbed::{Redis, RedisOptions, RedisServer};
use redis::aio::MultiplexedConnection;
use uuid::Uuid;

use super::{connect, login, send, text};

/// Sends a command. An error is returned as its code.
async fn ask(connection: &mut MultiplexedConnection, command: &str) -> Result<redis::Value, String> {
    let words: Vec<_> = command.split(' ').collect();
    send(connection, &words).await.map_err(|error| error.code().unwrap_or_default().to_owned())
}

/// A server with the users in this repository.
async fn start(server: RedisServer) -> Redis {
    let options = RedisOptions { server, acl: Some(text("compose/users.acl")), ..RedisOptions::default() };
    tokio::task::spawn_blocking(|| Redis::private_with(options).unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_consumer_does_all_its_work() {
    for server in RedisServer::ALL {
        all_its_work(&start(server).await).await;
    }
}

async fn all_its_work(server: &Redis) {
    let link = Arc::new(
        RedisLink::open(&RedisLinkOptions::new(&login(&server.url(), "consumer"), Duration::from_secs(3)))
            .unwrap(),
    );
    Producer::new(Arc::clone(&link), "fleet", "niu").push(&[b"one".to_vec(), b"two".to_vec()]).await.unwrap();
    let consumer = Consumer::new(Arc::clone(&link), "fleet", "niu");
    let (long, [first, second, third]) = (Duration::from_secs(30), [(); 3].map(|()| Uuid::now_v7()));
    // The second message is one byte too large and goes back into the queue.
    let limits = ClaimLimits { max_messages: 10, max_bytes: 3, lease: long };
    let lease = consumer.claim(first, first, limits).await.unwrap().unwrap();
    assert!(consumer.claim_again(first, first, limits).await.unwrap().is_some());
    assert!(consumer.extend(&lease, long).await.unwrap());
    consumer.release(&lease).await.unwrap();
    let lease = consumer.take_over_expired(second, Duration::ZERO).await.unwrap().unwrap();
    assert!(consumer.mark(&lease, Mark::Clear).await.unwrap());
    let lease = consumer.take_over_expired(third, long).await.unwrap().unwrap();
    assert!(RedisMemory::read(&link).await.unwrap().used_bytes > 0);
    let observer = Observer::new(Arc::clone(&link), "fleet", "niu");
    assert_eq!(observer.status().await.unwrap().leases, 1);
    assert_eq!(consumer.ack(&lease).await.unwrap(), 1);
    assert_eq!(observer.status().await.unwrap().waiting_messages, 1);
    let parked = consumer.claim(first, third, limits).await.unwrap().unwrap();
    assert!(consumer.park(&parked, Duration::ZERO).await.unwrap());
    assert_eq!(observer.held().await.unwrap().unwrap().messages, 1);
    assert_eq!(consumer.reclaim().await.unwrap(), Some(0));
    let lookout = Lookout::new(Arc::clone(&link), "fleet", "niu");
    let look = lookout.look().await.unwrap();
    assert!(lookout.note(&look, 1).await.unwrap().is_some());
    let resumed = consumer.take_over_lease(first, second, long).await.unwrap().unwrap();
    assert_eq!(consumer.ack(&resumed).await.unwrap(), 1);
    assert!(observer.status().await.unwrap().balances());

    let mut admin = connect(&server.url()).await;
    assert_eq!(ask(&mut admin, "ACL LOG").await, Ok(redis::Value::Array(Vec::new())), "nothing was refused");
}

#[tokio::test]
async fn everything_else_is_refused() {
    let anybodys = [
        "FLUSHALL",
        "FLUSHDB",
        "KEYS *",
        "SCAN 0",
        "CONFIG GET requirepass",
        "CONFIG SET appendfsync no",
        "ACL LIST",
        "SHUTDOWN NOSAVE",
        "EVAL return{} 0",
        "DEL fleet:{niu}:queue",
        "RENAME fleet:{niu}:queue fleet:{niu}:gone",
        "PUBLISH fleet x",
        "RPUSH other:{niu}:queue x",
        "HGET other:{niu}:ledger settled_bytes",
    ];
    let apis = [
        "INFO memory",
        "LRANGE fleet:{niu}:queue 0 -1",
        "LPOP fleet:{niu}:queue",
        "HGET fleet:{niu}:owners x",
        "RPUSH fleet:{niu}:lease:x x",
        "EVALSHA 0000000000000000000000000000000000000000 0",
        "TYPE fleet:{niu}:queue",
        // If the key does not exist, these commands would create it with the wrong type.
        "HINCRBY fleet:{niu}:queue x 1",
        "RPUSH fleet:{niu}:ledger x",
        "RPUSH fleet:{niu}:leases x",
        "HINCRBY fleet:{niu}:owners x 1",
    ];
    let consumers = [
        "HINCRBY fleet:{niu}:queue x 1",
        "HSET fleet:{niu}:leases x y",
        "HSET fleet:{niu}:lease:x x y",
        "RPUSH fleet:{niu}:ledger x",
        "RPUSH fleet:{niu}:lease:x x",
        "LMOVE fleet:{niu}:queue fleet:{niu}:owners LEFT RIGHT",
        "ZADD fleet:{niu}:queue 1 x",
        "ZADD fleet:{niu}:owners 1 x",
        "UNLINK fleet:{niu}:queue",
        "UNLINK fleet:{niu}:ledger",
        "HDEL fleet:{niu}:ledger accepted_messages",
        "RENAMENX fleet:{niu}:queue fleet:{niu}:gone",
    ];
    // The last two run scripts, whose errors have other codes.
    let operators = [
        "RPUSH fleet:{niu}:queue x",
        "LRANGE fleet:{niu}:queue 0 -1",
        "LINDEX fleet:{niu}:queue 0",
        "DEL fleet:{niu}:queue",
        "DEL fleet:{niu}:owners",
        "DEL fleet:{niu}:leases",
        "ZADD fleet:{niu}:queue 1 x",
        "RENAMENX fleet:{niu}:queue other",
        "EVAL return(redis.call('LRANGE',KEYS[1],0,-1)) 1 fleet:{niu}:queue",
        "EVAL return(redis.call('DEL','fleet:{niu}:queue')) 0",
    ];
    for server in RedisServer::ALL {
        let server = start(server).await;
        let mut default = connect(&server.url().replace("fleet:fleet@", "")).await;
        assert_eq!(ask(&mut default, "PING").await, Err("NOAUTH".to_owned()));
        for (user, own) in [("api", &apis[..]), ("consumer", &consumers)] {
            let mut connection = connect(&login(&server.url(), user)).await;
            assert!(ask(&mut connection, "RPUSH fleet:{niu}:queue x").await.is_ok(), "{user}");
            // They show which of two primaries was promoted last.
            for command in ["HELLO", "INFO replication"] {
                assert!(ask(&mut connection, command).await.is_ok(), "{user}: {command}");
            }
            for command in anybodys.iter().chain(own) {
                assert_eq!(
                    ask(&mut connection, command).await,
                    Err("NOPERM".to_owned()),
                    "{user}: {command}"
                );
            }
        }
        let mut operator = connect(&login(&server.url(), "operator")).await;
        for command in operators {
            let refused = ask(&mut operator, command).await.expect_err(command);
            let in_script = command.starts_with("EVAL ");
            assert!(refused == "NOPERM" || (in_script && refused == "ERR"), "operator: {command}: {refused}");
        }
        a_script_has_no_other_rights(&server).await;
    }
}

/// Redis checks each command in a script as if it were sent alone.
async fn a_script_has_no_other_rights(server: &Redis) {
    let mut consumer = connect(&login(&server.url(), "consumer")).await;
    let script = "return redis.call('HINCRBY', KEYS[1], 'x', 1)";
    let loaded = send(&mut consumer, &["SCRIPT", "LOAD", script]).await.unwrap();
    let sha: String = redis::from_redis_value(loaded).unwrap();
    let call = format!("EVALSHA {sha} 1 fleet:{{niu}}:queue");
    let refused = ask(&mut consumer, &call).await.expect_err("not its key");
    assert!(["NOPERM", "ERR"].contains(&refused.as_str()), "{refused}");
    assert!(ask(&mut consumer, &call.replace(":queue", ":ledger")).await.is_ok());
}
