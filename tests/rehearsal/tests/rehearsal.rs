//! The short rehearsal: a day of autoscaling in under a minute, with all requirements.
//!
//! `cargo xtask test` builds the binaries and passes their folder.

use std::path::Path;
use std::process::Command;

#[test]
fn a_day_of_autoscaling_goes_as_it_should() {
    let bin_dir = std::env::var_os("FLEET_TEST_BIN_DIR");
    let bin_dir = bin_dir.unwrap_or_else(|| panic!("FLEET_TEST_BIN_DIR is not set: run `cargo xtask test`"));
    let bin_dir = Path::new(&bin_dir);
    let output = Command::new(bin_dir.join("xtask"))
        .args(["rehearse", "--short", "--bin-dir"])
        .arg(bin_dir)
        .output()
        .unwrap_or_else(|error| panic!("cannot run xtask: {error}"));
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{printed}");
    // The number of requirements in script.rs.
    assert_eq!(printed.lines().filter(|line| line.starts_with("ok ")).count(), 15, "{printed}");
}
