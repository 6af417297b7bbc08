//! The provider and the topic that a request's path names.

const ROUTE: &str = "/webhooks/";
const MAX_TOPIC_BYTES: usize = 128;

/// Splits `/webhooks/{slug}[/{topic}]`. Percent-encoded letters stay encoded: no slug has any.
pub(crate) fn split_path(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix(ROUTE)?;
    let (slug, topic) = rest.split_once('/').unwrap_or((rest, ""));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    (topic.len() <= MAX_TOPIC_BYTES && topic.bytes().all(is_plain)).then_some((slug, topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(split_path("/webhooks/niu"), Some(("niu", "")));
        assert_eq!(split_path("/webhooks/segway/vehicle/status"), Some(("segway", "vehicle/status")));
        assert_eq!(split_path("/webhooks/segway/"), Some(("segway", "")));
        assert_eq!(split_path("/webhooks/%6eiu"), Some(("%6eiu", "")), "no provider's slug");
        assert_eq!(split_path("/webhooks/niu/a%0ab"), None);
        assert_eq!(split_path(&format!("/webhooks/niu/{}", "a".repeat(129))), None);
        assert_eq!(split_path("/"), None);
    }
}
