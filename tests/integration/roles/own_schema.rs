//! The tables in a schema of their own, which each login has in its search_path.

use crate::process::program::{Program, Site, report, run};

use super::{Servers, login};

/// What an administrator runs once. Only its owner may use a new schema.
const SCHEMA: &str = "CREATE SCHEMA fleet AUTHORIZATION fleet_migrator;
    REVOKE CREATE ON SCHEMA public FROM fleet_migrator";

#[tokio::test]
async fn migrate_in_a_schema_of_its_own_lets_the_roles_use_it() {
    let servers = Servers::start().await;
    servers.postgres.psql(SCHEMA).unwrap();
    let url = |name: &str| {
        format!("{}?options=-c%20search_path%3Dfleet%2Cpublic", login(&servers.postgres.url(), name))
    };
    let mut migrate = servers.site().consumer(&["migrate"]);
    let migrated = run(migrate.env("FLEET_DATABASE_URL", url("migrator"))).await;
    assert_eq!((migrated.code, migrated.errors.as_str()), (Some(0), ""), "{migrated:?}");

    let site: Site = servers.site();
    let mut consumer = site.consumer(&[]);
    consumer.env("FLEET_DATABASE_URL", url("consumer"));
    let redis = login(&servers.redis.url(), "consumer");
    let mut consumer = Program::start(consumer.env("FLEET_REDIS_URL", redis));
    consumer.readiness(200).await;
    site.fill_with(&[report(1), "not json".to_owned()]).await;
    site.settled().await;
    consumer.assert_running();
    for table in ["vehicles", "telemetry", "dead_letters"] {
        let count = servers.postgres.psql(&format!("SELECT count(*) FROM fleet.{table}")).unwrap();
        assert_eq!(count, "1", "{table}");
    }
    for query in ["fleet.vehicle_positions", "fleet.telemetry"] {
        servers.ask("reader", &format!("SELECT count(*) FROM {query}")).unwrap();
    }
    let mut retention = servers.site().consumer(&["retention"]);
    let retention = run(retention.env("FLEET_DATABASE_URL", url("migrator"))).await;
    assert_eq!(retention.code, Some(0), "{retention:?}");
    servers.assert_refused("consumer", &["CREATE TABLE fleet.mine (id int)"]);
}

#[tokio::test]
async fn who_may_not_grant_the_schema_is_told_what_to_run() {
    let servers = Servers::start().await;
    let sql = "CREATE SCHEMA fleet; GRANT USAGE, CREATE ON SCHEMA fleet TO fleet_migrator;
               ALTER ROLE migrator SET search_path = fleet, public";
    servers.postgres.psql(sql).unwrap();
    let migrated = servers.run("migrator", &["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    let grant = "GRANT USAGE ON SCHEMA fleet TO fleet_consumer, fleet_reader;";
    assert!(migrated.errors.contains(grant), "{migrated:?}");
    servers.postgres.psql(grant).unwrap();
    let again = servers.run("migrator", &["migrate"]).await;
    assert_eq!((again.code, again.errors.as_str()), (Some(0), ""), "{again:?}");
}

#[tokio::test]
async fn who_may_delete_dead_letters_deletes_their_bytes() {
    let servers = Servers::start().await;
    servers.postgres.psql(SCHEMA).unwrap();
    servers.postgres.psql("ALTER ROLE migrator SET search_path = fleet, public").unwrap();
    servers.succeeds("migrator", &["migrate"], "applied").await;
    let role = "CREATE ROLE cleaner; GRANT USAGE ON SCHEMA fleet TO cleaner;
                GRANT SELECT, DELETE ON fleet.dead_letters TO cleaner";
    servers.postgres.psql(role).unwrap();
    let bury = "WITH message AS (INSERT INTO fleet.dead_messages (message_id, envelope)
                                 VALUES (gen_random_uuid(), 'the bytes') RETURNING message_id)
                INSERT INTO fleet.dead_letters (message_id, event_index, provider, reason, detail, dead_message_id)
                SELECT message_id, index, 'niu', 'unparsable', 'no', message_id
                  FROM message, generate_series(0, 1) AS index";
    let kept = |expected: &str| {
        assert_eq!(servers.postgres.psql("SELECT count(*) FROM fleet.dead_messages").unwrap(), expected);
    };
    servers.postgres.psql(bury).unwrap();
    kept("1");
    // The role has no rights on the bytes. It creates a temporary table with the same name as theirs.
    let decoy = "CREATE TEMPORARY TABLE dead_messages (message_id uuid)";
    servers
        .ask("cleaner", &format!("{decoy}; DELETE FROM fleet.dead_letters WHERE event_index = 0"))
        .unwrap();
    kept("1");
    servers.ask("cleaner", &format!("{decoy}; DELETE FROM fleet.dead_letters")).unwrap();
    kept("0");
    servers.assert_refused("cleaner", &["SELECT * FROM fleet.dead_messages", "TRUNCATE fleet.dead_letters"]);
    let may_execute = "SELECT has_function_privilege('cleaner', 'fleet.delete_dead_messages()', 'EXECUTE')";
    assert_eq!(servers.postgres.psql(may_execute).unwrap(), "f");

    servers.postgres.psql(bury).unwrap();
    servers.ask("migrator", "TRUNCATE fleet.dead_letters").unwrap();
    kept("0");
}
