//! Who may ask, and how much at a time.

pub(crate) mod gate;

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use fleet_providers::{AuthScheme, Secrets, Verdict};
use fleet_runtime::settings::{
    QuerySettings, Scope, SettingsError, TokenSettings, environment_name, read_secrets,
};
use tokio::sync::Semaphore;

/// Shorter tokens can be guessed.
const MIN_TOKEN_BYTES: usize = 16;

/// The caller that stands for everybody on this machine, if there are no tokens.
const LOCAL: &str = "local";

/// Everybody who may ask.
#[derive(Debug)]
pub(crate) struct Access {
    callers: Vec<Arc<Caller>>,
    scheme: AuthScheme,
    /// One permit for each stream, whoever asks.
    streams: Arc<Semaphore>,
    max_streams: usize,
}

/// Who asks, with bounds that no other caller's requests count against.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The name of the token in the settings.
    pub(crate) name: String,
    scopes: Vec<Scope>,
    secrets: Secrets,
    /// One permit for each request that is no stream.
    requests: Arc<Semaphore>,
    /// One permit for each stream.
    streams: Arc<Semaphore>,
    /// One permit for each read of a track at the same time.
    pub(crate) tracks: Arc<Semaphore>,
    /// One permit for each connection that is never closed to make room.
    kept: Arc<Semaphore>,
}

impl Access {
    /// The callers that the settings name; otherwise one that needs no token. They share `track_connections`.
    ///
    /// # Errors
    ///
    /// Tokens that are missing, short or not distinct, or an address that is not loopback without any tokens.
    pub(crate) fn new(settings: &QuerySettings, track_connections: usize) -> Result<Self, SettingsError> {
        let (settings, mut problems) = with_files(settings);
        problems.extend(problems_of(&settings));
        if !problems.is_empty() {
            return Err(SettingsError(problems));
        }
        let settings = &settings;
        let local =
            TokenSettings { scopes: vec![Scope::Positions, Scope::Tracks], ..TokenSettings::default() };
        let is_local = settings.tokens.is_empty();
        let tokens: Vec<_> = if is_local {
            vec![(LOCAL, &local)]
        } else {
            settings.tokens.iter().map(|(name, token)| (name.as_str(), token)).collect()
        };
        // An eighth is left to those who have yet to show their token.
        let kept = settings.max_connections / 8 * 7 / tokens.len().max(1);
        let tracks = (track_connections / tokens.len().max(1)).max(1);
        let callers: Vec<_> = tokens
            .into_iter()
            .map(|(name, token)| Arc::new(caller(name, token, settings, Shares { kept, tracks })))
            .collect();
        let scheme = if is_local { AuthScheme::None } else { AuthScheme::Bearer };
        // The other connections are left to requests.
        let all = (settings.max_connections / 4 * 3).max(1);
        let max_streams = settings.max_streams.saturating_mul(callers.len()).min(all);
        Ok(Self { callers, scheme, streams: permits(all), max_streams })
    }

    /// How many streams there may be.
    pub(crate) fn max_streams(&self) -> usize {
        self.max_streams
    }

    /// Whether callers have to show a token.
    pub(crate) fn needs_token(&self) -> bool {
        self.scheme.authenticates()
    }

    /// Whether this name of the service may be used. With tokens, any may.
    fn knows_host(&self, headers: &HeaderMap) -> bool {
        self.needs_token() || names_this_machine(headers)
    }

    /// Who sends the request. Compares with every token, in constant time.
    fn identify(&self, headers: &HeaderMap) -> Option<&Arc<Caller>> {
        let is_genuine = |caller: &&Arc<Caller>| {
            self.scheme.verify_head(headers, None, &caller.secrets) == Verdict::Genuine
        };
        // Not `find`, which would tell by its duration which token was compared last.
        self.callers.iter().filter(is_genuine).fold(None, |_other, caller| Some(caller))
    }
}

