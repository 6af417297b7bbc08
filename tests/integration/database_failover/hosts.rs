//! Several hosts in one URL: the first one that accepts writes is used, whatever the others do.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fleet_store::{Database, DatabaseOptions, StoreError};
use fleet_testbed::{Postgres, PostgresOptions, Proxy, StandbyOptions, free_port};
use tokio::net::{TcpSocket, TcpStream};

use super::blocking;
use crate::tls::authority::Authority;

/// For all hosts together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

fn url(ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://fleet:fleet@{}/fleet", hosts.join(","))
}

fn open(url: &str) -> Result<Database, StoreError> {
    let options =
        DatabaseOptions { connect_timeout: CONNECT_TIMEOUT, pool_size: 1, ..DatabaseOptions::new(url) };
    Database::open(&options)
}

/// Whether the server that a new pool finds accepts writes, and how long that took.
async fn find_primary(url: &str) -> (bool, Duration) {
    let start = Instant::now();
    let rows = open(url).unwrap().query("SELECT NOT pg_is_in_recovery()", &[]).await.unwrap();
    (rows[0].get(0), start.elapsed())
}

/// An address whose queue of new connections is full, so that the system ignores further ones.
async fn full_queue() -> (u16, Vec<TcpStream>, tokio::net::TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut connections = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        connections.push(connected.unwrap());
    }
    (address.port(), connections, listener)
}

#[tokio::test]
async fn the_primary_is_found_behind_any_other_host() {
    let (primary, standby) = blocking(|| {
        let primary = Postgres::private(&[]).unwrap();
        let standby = Postgres::standby_of(&primary, StandbyOptions::default()).unwrap();
        (primary, standby)
    })
    .await;
    let silent = Proxy::start(primary.port()).unwrap();
    silent.black_hole();
    let (full, _connections, _listener) = full_queue().await;
    let (port, refusing) = (primary.port(), free_port().unwrap());
    for others in [
        &[standby.port()][..],
        &[refusing],
        &[silent.port()],
        &[full],
        &[silent.port(), standby.port(), full],
    ] {
        let ports = [others, &[port]].concat();
        let (is_primary, took) = find_primary(&url(&ports)).await;
        assert!(is_primary && took < CONNECT_TIMEOUT, "{ports:?}: {took:?}");
    }
    // The order does not matter, and is another one each time.
    for parameters in ["?load_balance_hosts=random", "?target_session_attrs=read-write"] {
        let given = url(&[standby.port(), port, refusing]) + parameters;
        assert!(find_primary(&given).await.0, "{given}");
    }
}

#[tokio::test]
async fn a_pool_does_not_wait_for_a_silent_host_again() {
    let primary = blocking(|| Postgres::private(&[]).unwrap()).await;
    let silent = Proxy::start(primary.port()).unwrap();
    silent.black_hole();
    let database = open(&url(&[silent.port(), primary.port()])).unwrap();
    let end = "SELECT pg_terminate_backend(pg_backend_pid())";
    assert!(database.query(end, &[]).await.is_err());
    let start = Instant::now();
    database.query("SELECT 1", &[]).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_error_tells_about_each_host() {
    let (primary, standby) = blocking(|| {
        let primary = Postgres::private(&[]).unwrap();
        let standby = Postgres::standby_of(&primary, StandbyOptions::default()).unwrap();
        (primary, standby)
    })
    .await;
    let port = primary.port();
    blocking(move || primary.destroy().unwrap()).await;
    let error = open(&url(&[port, standby.port()])).unwrap().query("SELECT 1", &[]).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains(&format!("127.0.0.1:{port}: ")) && said.contains("refused"), "{said}");
    assert!(said.contains(&format!("127.0.0.1:{}: ", standby.port())), "{said}");
    assert!(said.contains("does not allow writes"), "{said}");
}

#[tokio::test]
async fn only_the_primary_may_be_asked_for() {
    for attributes in ["any", "read-only"] {
        let error = open(&(url(&[1, 2]) + "?target_session_attrs=" + attributes)).unwrap_err();
        assert!(error.to_string().contains("must be read-write"), "{error}");
        open(&(url(&[1]) + "?target_session_attrs=" + attributes)).unwrap();
    }
}

#[tokio::test]
async fn the_certificate_is_checked_against_the_name_of_its_host() {
    let authority = Authority::new();
    let certificate = authority.issue(&["localhost"]);
    let tls = PostgresOptions { tls: Some(certificate), ..PostgresOptions::default() };
    let postgres = blocking(move || Postgres::private_with(tls).unwrap()).await;
    let (port, refusing, ca) = (postgres.port(), free_port().unwrap(), authority.file());
    let query = async |host: &str, ca: PathBuf| {
        let url =
            format!("postgres://fleet:fleet@127.0.0.1:{refusing},{host}:{port}/fleet?sslmode=verify-full");
        let options = DatabaseOptions {
            ca_file: Some(&ca),
            connect_timeout: CONNECT_TIMEOUT,
            ..DatabaseOptions::new(&url)
        };
        Database::open(&options).unwrap().query("SELECT 1", &[]).await
    };
    query("localhost", ca.clone()).await.unwrap();
    let error = query("127.0.0.1", ca).await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
}
