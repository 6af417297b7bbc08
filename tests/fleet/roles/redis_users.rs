//! What the users of Redis may do.

use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{ClaimLimits, Consumer, Mark, Observer, Producer, RedisLink, RedisMemory};
use redis::aio::MultiplexedConnection;
use uuid::Uuid;

use super::{connect, login, redis, send};

/// The code of an error.
async fn ask(connection: &mut MultiplexedConnection, command: &str) -> Result<redis::Value, String> {
    let words: Vec<_> = command.split(' ').collect();
    send(connection, &words).await.map_err(|error| error.code().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn the_consumer_does_all_its_work() {
    let server = redis().await;
    let link = Arc::new(RedisLink::new(&login(&server.url(), "consumer"), Duration::from_secs(3)).unwrap());
    Producer::new(Arc::clone(&link), "fleet", "niu").push(&[b"one".to_vec(), b"two".to_vec()]).await.unwrap();
    let consumer = Consumer::new(Arc::clone(&link), "fleet", "niu");
    let (long, [first, second, third]) = (Duration::from_secs(30), [(); 3].map(|()| Uuid::now_v7()));
    // The second message is one byte too much, and goes back.
    let limits = ClaimLimits { max_messages: 10, max_bytes: 3, lease: long };
    let lease = consumer.claim(first, first, limits).await.unwrap().unwrap();
    assert!(consumer.claim_again(first, first, limits).await.unwrap().is_some());
    assert!(consumer.extend(&lease, long).await.unwrap());
    consumer.release(&lease).await.unwrap();
    let lease = consumer.takeover(second, Duration::ZERO).await.unwrap().unwrap();
    assert!(consumer.mark(&lease, Mark::Clear).await.unwrap());
    let lease = consumer.takeover(third, long).await.unwrap().unwrap();
    assert!(RedisMemory::read(&link).await.unwrap().used_bytes > 0);
    let observer = Observer::new(Arc::clone(&link), "fleet", "niu");
    assert_eq!(observer.status().await.unwrap().leases, 1);
    assert_eq!(consumer.ack(&lease).await.unwrap(), 1);
    assert_eq!(observer.status().await.unwrap().waiting_messages, 1);

    let mut admin = connect(&server.url()).await;
    assert_eq!(ask(&mut admin, "ACL LOG").await, Ok(redis::Value::Array(Vec::new())), "nothing was refused");
}

#[tokio::test]
async fn everything_else_is_refused() {
    let server = redis().await;
    let mut default = connect(&server.url().replace("fleet:fleet@", "")).await;
    assert_eq!(ask(&mut default, "PING").await, Err("NOAUTH".to_owned()));
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
    ];
    for (user, refused) in [("api", [&anybodys[..], &apis].concat()), ("consumer", anybodys.to_vec())] {
        let mut connection = connect(&login(&server.url(), user)).await;
        assert!(ask(&mut connection, "RPUSH fleet:{niu}:queue x").await.is_ok(), "{user}");
        for command in refused {
            assert_eq!(ask(&mut connection, command).await, Err("NOPERM".to_owned()), "{user}: {command}");
        }
    }
}
