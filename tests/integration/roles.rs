//! Least privilege: the roles of PostgreSQL and the users of Redis, as docker-compose.yml creates them.

mod operator;
mod own_schema;
mod redis_users;
mod restarts;

use std::path::Path;

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisResult, Value};
use fleet_testbed::{Postgres, PostgresOptions, Redis, RedisOptions};
use tokio_postgres::NoTls;

use crate::process::program::{Ended, Program, Site, report, run};
use crate::support::TOKEN;

/// Reads a file of the repository.
fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

#[test]
fn the_security_page_shows_the_same_logins() {
    let script = text("compose/roles.sh");
    let sql = script.split_once("<<'SQL'\n").unwrap().1.split_once("SQL\n").unwrap().0;
    assert!(text("docs/security.md").contains(&format!("```psql\n{sql}```\n")), "{sql}");
}

/// A PostgreSQL without this project's logins.
async fn postgres() -> Postgres {
    let options = PostgresOptions { without_logins: true, ..PostgresOptions::default() };
    tokio::task::spawn_blocking(|| Postgres::private_with(options).unwrap()).await.unwrap()
}

async fn redis() -> Redis {
    let options = RedisOptions { acl: Some(text("compose/users.acl")), ..RedisOptions::default() };
    tokio::task::spawn_blocking(|| Redis::private_with(options).unwrap()).await.unwrap()
}

