//! The settings of a database server that keep committed batches safe.

use crate::{Database, StoreError};

/// All users may see the settings. Only members of pg_read_all_stats may see the standbys.
const READ: &str = "SELECT current_setting('fsync'), current_setting('full_page_writes'),
       current_setting('synchronous_standby_names'), current_setting('synchronous_commit'),
       CASE WHEN pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') THEN
           (SELECT count(*)::int4 FROM pg_stat_replication
             WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum'))
       END";

/// The settings of a database server that keep committed batches safe, and its synchronous standbys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseDurability {
    /// `fsync`: `on` keeps commits across a power failure.
    pub fsync: String,
    /// `full_page_writes`: `on` keeps pages whole across a power failure.
    pub full_page_writes: String,
    /// `synchronous_standby_names`: if empty, a commit waits for no standby.
    pub synchronous_standby_names: String,
    /// `synchronous_commit` of a session: `on` or `remote_apply` keeps commits across a crash. A connection pooler may give each
    /// transaction another session.
    pub synchronous_commit: String,
    /// Streaming standbys that the names match. `None` if the user may not see them.
    pub matching_standbys: Option<u32>,
}

impl DatabaseDurability {
    /// How many standbys have each commit before the consumer acknowledges its batch. `None` if the user may not see them.
    pub fn synchronous_standbys(&self) -> Option<u32> {
        match self.awaited() {
            0 => Some(0),
            awaited => self.matching_standbys.map(|matching| matching.min(awaited)),
        }
    }

    /// The settings that are weaker than they must be, each with what to do; may be empty. `wanted`: how many standbys
    /// the operator wants to have each commit.
    pub fn weaknesses(&self, wanted: u32) -> Vec<String> {
        let settings = [("fsync", &self.fsync), ("full_page_writes", &self.full_page_writes)];
        let off = settings.into_iter().filter(|(_name, value)| *value != "on");
        let off = off.map(|(name, value)| {
            format!(
                "{name} is {value}, so that a crash of the machine can lose committed batches; set it to on"
            )
        });
        off.chain(self.weak_commit()).chain(self.missing_standbys(wanted)).collect()
    }

    fn weak_commit(&self) -> Option<String> {
        let found = &self.synchronous_commit;
        (!matches!(found.as_str(), "on" | "remote_apply")).then(|| {
            format!(
                "synchronous_commit is {found} in sessions of this role, so that a crash or a failover can lose committed \
                 batches; set it to on for the role (ALTER ROLE), and let a connection pooler reconnect"
            )
        })
    }

    fn missing_standbys(&self, wanted: u32) -> Option<String> {
        let (awaited, names) = (self.awaited(), &self.synchronous_standby_names);
        if awaited < wanted {
            return Some(format!(
                "a commit waits for {awaited} standbys, but {wanted} are wanted; set synchronous_standby_names (now '{names}')"
            ));
        }
        let streaming = self.matching_standbys?;
        (streaming < wanted).then(|| {
            format!(
                "{streaming} synchronous standbys stream, but {wanted} are wanted, so that commits wait; check the \
                 standbys of '{names}' in pg_stat_replication"
            )
        })
    }

    /// How many standbys a commit waits for.
    fn awaited(&self) -> u32 {
        let names = self.synchronous_standby_names.trim();
        if names.is_empty() {
            return 0;
        }
        // `FIRST 2 (a, b, c)`, `ANY 2 (a, b, c)`, `2 (a, b, c)` or `a, b, c`, which waits for one.
        let number = names.split_once('(').and_then(|(before, _list)| before.split_whitespace().last());
        number.and_then(|number| number.parse().ok()).unwrap_or(1)
    }
}

impl Database {
    /// Reads the settings of the server, and its standbys if the user may see them.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn durability(&self) -> Result<DatabaseDurability, StoreError> {
        let row = self.query_one(READ, &[]).await?;
        Ok(DatabaseDurability {
            fsync: row.get(0),
            full_page_writes: row.get(1),
            synchronous_standby_names: row.get(2),
            synchronous_commit: row.get(3),
            matching_standbys: row.get::<_, Option<i32>>(4).and_then(|count| u32::try_from(count).ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(names: &str, matching: Option<u32>) -> DatabaseDurability {
        let on = || "on".to_owned();
        let synchronous_standby_names = names.to_owned();
        DatabaseDurability {
            fsync: on(),
            full_page_writes: on(),
            synchronous_standby_names,
            synchronous_commit: on(),
            matching_standbys: matching,
        }
    }

    #[test]
    fn the_number_of_awaited_standbys_is_read_from_every_form() {
        for (names, awaited) in [
            ("", 0),
            (" ", 0),
            ("*", 1),
            ("a, b", 1),
            ("2 (a, b)", 2),
            ("FIRST 2 (a, b, c)", 2),
            ("any 3(\"x y\", *)", 3),
        ] {
            assert_eq!(with(names, Some(9)).synchronous_standbys(), Some(awaited), "{names}");
        }
        assert_eq!(with("ANY 2 (*)", Some(1)).synchronous_standbys(), Some(1));
        assert_eq!(with("ANY 2 (*)", None).synchronous_standbys(), None);
        assert_eq!(with("", None).synchronous_standbys(), Some(0), "this needs no right");
    }

    #[test]
    fn a_missing_standby_is_weak_only_if_it_is_wanted() {
        assert_eq!(with("", None).weaknesses(0), Vec::<String>::new());
        assert_eq!(with("*", Some(0)).weaknesses(0), Vec::<String>::new());
        assert!(with("", Some(0)).weaknesses(1)[0].contains("set synchronous_standby_names"));
        assert!(with("a", Some(1)).weaknesses(2)[0].contains("2 are wanted"));
        assert!(with("a", Some(0)).weaknesses(1)[0].contains("pg_stat_replication"));
        assert_eq!(with("a", None).weaknesses(1), Vec::<String>::new(), "it cannot be seen");
        assert_eq!(with("ANY 2 (*)", Some(3)).weaknesses(2), Vec::<String>::new());
    }

    #[test]
    fn a_server_that_does_not_sync_is_weak() {
        let off = DatabaseDurability { fsync: "off".to_owned(), ..with("", None) };
        assert!(off.weaknesses(0)[0].contains("fsync is off"));
        let off = DatabaseDurability { full_page_writes: "off".to_owned(), ..with("", None) };
        assert!(off.weaknesses(0)[0].contains("full_page_writes is off"));
        let local = DatabaseDurability { synchronous_commit: "local".to_owned(), ..with("", None) };
        assert!(local.weaknesses(0)[0].contains("synchronous_commit is local"));
    }
}
