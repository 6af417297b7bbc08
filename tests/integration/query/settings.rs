//! Settings that the service refuses.

use crate::process::program::{binary, run};
use crate::support::server_database_url;

/// The exit status and the errors of `check-config`.
async fn check(variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = binary("fleet-query-api", &["check-config"]);
    command.env("FLEET_DATABASE_URL", server_database_url()).envs(variables.iter().copied());
    let ended = run(&mut command).await;
    (ended.code, ended.output, ended.errors)
}

#[tokio::test]
async fn without_tokens_the_service_starts_on_loopback_only() {
    assert_eq!(check(&[]).await.0, Some(0));
    assert_eq!(check(&[("FLEET_QUERY__LISTEN", "[::1]:8081")]).await.0, Some(0));
    for open in ["0.0.0.0:8081", "192.0.2.1:8081", "[::]:8081"] {
        let (code, _output, errors) = check(&[("FLEET_QUERY__LISTEN", open)]).await;
        assert_eq!(code, Some(78), "{open}");
        assert!(errors.contains("FLEET_QUERY__TOKENS__APP__SECRETS"), "{errors}");
        let token = ("FLEET_QUERY__TOKENS__APP__SECRETS", "0123456789abcdef");
        assert_eq!(check(&[("FLEET_QUERY__LISTEN", open), token]).await.0, Some(0), "{open}");
    }
}

#[tokio::test]
async fn wrong_settings_are_refused_and_no_token_is_shown() {
    let secret = "hunter2hunter2hunter2";
    for (name, value, says) in [
        ("FLEET_QUERY__TOKENS__APP__SECRETS", "hunter2", "16 characters"),
        ("FLEET_QUERY__TOKENS__APP__SCOPES", "positions", "no token"),
        ("FLEET_QUERY__TOKENS__APP__SCOPES", secret, "positions, tracks"),
        ("FLEET_QUERY__TOKENS__APP", secret, "FLEET_QUERY__TOKENS__APP__SECRETS"),
        ("FLEET_QUERY__TOKENS", secret, "FLEET_QUERY__TOKENS__APP__SECRETS"),
        ("FLEET_QUERY__TILE_URL", "https://a b/{z}", "tile_url"),
        ("FLEET_QUERY__MAX_STREAMS", "0", "query.max_streams"),
        ("FLEET_QUERY__REFRESH_INTERVAL", "10m", "query.max_age"),
        ("FLEET_DATABASE_URL", "mysql://a", "FLEET_DATABASE_URL"),
    ] {
        let (code, output, errors) = check(&[(name, value)]).await;
        assert_eq!(code, Some(78), "{name}: {errors}");
        assert!(errors.contains(says), "{name}: {errors}");
        assert!(!errors.contains("hunter2") && !output.contains("hunter2"), "{name}: {output}{errors}");
    }
    let (code, output, _errors) = check(&[("FLEET_QUERY__TOKENS__APP__SECRETS", secret)]).await;
    assert_eq!(code, Some(0));
    assert!(output.contains("FLEET_QUERY__TOKENS__APP__SECRETS=[redacted]"), "{output}");
    assert!(output.contains("FLEET_QUERY__TOKENS__APP__SCOPES=positions\n"), "{output}");
    assert!(!output.contains("hunter2"), "{output}");
}
