//! Checks the settings of the providers at the start: which are served, and how each authenticates.

use std::path::PathBuf;

use fleet_providers::{AuthScheme, Provider, Secrets, provider};
use fleet_queue::Queue;
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
    /// The secrets at the start.
    pub secrets: Secrets,
    /// The file that the secrets are read from again.
    pub secrets_file: Option<PathBuf>,
    /// The queues that the provider's messages are spread over.
    pub queues: Vec<Queue>,
    /// Most bytes of the provider's messages in Redis, waiting or in flight.
    pub max_backlog_bytes: u64,
    /// Most bytes of a body.
    pub max_body_bytes: u64,
}

const KIB: u64 = 1024;

/// The providers to serve. Also makes sure that Redis' URL can be used.
///
/// # Errors
///
/// Everything that is wrong with what the API needs, at once. Serving no provider is an error, too.
pub fn source_settings(settings: &Settings) -> Result<Vec<SourceSettings>, SettingsError> {
    let mut sources = Vec::new();
    let mut errors = Vec::new();
    for (slug, given) in &settings.providers {
        sources.extend(source(slug, given, &settings.api, &mut errors));
    }
    if settings.providers.is_empty() {
        errors.push("no provider is configured; set for example FLEET_PROVIDERS__NIU__SECRETS".to_owned());
    }
    errors.extend(settings.redis().problems());
    if errors.is_empty() { Ok(sources) } else { Err(SettingsError(errors)) }
}

/// One provider. Adds what is wrong with it to `errors`.
fn source(
    slug: &str,
    given: &ProviderSettings,
    api: &ApiSettings,
    errors: &mut Vec<String>,
) -> Option<SourceSettings> {
    let variable = |name: &str| environment_name(&format!("providers.{slug}.{name}"));
    let Some(provider) = provider(slug) else {
        let known: Vec<_> = fleet_providers::PROVIDERS.iter().map(|provider| provider.slug).collect();
        errors.push(format!("{}: there is no provider {slug:?}; use {}", variable("auth"), known.join(", ")));
        return None;
    };
    let scheme = match given.auth.as_ref().map(GivenScheme::parse) {
        None => (provider.default_auth)(),
        Some(Ok(scheme)) => scheme,
        Some(Err(error)) => {
            errors.push(format!("{}: {error}", variable("auth")));
            return None;
        }
    };
    let secrets = match secrets(given) {
        Ok(secrets) => secrets,
        Err(error) => {
            errors.push(format!("{}: {error}", variable("secrets_file")));
            return None;
        }
    };
    if secrets.0.is_empty() && scheme != AuthScheme::None {
        let name = variable("secrets");
        errors.push(format!(
            "{name}: the scheme {scheme} needs at least one secret (or set the scheme to none)"
        ));
    }
    let max_body_bytes = max_body_bytes(given, &scheme, api);
    let name = variable("max_body_bytes");
    errors.extend(exceeded_bound(max_body_bytes, &scheme, api).map(|problem| format!("{name}: {problem}")));
    let (secrets_file, max_backlog_bytes) = (given.secrets_file.clone(), given.max_backlog_bytes);
    let queues = Queue::all(provider.slug, given.shards).collect();
    Some(SourceSettings {
        provider,
        queues,
        scheme,
        secrets,
        secrets_file,
        max_backlog_bytes,
        max_body_bytes,
    })
}

/// The largest body. A body with its signature in it or over it is read and hashed before its sender is verified, and any
/// client may send one. Unless the settings say otherwise, such bodies are therefore small. Segway's largest known message
/// has less than 1 KiB.
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

/// Why bodies of the largest size would never be accepted, if that is so.
fn exceeded_bound(max_body_bytes: u64, scheme: &AuthScheme, api: &ApiSettings) -> Option<String> {
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
        format!(
            "{max_body_bytes} is more than {variable} ({most}), so the largest bodies would always be refused"
        )
    })
}

/// The secrets at the start, from the settings or from a file.
fn secrets(given: &ProviderSettings) -> Result<Secrets, String> {
    match &given.secrets_file {
        None => Ok(given.secrets.clone()),
        Some(_) if !given.secrets.0.is_empty() => {
            Err("the variable that ends in __SECRETS holds secrets, too; keep one of the two".to_owned())
        }
        Some(path) => read_secrets(path).map_err(|error| error.to_string()),
    }
}
