//! The most memory that the API uses, whatever clients send.

use fleet_runtime::http::CONNECTION_BYTES;
use fleet_runtime::settings::{ApiSettings, Settings};

/// The program and its metrics without any connection; 7 MiB were measured.
const BASE_BYTES: u64 = 16 << 20;

/// Pushes of a queue in memory: one being filled, and one on its way to Redis.
const PUSHES: u64 = 2;

/// The bound that follows from the settings, bytes. Chunked bodies without a length may take up to twice the memory that is
/// counted for them; everything else stays below.
pub fn most_bytes(settings: &Settings) -> u64 {
    let ApiSettings { max_connections, max_in_flight_bytes, max_unauthenticated_bytes, .. } = settings.api;
    let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let provider = max_in_flight_bytes.saturating_add(max_unauthenticated_bytes);
    let connections = wide(max_connections).saturating_mul(CONNECTION_BYTES);
    let providers = wide(settings.providers.len()).saturating_mul(provider);
    let queues = settings.providers.values().map(|provider| u64::from(provider.shards)).sum::<u64>();
    let pushes = queues.saturating_mul(wide(settings.api.commit_max_bytes).saturating_mul(PUSHES));
    BASE_BYTES.saturating_add(connections).saturating_add(providers).saturating_add(pushes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_providers_by_default() {
        let mut settings = Settings::default();
        for slug in ["niu", "segway", "invers"] {
            settings.providers.insert(slug.to_owned(), fleet_runtime::settings::ProviderSettings::default());
        }
        let mib = 1 << 20;
        assert_eq!(most_bytes(&settings), (16 + 224 + 3 * (32 + 4 + 2)) * mib);
        settings.providers.get_mut("niu").unwrap().shards = 4;
        assert_eq!(most_bytes(&settings), (16 + 224 + 3 * (32 + 4 + 2) + 3 * 2) * mib, "three queues more");
    }
}
