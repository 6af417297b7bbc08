//! Counts webhooks that got a 503 although Redis was available.

use jiff::Timestamp;

/// The API's log line at debug level for every failed push.
const FAILED_PUSH: &str = "group_commit: a push failed";

/// The failures that a machine with two busy cores can cause: a push that timed out, or replicas that did not
/// confirm in time.
const SLOW: [&str; 2] = ["kind=\"timeout\"", "kind=\"unconfirmed\""];

/// The number of webhooks that, according to `log`, got a 503 while Redis was available. Pushes that failed
/// because the machine is slow do not count.
pub(super) fn count(log: &str, was_without_redis: impl Fn(Timestamp) -> bool) -> u64 {
    let failed =
        log.lines().filter(|line| line.contains(FAILED_PUSH) && !SLOW.iter().any(|slow| line.contains(slow)));
    let needless = failed.filter(|line| at(line).is_some_and(|at| !was_without_redis(at)));
    needless.filter_map(messages).sum()
}

/// The time of a log line.
fn at(line: &str) -> Option<Timestamp> {
    line.split(' ').next()?.parse().ok()
}

fn messages(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once(" messages=")?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn only_refusals_without_an_outage_count() {
        let line = |second: u32, messages: u32, kind: &str| {
            format!(
                "2026-03-01T12:00:{second:02}.5Z DEBUG fleet_webhook_api::group_commit: a push failed provider=\"niu\" messages={messages} kind=\"{kind}\" error=x"
            )
        };
        let log = [
            line(1, 10, "connection"),
            line(2, 20, "readonly"),
            line(3, 40, "timeout"),
            line(4, 5, "unconfirmed"),
            line(9, 80, "connection"),
            "2026-03-01T12:00:10Z  INFO messages=160".to_owned(),
        ];
        let end = "2026-03-01T12:00:05Z".parse().unwrap();
        assert_eq!(count(&log.join("\n"), |_at| false), 110);
        assert_eq!(count(&log.join("\n"), |at| at < end), 80);
    }
}
