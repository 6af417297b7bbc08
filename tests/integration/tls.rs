//! TLS to Redis and PostgreSQL: the real binaries with real servers, and certificates made for the test.

pub(crate) mod authority;

use fleet_store::{Database, DatabaseOptions};
use fleet_testbed::{Postgres, PostgresOptions, Redis, RedisOptions, ServerCertificate};

use self::authority::{Authority, HERE};
use crate::connections::abandoned::Lock;
use crate::connections::options;
use crate::process::program::{Program, Site, binary, report, run};
use crate::support::{TOKEN, eventually, redis_url, server_database_url};

/// A Redis and a PostgreSQL with TLS. Each ends when it is dropped.
struct Servers {
    redis: Redis,
    postgres: Postgres,
}

impl Servers {
    async fn start(certificate: ServerCertificate) -> Self {
        let start = move || Self {
            redis: redis(certificate.clone()),
            postgres: Postgres::private_with(PostgresOptions {
                tls: Some(certificate),
                ..PostgresOptions::default()
            })
            .unwrap(),
        };
        tokio::task::spawn_blocking(start).await.unwrap()
    }

    /// A certificate renewal: new certificates and a restart.
    async fn renew(mut self, certificate: ServerCertificate) -> Self {
        let renew = move || {
            self.redis.renew(&certificate).unwrap();
            self.postgres.renew(&certificate).unwrap();
            self.redis.restart().unwrap();
            self.postgres.restart().unwrap();
            self
        };
        tokio::task::spawn_blocking(renew).await.unwrap()
    }

    /// Both servers. The database's URL has this `sslmode`.
    fn site(&self, trusted: &Authority, sslmode: &str) -> Site {
        let mut site = Site::new(&format!("{}?sslmode={sslmode}", self.postgres.url()));
        site.redis = self.redis.url();
        site.ca_file = Some(trusted.file());
        site
    }
}

fn redis(certificate: ServerCertificate) -> Redis {
    Redis::private_with(RedisOptions { tls: Some(certificate), ..RedisOptions::default() }).unwrap()
}

async fn post(api: &Program, number: usize) {
    let request = reqwest::Client::new().post(api.webhooks()).header("token", TOKEN).body(report(number));
    assert_eq!(request.send().await.unwrap().status(), 200);
}

/// Asserts that `migrate` fails with this text.
async fn assert_migrate_fails(site: &Site, said: &str) {
    let ended = run(&mut site.consumer(&["migrate"])).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains(said), "{ended:?}");
    assert!(!ended.errors.contains("fleet:fleet"), "{ended:?}");
}

/// Asserts that the API does not become ready, and logs this reason.
async fn assert_redis_is_refused(site: &Site, said: &str) {
    let mut api = Program::start(&mut site.api(&[]));
    let log = api.logged("waiting for Redis").await;
    assert!(log.contains(said), "{log}");
    api.readiness(503).await;
}

#[tokio::test]
async fn everything_works_over_tls_and_goes_on_after_a_renewal() {
    let authority = Authority::new();
    let servers = Servers::start(authority.issue(HERE)).await;
    let site = servers.site(&authority, "verify-full");
    let migrated = run(&mut site.consumer(&["migrate"])).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");

    let mut api = Program::start(&mut site.api(&[]));
    let mut command = site.consumer(&[]);
    let mut consumer = Program::start(&mut command);
    api.readiness(200).await;
    consumer.readiness(200).await;
    let mut health = binary("fleet-consumer", &["health"]);
    health.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_eq!(run(&mut health).await.code, Some(0));
    post(&api, 1).await;
    site.settled().await;
    let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                  WHERE application_name = 'fleet-consumer' AND NOT ssl";
    let encrypted = plain.replace("NOT ssl", "ssl AND version = 'TLSv1.3'");
    assert_eq!(servers.postgres.psql(plain).unwrap(), "0");
    assert_ne!(servers.postgres.psql(&encrypted).unwrap(), "0");

    for arguments in [&["audit"][..], &["dead-letters", "list"], &["dead-letters", "replay"], &["retention"]]
    {
        let ended = run(&mut site.consumer(arguments)).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    }
    let servers = servers.renew(authority.issue(HERE)).await;
    eventually("the API to reach the renewed server", async || {
        let request = reqwest::Client::new().post(api.webhooks()).header("token", TOKEN).body(report(2));
        (request.send().await.unwrap().status() == 200).then_some(())
    })
    .await;
    site.settled().await;
    assert_eq!(servers.postgres.psql("SELECT count(*) FROM vehicles").unwrap(), "2");
    api.assert_running();
    consumer.assert_running();
}