/// Whether the request names this machine. A web page could otherwise let its own name point to this machine, and read the service in
/// the browser of a person who works here.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// A caller's share of what all of them have.
#[derive(Clone, Copy)]
struct Shares {
    kept: usize,
    tracks: usize,
}

fn permits(count: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)))
}

fn caller(name: &str, token: &TokenSettings, settings: &QuerySettings, shares: Shares) -> Caller {
    Caller {
        name: name.to_owned(),
        scopes: token.scopes.clone(),
        secrets: token.secrets.clone(),
        requests: permits(settings.max_in_flight),
        streams: permits(settings.max_streams),
        tracks: permits(shares.tracks),
        kept: permits(shares.kept),
    }
}

/// The settings with the tokens of their files, and which files cannot be used.
fn with_files(settings: &QuerySettings) -> (QuerySettings, Vec<String>) {
    let (mut settings, mut problems) = (settings.clone(), Vec::new());
    for (name, token) in &mut settings.tokens {
        match token.secrets_file.as_deref().map(read_secrets) {
            None => {}
            Some(Ok(secrets)) => token.secrets.0.extend(secrets.0),
            Some(Err(error)) => {
                let key = format!("query.tokens.{name}.secrets_file");
                problems.push(format!("{} ({key}): {error}", environment_name(&key)));
            }
        }
    }
    (settings, problems)
}

