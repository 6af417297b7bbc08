//! Runs cargo without the variables that `cargo run` sets for this program.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;

/// The variables that `cargo run` sets for xtask. They would tell build scripts and tests that they are
/// xtask, and cause needless rebuilds.
const SET_FOR_XTASK: [&str; 6] =
    ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];

/// Compiles failpoints in. Only a build that needs them sets it, whatever the user's environment says.
pub(crate) const FAILPOINTS: &str = "FLEET_FAILPOINTS";

/// Cargo in this workspace.
#[derive(Debug)]
pub struct Cargo {
    program: PathBuf,
    workspace: PathBuf,
    bin_dir: PathBuf,
}

impl Cargo {
    /// Finds cargo, the workspace and the folder of its binaries.
    pub fn locate() -> Result<Self, Failure> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
        // This executable is in the same folder as the other binaries, whatever the target folder is.
        let executable = std::env::current_exe().map_err(Failure::io("find this program's path"))?;
        Ok(Self {
            program: std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from),
            workspace: workspace.to_owned(),
            bin_dir: executable.parent().unwrap_or(workspace).to_owned(),
        })
    }

    /// The command `cargo <arguments>` in the workspace's folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.workspace).args(arguments).env_remove(FAILPOINTS);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(is_set_for_xtask) {
                command.env_remove(name);
            }
        }
        command
    }

    /// The root folder of the workspace.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// The folder of the binaries that cargo builds.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }
}

fn is_set_for_xtask(name: &str) -> bool {
    SET_FOR_XTASK.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::is_set_for_xtask;

    #[test]
    fn the_users_own_cargo_settings_stay() {
        assert!(is_set_for_xtask("CARGO_MANIFEST_DIR"));
        assert!(is_set_for_xtask("CARGO_PKG_NAME"));
        for kept in ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "CARGO_TERM_COLOR"] {
            assert!(!is_set_for_xtask(kept), "{kept}");
        }
    }
}
