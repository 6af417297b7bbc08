//! Settings from variables and files.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;

fn from_variables(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    load(None, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn a_limit_of_zero_is_refused() {
    for name in [
        "FLEET_WORKER_THREADS",
        "FLEET_CONSUMER__MAX_EVENTS_PER_SECOND",
        "FLEET_DATABASE__POOL_SIZE",
        "FLEET_PROVIDERS__NIU__MAX_NEW_VEHICLES_PER_MINUTE",
    ] {
        let error = from_variables(&[(name, "0")]).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("must be more than 0"), "{error}");
    }
}

#[test]
fn a_cap_for_a_provider_that_does_not_exist_is_refused() {
    let name = "FLEET_PROVIDERS__NUI__MAX_NEW_VEHICLES_PER_MINUTE";
    let error = from_variables(&[(name, "10")]).unwrap_err().to_string();
    assert!(error.contains(name) && error.contains("use one of niu"), "{error}");
}

#[test]
fn every_setting_can_be_set_by_its_variable_to_its_default() {
    let defaults = Settings::default().effective();
    let given = defaults.iter().filter(|(_name, value)| !value.is_empty());
    let given: Vec<_> = given.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert!(given.len() > 30);
    let read = from_variables(&given).unwrap().effective();
    let urls = |lines: &[(String, String)]| {
        lines.iter().filter(|(name, _)| !name.ends_with("_URL")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(urls(&read), urls(&defaults));
}

#[test]
fn variables_reach_every_level_and_type() {
    let settings = from_variables(&[
        ("FLEET_REDIS_URL", "redis://cache:1"),
        ("FLEET_API__LISTEN", "0.0.0.0:80"),
        ("FLEET_API__MAX_BODY_BYTES", "1000"),
        ("FLEET_CONSUMER__LEASE", "1m 30s"),
        ("FLEET_CONSUMER__MAX_EVENTS_PER_SECOND", "2000"),
        ("FLEET_LOG_FORMAT", "json"),
        ("FLEET_PROVIDERS__NIU__SECRETS", "007, 1e5"),
        ("FLEET_TEST_REDIS_URL", "ignored"),
        ("FLEET_WEBHOOK_API_SERVICE_HOST", "10.0.0.1"),
        ("HOME", "/root"),
    ])
    .unwrap();
    assert_eq!(settings.redis_url.expose(), "redis://cache:1");
    assert_eq!(settings.api.listen.port(), 80);
    assert_eq!(settings.api.max_body_bytes, 1000);
    assert_eq!(settings.consumer.lease, Duration::from_secs(90));
    assert_eq!(settings.consumer.max_events_per_second, Some(2000));
    assert_eq!(settings.log_format, crate::settings::LogFormat::Json);
    let secrets: Vec<_> =
        settings.providers["niu"].secrets.0.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(secrets, ["007", "1e5"]);
}

#[test]
fn all_errors_come_at_once() {
    let error = from_variables(&[
        ("FLEET_API__LISTNE", "0.0.0.0:80"),
        ("FLEET_API__MAX_BODY_BYTES", "many"),
        ("FLEET_CONSUMER__LEASE", "soon"),
        ("FLEET_COLOUR", "red"),
    ])
    .unwrap_err();
    let names = ["FLEET_API__LISTNE", "FLEET_API__MAX_BODY_BYTES", "FLEET_CONSUMER__LEASE", "FLEET_COLOUR"];
    assert_eq!(error.0.len(), names.len(), "{error}");
    for name in names {
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn what_cannot_work_together_is_refused() {
    let error = from_variables(&[
        ("FLEET_CONSUMER__LEASE", "10s"),
        ("FLEET_CONSUMER__HEARTBEAT", "6s"),
        ("FLEET_CONSUMER__POLL_MIN", "1s"),
        ("FLEET_DATABASE__POOL_SIZE", "0"),
        ("FLEET_QUEUE__TIMEOUT", "0s"),
        ("FLEET_API__MAX_IN_FLIGHT_BYTES", "1000"),
    ])
    .unwrap_err();
    assert_eq!(error.0.len(), 5, "{error}");
}

#[test]
fn white_space_around_a_value_is_no_part_of_it_wherever_it_comes_from() {
    let variables = [
        ("FLEET_DATABASE_URL", " postgres://u:p@db/fleet\r\n"),
        ("FLEET_TELEMETRY_DATABASE_URL", "\tpostgres://u:p@db/telemetry\n\n"),
        ("FLEET_QUEUE__PREFIX", "fleet\n"),
        ("FLEET_API__MAX_BODY_BYTES", "1000\n"),
        ("FLEET_CONSUMER__LEASE", "45s\n"),
        ("FLEET_LOG_FORMAT", "json\n"),
        ("FLEET_PROVIDERS__NIU__AUTH", "header:token\n"),
    ];
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"redis_url = \"\"\"\nredis://cache:1\n\"\"\"\n").unwrap();
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let settings = load(Some(file.path()), variables).unwrap();
    assert_eq!(settings.redis_url.expose(), "redis://cache:1");
    assert_eq!(settings.database_url.expose(), "postgres://u:p@db/fleet");
    let telemetry = settings.telemetry_database_url.unwrap();
    assert_eq!(telemetry.expose(), "postgres://u:p@db/telemetry");
    assert_eq!(settings.queue.prefix, "fleet");
    assert_eq!(settings.api.max_body_bytes, 1000);
    assert_eq!(settings.consumer.lease, Duration::from_secs(45));
    assert_eq!(settings.log_format, crate::settings::LogFormat::Json);
    let scheme = settings.providers["niu"].auth.as_ref().unwrap().parse().unwrap();
    assert!(scheme == "header:token".parse().unwrap());
}

#[test]
fn white_space_inside_a_secret_is_refused_without_showing_it() {
    for (name, value) in [
        ("FLEET_REDIS_URL", "redis://:hunter2@cache:1\nredis://:hunter2@other:1"),
        ("FLEET_DATABASE_URL", "postgres://u:hunter2 @db/fleet"),
        ("FLEET_TELEMETRY_DATABASE_URL", "postgres://u:hunter2@db/fleet?options=-c\u{a0}x"),
        ("FLEET_TELEMETRY_DATABASE_URL", "postgres://u:hunter2@d\u{7}b/fleet"),
        ("FLEET_PROVIDERS__NIU__SECRETS", "hunter2\nhunter2-old"),
    ] {
        let error = from_variables(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
    }
    for prefix in ["fleet one", "fleet\none"] {
        let error = from_variables(&[("FLEET_QUEUE__PREFIX", prefix)]).unwrap_err().to_string();
        assert!(error.contains("FLEET_QUEUE__PREFIX"), "{error}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_shown() {
    for name in [
        "",
        "__NIU",
        "__NIU__MAX_BACKLOG_BYTES",
        "__NIU__MAX_NEW_VEHICLES_PER_MINUTE",
        "__NIU__SHARDS",
        "__NIU__SECRET",
        "__NIU__AUTH__HEADER",
        "__NIU__SECRETS__1",
    ] {
        let name = format!("FLEET_PROVIDERS{name}");
        let error = from_variables(&[(&name, "hunter2")]).unwrap_err().to_string();
        assert!(error.contains(&name) && !error.contains("hunter2"), "{name}: {error}");
    }
    let mixed = [("FLEET_PROVIDERS__NIU", "hunter2"), ("FLEET_PROVIDERS__NIU__SECRETS", "hunter2")];
    if let Err(error) = from_variables(&mixed) {
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    for (given, shown) in [
        ("header:hunter2", "header:[redacted]"),
        ("query:hunter2", "query:[redacted]"),
        ("hmac-sha256:hunter2", "hmac-sha256:[redacted]"),
        ("headers:hunter2", "[redacted]"),
        ("header:hunter 2", "[redacted]"),
        ("hunter2", "[redacted]"),
        ("bearer", "bearer"),
    ] {
        let settings = from_variables(&[("FLEET_PROVIDERS__NIU__AUTH", given)]).unwrap();
        let effective = settings.effective();
        let line = ("FLEET_PROVIDERS__NIU__AUTH".to_owned(), shown.to_owned());
        assert!(effective.contains(&line), "{given}: {effective:?}");
        let debug = format!("{settings:?}");
        assert!(!debug.contains("hunter"), "{debug}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let settings = from_variables(&[
        ("FLEET_DATABASE_URL", "postgres://u:hunter2@db/fleet"),
        ("FLEET_PROVIDERS__NIU__SECRETS", "hunter2,hunter2"),
    ])
    .unwrap();
    let shown = format!("{:?} {settings:?}", settings.effective());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("[redacted],[redacted]"), "{shown}");
}

#[test]
fn a_provider_has_one_queue_or_up_to_64_shards() {
    let names = |variables: &[(&str, &str)]| -> Vec<String> {
        from_variables(variables).unwrap().queues().map(|queue| queue.to_string()).collect()
    };
    assert_eq!(names(&[]), ["niu", "segway", "invers"]);
    assert_eq!(names(&[("FLEET_PROVIDERS__NIU__SHARDS", "1")]), ["niu", "segway", "invers"]);
    assert_eq!(names(&[("FLEET_PROVIDERS__NIU__SHARDS", "2")]), ["niu.0", "niu.1", "segway", "invers"]);
    assert_eq!(names(&[("FLEET_PROVIDERS__INVERS__SHARDS", "64")]).len(), 66);
    for wrong in ["0", "65", "256", "-1", "two"] {
        let error = from_variables(&[("FLEET_PROVIDERS__NIU__SHARDS", wrong)]).unwrap_err().to_string();
        assert!(
            error.contains("FLEET_PROVIDERS__NIU__SHARDS") && error.contains("1 to 64"),
            "{wrong}: {error}"
        );
    }
    let error = from_variables(&[("FLEET_PROVIDERS__NIMBUS__SHARDS", "2")]).unwrap_err().to_string();
    assert!(error.contains("no provider nimbus"), "{error}");
}