fn problems_of(settings: &QuerySettings) -> Vec<String> {
    use secrecy::ExposeSecret;
    let mut problems = Vec::new();
    if settings.tokens.is_empty() && !settings.listen.ip().is_loopback() {
        problems.push(
            "FLEET_QUERY__LISTEN (query.listen): without tokens only a loopback address may be served, because everybody could \
             read where the vehicles are; set a token, such as FLEET_QUERY__TOKENS__APP__SECRETS, or listen on 127.0.0.1"
                .to_owned(),
        );
    }
    let mut known: Vec<&str> = Vec::new();
    for (name, token) in &settings.tokens {
        let key = format!("query.tokens.{name}.secrets");
        let mut problem = |text: &str| problems.push(format!("{} ({key}): {text}", environment_name(&key)));
        let secrets: Vec<_> = token.secrets.0.iter().map(ExposeSecret::expose_secret).collect();
        // An unusable file is a problem of its own.
        if secrets.is_empty() && token.secrets_file.is_none() {
            problem("there is no token; set at least one");
        }
        if secrets.iter().any(|secret| secret.len() < MIN_TOKEN_BYTES) {
            problem("a token must have at least 16 characters; make one with `openssl rand -hex 32`");
        }
        if secrets.iter().any(|secret| !secret.bytes().all(|byte| byte.is_ascii_graphic())) {
            problem("a token must consist of visible ASCII characters, as it is sent in a header");
        }
        if secrets.iter().any(|secret| known.contains(secret)) {
            problem("another name has the same token; each name needs tokens of its own");
        }
        known.extend(secrets);
    }
    problems
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn only_loopback_addresses_name_this_machine() {
        let names = |host: &'static str| {
            names_this_machine(&HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]))
        };
        for host in ["localhost", "LOCALHOST:8081", "127.0.0.1", "127.3.2.1:80", "[::1]", "[::1]:8081"] {
            assert!(names(host), "{host}");
        }
        for host in
            ["", "example.com", "localhost.example.com", "127.0.0.1.example.com:80", "10.0.0.1", "[::2]:1"]
        {
            assert!(!names(host), "{host}");
        }
        assert!(!names_this_machine(&HeaderMap::new()));
    }

    fn token(secrets: &[&str], scopes: &[Scope]) -> TokenSettings {
        let secrets = Secrets(secrets.iter().map(|secret| SecretString::from(*secret)).collect());
        TokenSettings { secrets, scopes: scopes.to_vec(), ..TokenSettings::default() }
    }

    fn settings(tokens: &[(&str, TokenSettings)]) -> QuerySettings {
        let tokens = tokens.iter().map(|(name, token)| ((*name).to_owned(), token.clone())).collect();
        QuerySettings { tokens, ..QuerySettings::default() }
    }

    fn bearer(token: &str) -> HeaderMap {
        let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        [(header::AUTHORIZATION, value)].into_iter().collect()
    }

    #[test]
    fn each_token_names_its_caller_also_while_one_is_replaced() {
        let (old, new, other) = ("old-token-00000001", "new-token-00000001", "other-token-000001");
        let app = token(&[old, new], &[Scope::Positions]);
        let access =
            Access::new(&settings(&[("app", app), ("desk", token(&[other], &[Scope::Tracks]))]), 8).unwrap();
        let name = |headers| access.identify(&headers).map(|caller| caller.name.clone());
        assert_eq!(name(bearer(old)).as_deref(), Some("app"));
        assert_eq!(name(bearer(new)).as_deref(), Some("app"));
        assert_eq!(name(bearer(other)).as_deref(), Some("desk"));
        assert_eq!(name(bearer("old-token-00000002")), None);
        assert_eq!(name(bearer("")), None);
        assert_eq!(name(HeaderMap::new()), None);
    }

    #[test]
    fn weak_tokens_are_refused_without_being_shown() {
        let (short, long) = ("short", "long-enough-token-1");
        let given = [
            ("a", token(&[short], &[])),
            ("b", token(&[long], &[])),
            ("c", token(&[long], &[])),
            ("d", token(&[], &[])),
        ];
        let error = Access::new(&settings(&given), 8).unwrap_err().to_string();
        assert!(!error.contains(&format!(" {short};")) && !error.contains(long), "{error}");
        for name in ["A__SECRETS", "C__SECRETS", "D__SECRETS"] {
            assert!(error.contains(&format!("FLEET_QUERY__TOKENS__{name}")), "{name}: {error}");
        }
        assert!(!error.contains("B__SECRETS"), "{error}");
    }

    #[test]
    fn tokens_may_come_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, "file-token-000001\nfile-token-000002\n").unwrap();
        let from_file = |secrets: &[&str]| TokenSettings {
            secrets_file: Some(path.clone()),
            ..token(secrets, &[Scope::Positions])
        };
        let known = |access: &Access, token: &str| access.identify(&bearer(token)).is_some();
        let access = Access::new(&settings(&[("app", from_file(&["own-token-0000001"]))]), 8).unwrap();
        for valid in ["own-token-0000001", "file-token-000001", "file-token-000002"] {
            assert!(known(&access, valid), "{valid}");
        }
        assert!(!known(&access, "file-token-00000"));
        let both = settings(&[("app", from_file(&[])), ("desk", token(&["file-token-000002"], &[]))]);
        assert!(Access::new(&both, 8).unwrap_err().to_string().contains("each name needs tokens of its own"));
        std::fs::write(&path, "short").unwrap();
        let error = Access::new(&settings(&[("app", from_file(&[]))]), 8).unwrap_err().to_string();
        assert!(error.contains("at least 16 characters") && !error.contains("short\n"), "{error}");
        std::fs::remove_file(&path).unwrap();
        let error = Access::new(&settings(&[("app", from_file(&[]))]), 8).unwrap_err().to_string();
        assert!(error.contains("FLEET_QUERY__TOKENS__APP__SECRETS_FILE"), "{error}");
    }

    #[test]
    fn without_tokens_only_loopback_is_served() {
        let open = QuerySettings { listen: "0.0.0.0:8081".parse().unwrap(), ..QuerySettings::default() };
        assert!(Access::new(&open, 8).unwrap_err().to_string().contains("FLEET_QUERY__LISTEN"));
        let access = Access::new(&QuerySettings::default(), 8).unwrap();
        assert_eq!(access.identify(&HeaderMap::new()).map(|caller| &*caller.name), Some(LOCAL));
    }
}
