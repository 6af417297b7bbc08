//! Which providers are served, and how each proves who it is.

use std::path::PathBuf;

use fleet_providers::{AuthScheme, Provider, Secrets, provider};
use fleet_queue::RedisLink;
use fleet_runtime::settings::{
    ApiSettings, GivenScheme, ProviderSettings, Settings, SettingsError, environment_name, read_secrets,
};

/// One provider as configured.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// The provider.
    pub provider: &'static Provider,
    /// How it authenticates.
    pub scheme: AuthScheme,
    /// With what.
    pub secrets: Secrets,
    /// Where to read them again.
    pub secrets_file: Option<PathBuf>,
    /// Most bytes that wait or are being worked on.
    pub max_backlog_bytes: u64,
    /// Most bytes of a body.
    pub max_body_bytes: u64,
}

const KIB: u64 = 1024;

/// The providers to serve. Also makes sure that Redis' URL can be used.
///
/// # Errors
///
/// Everything that is wrong with what the API needs, at once; serving no provider is an error too.
pub fn source_settings(settings: &Settings) -> Result<Vec<SourceSettings>, SettingsError> {
    let mut sources = Vec::new();
    let mut errors = Vec::new();
    for (slug, given) in &settings.providers {
        let variable = |name: &str| environment_name(&format!("providers.{slug}.{name}"));
        let Some(provider) = provider(slug) else {
            let known: Vec<_> = fleet_providers::PROVIDERS.iter().map(|provider| provider.slug).collect();
            errors.push(format!(
                "{}: there is no provider {slug:?}; use {}",
                variable("auth"),
                known.join(", ")
            ));
            continue;
        };
        let scheme = match given.auth.as_ref().map(GivenScheme::parse) {
            None => (provider.default_auth)(),
            Some(Ok(scheme)) => scheme,
            Some(Err(error)) => {
                errors.push(format!("{}: {error}", variable("auth")));
                continue;
            }
        };
        let secrets = match secrets(given) {
            Ok(secrets) => secrets,
            Err(error) => {
                errors.push(format!("{}: {error}", variable("secrets_file")));
                continue;
            }
        };
        if secrets.0.is_empty() && scheme != AuthScheme::None {
            let name = variable("secrets");
            errors.push(format!(
                "{name}: the scheme {scheme} needs at least one secret (or set the scheme to none)"
            ));
        }
        let max_body_bytes = max_body_bytes(given, &scheme, &settings.api);
        let name = variable("max_body_bytes");
        errors
            .extend(misfit(max_body_bytes, &scheme, &settings.api).map(|misfit| format!("{name}: {misfit}")));
        let (secrets_file, max_backlog_bytes) = (given.secrets_file.clone(), given.max_backlog_bytes);
        sources.push(SourceSettings {
            provider,
            scheme,
            secrets,
            secrets_file,
            max_backlog_bytes,
            max_body_bytes,
        });
    }
    if settings.providers.is_empty() {
        errors.push("no provider is configured; set for example FLEET_PROVIDERS__NIU__SECRETS".to_owned());
    }
    if let Err(error) = RedisLink::trusting(
        settings.tls.ca_file.as_deref(),
        settings.redis_url.expose(),
        settings.queue.timeout,
    ) {
        errors.push(format!("FLEET_REDIS_URL: {error}"));
    }
    if errors.is_empty() { Ok(sources) } else { Err(SettingsError(errors)) }
}

/// The largest body. Anybody may send one whose signature is in it or over it, so that it is small unless the settings say
/// otherwise: it is read and hashed before the sender is known. Segway's largest known message has less than 1 KiB.
fn max_body_bytes(given: &ProviderSettings, scheme: &AuthScheme, api: &ApiSettings) -> u64 {
    let usual = match scheme {
        AuthScheme::SegwayMd5 => 16 * KIB,
        AuthScheme::HmacSha256(_) => 64 * KIB,
        AuthScheme::None
        | AuthScheme::Bearer
        | AuthScheme::Basic
        | AuthScheme::Header(_)
        | AuthScheme::Query(_) => u64::MAX,
    };
    given.max_body_bytes.unwrap_or(api.max_body_bytes.min(usual))
}

/// What is wrong with a provider's largest body.
fn misfit(max_body_bytes: u64, scheme: &AuthScheme, api: &ApiSettings) -> Option<String> {
    let bounds = [
        ("api.max_in_flight_bytes", api.max_in_flight_bytes, true),
        ("api.max_unauthenticated_bytes", api.max_unauthenticated_bytes, !scheme.is_in_head()),
    ];
    if max_body_bytes == 0 {
        return Some("must be more than 0".to_owned());
    }
    let mut exceeded = bounds.into_iter().filter(|(_name, most, applies)| *applies && max_body_bytes > *most);
    exceeded.next().map(|(name, most, _applies)| {
        let variable = environment_name(name);
        format!("{max_body_bytes} is more than {variable} ({most}), so that the largest bodies would be refused for ever")
    })
}

/// The secrets at the start, wherever they are.
fn secrets(given: &ProviderSettings) -> Result<Secrets, String> {
    match &given.secrets_file {
        None => Ok(given.secrets.clone()),
        Some(_) if !given.secrets.0.is_empty() => {
            Err("there are secrets in the variable that ends in __SECRETS, too; keep one of the two"
                .to_owned())
        }
        Some(path) => read_secrets(path).map_err(|error| error.to_string()),
    }
}
