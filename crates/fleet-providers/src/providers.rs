//! The list of providers.

use crate::invers::INVERS;
use crate::niu::NIU;
use crate::provider::Provider;
use crate::segway::SEGWAY;

/// All providers. To add one, add a module, a line here and a folder of fixtures.
pub static PROVIDERS: &[Provider] = &[NIU, SEGWAY, INVERS];

/// The provider with this slug.
pub fn provider(slug: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.slug == slug)
}
