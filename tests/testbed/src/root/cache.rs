//! The folder that keeps roots and tools between runs.

use std::path::PathBuf;

use crate::Error;

/// The cache folder: `$FLEET_TEST_CACHE`, or `$XDG_CACHE_HOME/fleet-testbed`, or `~/.cache/fleet-testbed`.
/// `lookup` reads the environment. An empty variable counts as not set.
pub(super) fn folder(lookup: impl Fn(&str) -> Option<String>) -> Result<PathBuf, Error> {
    let read = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = read("FLEET_TEST_CACHE")
        .or_else(|| Some(read("XDG_CACHE_HOME")?.join("fleet-testbed")))
        .or_else(|| Some(read("HOME")?.join(".cache/fleet-testbed")))
        .ok_or_else(|| Error::NoRoot {
            missing: "no folder for a Debian root; set FLEET_TEST_CACHE or HOME.".to_owned(),
        })?;
    // chroot and mmdebstrap use this path from another working folder.
    std::path::absolute(&folder).map_err(Error::io(format!("find the absolute path of {}", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::folder;

    #[test]
    fn the_most_specific_variable_wins() {
        let all = [("FLEET_TEST_CACHE", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")];
        let found = |variables: &[(&str, &str)]| {
            folder(|name| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(found(&all).unwrap().to_str(), Some("/a"));
        assert_eq!(found(&all[1..]).unwrap().to_str(), Some("/b/fleet-testbed"));
        assert_eq!(found(&all[2..]).unwrap().to_str(), Some("/c/.cache/fleet-testbed"));
        assert_eq!(
            found(&[("FLEET_TEST_CACHE", ""), all[2]]).unwrap().to_str(),
            Some("/c/.cache/fleet-testbed")
        );
        assert!(found(&[]).is_err());
    }
}