#[tokio::test]
async fn a_server_of_another_ca_is_refused_and_waited_for() {
    let (authority, other) = (Authority::new(), Authority::new());
    let servers = Servers::start(authority.issue(HERE)).await;
    let not_trusted = "certificate is not trusted: set FLEET_TLS__CA_FILE";
    for sslmode in ["require", "verify-ca", "verify-full"] {
        assert_migrate_fails(&servers.site(&other, sslmode), not_trusted).await;
    }
    let wrong = servers.site(&other, "verify-full");
    assert_redis_is_refused(&wrong, not_trusted).await;
    let mut consumer = Program::start(&mut wrong.consumer(&[]));
    let log = consumer.logged("waiting for the database").await;
    assert!(log.contains(not_trusted) && !log.contains("fleet:fleet"), "{log}");
    consumer.readiness(503).await;

    // The system's CAs do not trust the certificate either.
    let mut systems = servers.site(&other, "verify-full&sslrootcert=system");
    assert_migrate_fails(&systems, "; ").await;
    systems.ca_file = None;
    let mut api = Program::start(&mut systems.api(&[]));
    api.logged("waiting for Redis").await;
    api.readiness(503).await;

    // The CA file in the URL overrides the setting.
    let path = authority.file().display().to_string();
    let named = servers.site(&other, &format!("verify-full&sslrootcert={path}"));
    assert_eq!(run(&mut named.consumer(&["migrate"])).await.code, Some(0));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_unless_no_name_is_asked_for() {
    let authority = Authority::new();
    let servers = Servers::start(authority.issue(&["elsewhere.example"])).await;
    let other_name = "certificate is for another name";
    for sslmode in ["require", "verify-full"] {
        assert_migrate_fails(&servers.site(&authority, sslmode), other_name).await;
    }
    assert_redis_is_refused(&servers.site(&authority, "verify-full"), other_name).await;
    for sslmode in ["verify-ca", "prefer"] {
        let ended = run(&mut servers.site(&authority, sslmode).consumer(&["migrate"])).await;
        assert_eq!(ended.code, Some(0), "{sslmode}: {ended:?}");
    }
}

#[tokio::test]
async fn a_dropped_statement_is_cancelled_over_tls() {
    let authority = Authority::new();
    let servers = Servers::start(authority.issue(HERE)).await;
    let url = format!("{}?sslmode=verify-full", servers.postgres.url());
    let file = authority.file();
    let database =
        |size| Database::open(&DatabaseOptions { ca_file: Some(&file), ..options(&url, size) }).unwrap();
    let lock = Lock::take(database(1)).await;
    lock.assert_dropped_statements_are_cancelled(&database(2)).await;
}

#[tokio::test]
async fn an_expired_certificate_and_a_cas_own_are_refused() {
    let authority = Authority::new();
    let servers = Servers::start(authority.issue_expired(HERE)).await;
    for sslmode in ["verify-ca", "verify-full"] {
        assert_migrate_fails(&servers.site(&authority, sslmode), "certificate has expired").await;
    }
    assert_redis_is_refused(&servers.site(&authority, "verify-full"), "certificate has expired").await;

    let servers = servers.renew(authority.own()).await;
    assert_migrate_fails(&servers.site(&authority, "verify-full"), "shows a CA's own certificate").await;
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let plain = server_database_url();
    for sslmode in ["require", "verify-full"] {
        let site = Site::new(&format!("{plain}?sslmode={sslmode}"));
        assert_migrate_fails(&site, "server does not support TLS; enable TLS").await;
    }
    // A CA file in the settings requires TLS.
    let mut site = Site::new(&plain);
    let authority = Authority::new();
    site.ca_file = Some(authority.file());
    assert_migrate_fails(&site, "server does not support TLS").await;
    site.database = format!("{plain}?sslmode=disable");
    assert_eq!(run(&mut site.consumer(&["audit"])).await.errors.matches("TLS").count(), 0);
    site.redis = redis_url().replace("redis://", "rediss://");
    let mut api = Program::start(&mut site.api(&[]));
    api.logged("waiting for Redis").await;
    api.readiness(503).await;
}

#[tokio::test]
async fn what_can_never_work_is_refused_at_once() {
    let wrong = [
        ("FLEET_REDIS_URL", "rediss://:hunter2@cache:6379/#insecure"),
        ("FLEET_DATABASE_URL", "postgres://fleet:hunter2@db/fleet?sslmode=allow"),
        ("FLEET_TELEMETRY_DATABASE_URL", "postgres://fleet:hunter2@db/fleet?sslrootcert=/no/such.pem"),
    ];
    let ended = run(binary("fleet-consumer", &["check-config"]).envs(wrong)).await;
    assert_eq!(ended.code, Some(78), "{ended:?}");
    for said in ["#insecure would accept any certificate", "verify-full", "/no/such.pem cannot be read"] {
        assert!(ended.errors.contains(said), "{said}: {ended:?}");
    }
    assert!(!ended.errors.contains("hunter2"), "{ended:?}");
    for name in ["fleet-webhook-api", "fleet-consumer"] {
        let mut command = binary(name, &["check-config"]);
        command.env("FLEET_TLS__CA_FILE", "/no/such.pem").env("FLEET_QUEUE__TIMEOUT", "0s");
        let ended = run(&mut command).await;
        assert_eq!(ended.code, Some(78), "{name}: {ended:?}");
        for said in ["FLEET_TLS__CA_FILE", "/no/such.pem cannot be read", "FLEET_QUEUE__TIMEOUT"] {
            assert!(ended.errors.contains(said), "{name}, {said}: {ended:?}");
        }
    }
}
