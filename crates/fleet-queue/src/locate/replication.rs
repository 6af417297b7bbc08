//! Which of two servers that both say that they are primaries is the successor of the other one.

use redis::RedisResult;
use redis::aio::MultiplexedConnection;

/// The history of a primary's data, from INFO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// `master_replid`: a server gets a new one if it is promoted or restarted.
    id: String,
    /// `master_replid2`: the id of the primary whose replica this server was before its promotion.
    parent: String,
    /// `master_repl_offset`, bytes.
    offset: u64,
}

impl History {
    /// Asks a primary. `None` if the user may not run INFO, or if a proxy responds.
    ///
    /// # Errors
    ///
    /// A broken connection.
    pub(super) async fn ask(connection: &mut MultiplexedConnection) -> RedisResult<Option<Self>> {
        match redis::cmd("INFO").arg("replication").query_async::<String>(connection).await {
            Ok(text) => Ok(Self::read(&text)),
            Err(error) if error.clone().into_server_errors().is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let field =
            |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
        Some(Self {
            id: field("master_replid")?.to_owned(),
            parent: field("master_replid2")?.to_owned(),
            offset: field("master_repl_offset")?.parse().ok()?,
        })
    }

    /// Whether this server was promoted while it was a replica of `other`.
    pub(super) fn succeeds(&self, other: &Self) -> bool {
        self.parent == other.id
    }
}

/// The place of the primary to use: one that no other one succeeds, and of several such the one with the most data. A primary
/// that was killed and restarted has no relation to its successor any more, but also fewer data in its stream.
pub(super) fn newest(primaries: &[Option<History>]) -> Option<usize> {
    let known = |other: &Option<History>| other.clone();
    let is_succeeded = |this: &Option<History>| {
        let Some(this) = this else { return false };
        primaries.iter().filter_map(known).any(|other| other.succeeds(this))
    };
    let offset = |place: usize| primaries.get(place).and_then(known).map(|history| history.offset);
    let candidates =
        (0..primaries.len()).filter(|place| primaries.get(*place).is_some_and(|this| !is_succeeded(this)));
    // Of equal ones the first, in the order of the URL.
    candidates.rev().max_by_key(|place| offset(*place))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &str = "0000000000000000000000000000000000000000";

    fn history(id: &str, parent: &str, offset: u64) -> Option<History> {
        let text = format!(
            "# Replication\r\nrole:master\r\nmaster_replid:{id}\r\nmaster_replid2:{parent}\r\nmaster_repl_offset:{offset}\r\n"
        );
        History::read(&text)
    }

    #[test]
    fn the_successor_counts_also_if_the_old_primary_has_written_more() {
        assert_eq!(newest(&[history("a", NONE, 900), history("b", "a", 100)]), Some(1));
        assert_eq!(newest(&[history("b", "a", 100), history("a", NONE, 900)]), Some(0));
        assert_eq!(newest(&[history("restarted", NONE, 0), history("b", "a", 100)]), Some(1));
        assert_eq!(newest(&[None, None]), Some(0), "without the permission for INFO, the first one");
        assert_eq!(newest(&[]), None);
    }
}
