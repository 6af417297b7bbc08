//! Which providers are served, and how each proves who it is.

use std::path::PathBuf;

use fleet_providers::{AuthScheme, Provider, Secrets, provider};
use fleet_queue::RedisLink;
use fleet_runtime::settings::{
    GivenScheme, ProviderSettings, Settings, SettingsError, environment_name, read_secrets,
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
}

/// The providers to serve. Also makes sure that Redis' URL can be used.
///
/// # Errors
///
/// Everything that is wrong with what the API needs, at once; serving no provider is an error too.
pub fn sources(settings: &Settings) -> Result<Vec<SourceSettings>, SettingsError> {
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
        let (secrets_file, max_backlog_bytes) = (given.secrets_file.clone(), given.max_backlog_bytes);
        sources.push(SourceSettings { provider, scheme, secrets, secrets_file, max_backlog_bytes });
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