async fn connect(url: &str) -> MultiplexedConnection {
    ::redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// Sends a command and returns Redis' reply.
async fn send(connection: &mut MultiplexedConnection, words: &[impl AsRef<str>]) -> RedisResult<Value> {
    let mut command = ::redis::cmd(words[0].as_ref());
    for word in &words[1..] {
        command.arg(word.as_ref());
    }
    command.query_async(connection).await
}

/// The administrator's URL with another login of docker-compose.yml.
fn login(url: &str, name: &str) -> String {
    url.replace("://fleet:fleet@", &format!("://{name}:local-use-only-{name}@"))
}

/// Both servers with the logins of docker-compose.yml. Nothing is migrated yet.
struct Servers {
    redis: Redis,
    postgres: Postgres,
}

impl Servers {
    async fn start() -> Self {
        let postgres = tokio::task::spawn_blocking(|| Postgres::private(&[]).unwrap());
        let (redis, postgres) = tokio::join!(redis(), postgres);
        Self { redis, postgres: postgres.unwrap() }
    }

    /// With the administrator's logins, for the tests' own queries.
    fn site(&self) -> Site {
        let mut site = Site::new(&self.postgres.url());
        site.redis = self.redis.url();
        "fleet".clone_into(&mut site.prefix);
        site
    }

    /// Runs a command of `fleet-consumer` with `database_login`.
    async fn run(&self, database_login: &str, arguments: &[&str]) -> Ended {
        let mut command = self.site().consumer(arguments);
        command.env("FLEET_DATABASE_URL", login(&self.postgres.url(), database_login));
        run(command.env("FLEET_REDIS_URL", login(&self.redis.url(), "consumer"))).await
    }

    async fn succeeds(&self, database_login: &str, arguments: &[&str], said: &str) -> String {
        let ended = self.run(database_login, arguments).await;
        assert_eq!(ended.code, Some(0), "{database_login} {arguments:?}: {ended:?}");
        assert!(ended.output.contains(said), "{database_login} {arguments:?}: {ended:?}");
        ended.output
    }

    /// Runs SQL with this login. Returns PostgreSQL's output or error.
    fn ask(&self, login: &str, sql: &str) -> Result<String, String> {
        let sql = format!("SET SESSION AUTHORIZATION {login}; {sql}");
        self.postgres.psql(&sql).map_err(|error| error.to_string())
    }

    fn assert_refused(&self, login: &str, statements: &[&str]) {
        for sql in statements {
            let error = self.ask(login, sql).expect_err(sql);
            assert!(error.contains("permission denied") || error.contains("must be owner"), "{sql}: {error}");
        }
    }
}

#[tokio::test]
async fn everything_runs_with_the_least_rights() {
    let servers = Servers::start().await;
    let site = servers.site();
    servers.succeeds("migrator", &["migrate"], "applied").await;
    let again = servers.succeeds("migrator", &["migrate"], "nothing to do").await;
    assert!(!again.contains("applied"), "{again}");
    let owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(servers.postgres.psql(owners).unwrap(), "fleet_migrator");
    let owner = "SELECT proowner::regrole FROM pg_proc WHERE proname = 'delete_dead_messages'";
    assert_eq!(servers.postgres.psql(owner).unwrap(), "fleet_migrator");

    let mut api = site.api(&[]);
    let mut api = Program::start(api.env("FLEET_REDIS_URL", login(&servers.redis.url(), "api")));
    let mut consumer = site.consumer(&[]);
    consumer.env("FLEET_DATABASE_URL", login(&servers.postgres.url(), "consumer"));
    let mut consumer =
        Program::start(consumer.env("FLEET_REDIS_URL", login(&servers.redis.url(), "consumer")));
    consumer.readiness(200).await;
    api.readiness(200).await;
    let log = api.logged("make sure that Redis runs with appendfsync always, appendonly yes").await;
    assert!(log.contains("CONFIG GET") && !log.contains("WARN"), "{log}");
    for body in [report(1), "not json".to_owned()] {
        let request = reqwest::Client::new().post(api.webhooks()).header("token", TOKEN).body(body);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    site.settled().await;
    consumer.assert_running();

    servers.succeeds("consumer", &["audit"], "niu").await;
    servers.succeeds("consumer", &["dead-letters", "list"], "unparsable").await;
    let message = servers.postgres.psql("SELECT message_id FROM dead_letters").unwrap();
    servers.succeeds("consumer", &["dead-letters", "show", &message], "not json").await;
    servers.succeeds("consumer", &["dead-letters", "replay"], "put 1 messages").await;
    site.settled().await;
    servers.succeeds("consumer", &["dead-letters", "purge"], "removed 1").await;

    let old =
        "INSERT INTO telemetry SELECT vehicle_id, observed_at - interval '100 days', event_id, received_at,
               message_id, provider, topic, kind, lat, lon, speed_kmh, battery_percent, raw FROM telemetry";
    servers.postgres.psql(old).unwrap();
    let refused = servers.run("consumer", &["retention"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.errors.contains("fleet_migrator"), "{refused:?}");
    servers.succeeds("migrator", &["retention"], "removed 1 days").await;
}

#[tokio::test]
async fn a_role_can_do_its_work_and_nothing_else() {
    let servers = Servers::start().await;
    servers.succeeds("migrator", &["migrate"], "applied").await;
    let letter = "INSERT INTO dead_letters (message_id, event_index, provider, reason, detail, envelope)
                  VALUES (gen_random_uuid(), -1, 'niu', 'unparsable', 'no', 'secret')";
    servers.ask("consumer", letter).unwrap();

    for sql in [
        "SELECT * FROM vehicle_positions, vehicles, telemetry",
        "SELECT provider, reason, detail, attempts, last_dead_at FROM dead_letters",
        "SELECT * FROM unstored_messages",
    ] {
        servers.ask("reader", sql).unwrap();
    }
    let writes = [
        "DELETE FROM telemetry",
        "UPDATE telemetry SET kind = ''",
        "DELETE FROM vehicles",
        "TRUNCATE vehicles",
        "DELETE FROM settled_batches",
        "DELETE FROM settled_state_batches",
        "UPDATE settled_batches SET provider = ''",
        "DELETE FROM unstored_messages",
        "UPDATE unstored_messages SET provider = ''",
        "INSERT INTO fleet_state_migrations VALUES (9)",
        "DROP TABLE dead_letters",
        "DELETE FROM dead_messages",
        "DROP FUNCTION delete_dead_messages CASCADE",
        "ALTER TABLE dead_letters DISABLE TRIGGER delete_dead_messages",
        "ALTER TABLE vehicles ADD COLUMN extra int",
        "CREATE TABLE mine (id int)",
        "SELECT drop_chunks('telemetry', now())",
        "CREATE ROLE mine",
        "SET ROLE fleet_migrator",
    ];
    servers.assert_refused("consumer", &writes);
    servers.ask("consumer", "SELECT vehicle_id, observed_at, event_id FROM telemetry").unwrap();
    for unread in ["*", "lat", "lon", "raw", "message_id", "received_at"] {
        servers.assert_refused("consumer", &[&format!("SELECT {unread} FROM telemetry")]);
    }
    servers.assert_refused("consumer", &["SELECT * FROM unstored_messages"]);
    servers.assert_refused("reader", &writes);
    servers.assert_refused(
        "reader",
        &[
            "SELECT envelope FROM dead_letters",
            "SELECT * FROM dead_letters",
            "SELECT envelope FROM dead_messages",
            "DELETE FROM dead_letters",
            "INSERT INTO vehicles VALUES (gen_random_uuid())",
            "UPDATE vehicles SET lat = 0",
            "SELECT * FROM settled_batches",
        ],
    );
    servers.assert_refused("migrator", &["CREATE ROLE mine"]);
}

#[tokio::test]
async fn a_user_that_may_not_create_roles_is_told_what_to_do() {
    let postgres = postgres().await;
    postgres.psql("CREATE ROLE plain LOGIN PASSWORD 'plain'").unwrap();
    postgres.psql("CREATE DATABASE plain OWNER plain").unwrap();
    let url = postgres.url().replace("fleet:fleet@", "plain:plain@").replace("/fleet", "/plain");
    let site = Site::without_logins(&url);
    let first = run(&mut site.consumer(&["migrate"])).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    let sql = "CREATE ROLE fleet_migrator LOGIN; CREATE ROLE fleet_consumer NOLOGIN; CREATE ROLE fleet_reader NOLOGIN;";
    assert!(first.errors.contains(&format!("run `{sql}`")), "{first:?}");
    postgres.psql(sql).unwrap();
    let second = run(&mut site.consumer(&["migrate"])).await;
    assert_eq!((second.code, second.errors.as_str()), (Some(0), ""), "{second:?}");
    // The roles exist, the tables still belong to the same owner, and `migrate` has added the missing grants.
    postgres.psql("CREATE ROLE worker LOGIN PASSWORD 'worker' IN ROLE fleet_consumer").unwrap();
    let worker = Site::without_logins(&url.replace("plain:plain@", "worker:worker@"));
    let audit = run(&mut worker.consumer(&["audit"])).await;
    assert_eq!(audit.code, Some(0), "{audit:?}");

    // Only a superuser may change the tables' owner. A migrator may not.
    let superuser = url.replace("plain:plain@", "fleet:fleet@");
    let (client, connection) = tokio_postgres::connect(&superuser, NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "CREATE ROLE other LOGIN PASSWORD 'other' IN ROLE fleet_migrator;
               GRANT CREATE ON SCHEMA public TO fleet_migrator";
    client.batch_execute(sql).await.unwrap();
    let other = Site::without_logins(&url.replace("plain:plain@", "other:other@"));
    client.batch_execute("GRANT SELECT ON fleet_state_migrations TO fleet_migrator").await.unwrap();
    let refused = run(&mut other.consumer(&["migrate"])).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.errors.contains("belongs to plain: run migrate once as a superuser"), "{refused:?}");
    for site in [Site::without_logins(&superuser), other] {
        let ended = run(&mut site.consumer(&["migrate"])).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[tokio::test]
async fn a_user_that_may_create_roles_hands_the_tables_over_and_a_superuser_their_chunks() {
    let postgres = postgres().await;
    postgres.psql("CREATE ROLE admin LOGIN CREATEROLE PASSWORD 'admin'").unwrap();
    postgres.psql("CREATE DATABASE managed OWNER admin").unwrap();
    let superuser = postgres.url().replace("/fleet", "/managed").replace("//managed", "//fleet");
    let url = superuser.replace("fleet:fleet@", "admin:admin@");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let migrate = async |url: &str| {
        let ended = run(&mut Site::without_logins(url).consumer(&["migrate"])).await;
        assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""), "{ended:?}");
        let others = "SELECT tablename::text FROM pg_tables
                       WHERE tableowner <> 'fleet_migrator' AND (schemaname = 'public' OR tablename LIKE '_hyper_%')
                       ORDER BY tablename";
        let others = client.query(others, &[]).await.unwrap();
        others.iter().map(|row| row.get(0)).collect::<Vec<String>>()
    };
    assert_eq!(migrate(&url).await, Vec::<String>::new());
    // The state before the roles existed, with a day of telemetry.
    let back = "ALTER TABLE vehicles OWNER TO admin; ALTER TABLE telemetry OWNER TO admin;
        INSERT INTO telemetry (vehicle_id, observed_at, event_id, received_at, message_id, provider, topic, kind, raw)
        VALUES (gen_random_uuid(), now(), gen_random_uuid(), now(), gen_random_uuid(), 'niu', '', '', '{}')";
    client.batch_execute(back).await.unwrap();
    let left = migrate(&url).await;
    assert!(left.len() == 2 && left[0].starts_with("_hyper_") && left[1] == "telemetry", "{left:?}");
    assert_eq!(migrate(&superuser).await, Vec::<String>::new());
}

#[tokio::test]
async fn databases_of_one_cluster_migrate_at_once_and_may_be_two() {
    let postgres = postgres().await;
    let names: Vec<_> = (0..6).map(|number| format!("pair{number}")).collect();
    for name in &names {
        postgres.psql(&format!("CREATE DATABASE {name}")).unwrap();
    }
    let migrate = |pair: &[String]| {
        let url = |name: &str| format!("{}/{name}", postgres.url().rsplit_once('/').unwrap().0);
        let mut command = Site::without_logins(&url(&pair[0])).consumer(&["migrate"]);
        command.env("FLEET_TELEMETRY_DATABASE_URL", url(&pair[1]));
        Program::start(&mut command)
    };
    let started: Vec<_> = names.chunks(2).chain(names.chunks(2)).map(migrate).collect();
    for program in started {
        let ended = program.ended().await;
        assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""), "{ended:?}");
    }
    let roles =
        "SELECT count(*) FROM pg_roles WHERE rolname IN ('fleet_migrator', 'fleet_consumer', 'fleet_reader')";
    assert_eq!(postgres.psql(roles).unwrap(), "3");
}
