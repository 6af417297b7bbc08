//! How safe commits are, and what a login may see of it.

use fleet_store::{Database, DatabaseDurability, DatabaseOptions, Schema, migrate};
use fleet_testbed::{DatabaseLogin, Postgres, StandbyOptions};

use super::blocking;
use crate::process::program::{Program, Site};

const WEAKNESSES: &str = r#"fleet_consumer_database_durability_weaknesses{side="state"}"#;
const STANDBYS: &str = r#"fleet_consumer_database_synchronous_standbys{side="state"}"#;

async fn seen_by(login: DatabaseLogin, postgres: &Postgres) -> DatabaseDurability {
    let url = login.of(&postgres.url());
    Database::open(&DatabaseOptions::new(&url)).unwrap().durability().await.unwrap()
}

/// A consumer that wants each commit on one standby.
async fn consumer(postgres: &Postgres) -> (Site, Program) {
    let site = Site::new(&postgres.url());
    let mut command = site.consumer(&[]);
    command.env("FLEET_DATABASE__SYNCHRONOUS_STANDBYS", "1");
    let mut consumer = Program::start(&mut command);
    consumer.readiness(200).await;
    (site, consumer)
}

#[tokio::test]
async fn a_missing_synchronous_standby_is_shown() {
    let postgres = blocking(|| Postgres::private(&["full_page_writes=off"]).unwrap()).await;
    for schema in [Schema::State, Schema::Telemetry] {
        migrate(&DatabaseOptions::new(&postgres.url()), schema).await.unwrap();
    }
    let durability = seen_by(DatabaseLogin::Consumer, &postgres).await;
    assert_eq!(durability.synchronous_standbys(), Some(0));
    let weaknesses = durability.weaknesses(0);
    assert!(weaknesses.len() == 1 && weaknesses[0].contains("full_page_writes is off"), "{weaknesses:?}");

    let (_site, wanting) = consumer(&postgres).await;
    let log = wanting.logged("set synchronous_standby_names").await;
    assert!(log.contains("not the loss of its disk"), "{log}");
    assert_eq!((wanting.metric(WEAKNESSES).await, wanting.metric(STANDBYS).await), (2.0, 0.0));
    drop(wanting);

    let (postgres, standby) = blocking(move || {
        let standby = Postgres::standby_of(&postgres, StandbyOptions::default()).unwrap();
        postgres.set_synchronous_standbys("ANY 1 (*)").unwrap();
        (postgres, standby)
    })
    .await;
    let (_site, unseeing) = consumer(&postgres).await;
    unseeing.logged("GRANT pg_read_all_stats").await;
    assert!(unseeing.metric(STANDBYS).await.is_nan());
    assert_eq!(unseeing.metric(WEAKNESSES).await, 1.0);
    drop(unseeing);
    assert_eq!(seen_by(DatabaseLogin::Admin, &postgres).await.synchronous_standbys(), Some(1));

    postgres.psql("GRANT pg_read_all_stats TO consumer").unwrap();
    let (_site, seeing) = consumer(&postgres).await;
    seeing.logged("synchronous standbys have each commit").await;
    assert_eq!(seeing.metric(STANDBYS).await, 1.0);
    drop((seeing, standby));
}
