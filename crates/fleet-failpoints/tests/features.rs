//! `cargo build --all-features` must not make a build with failpoints: no crate that ships may enable them by a cargo
//! feature.

use std::fs;
use std::path::Path;

#[test]
fn no_crate_has_a_feature_for_failpoints() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for folder in fs::read_dir(crates).unwrap() {
        let folder = folder.unwrap().path();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let features = manifest.split("[features]").nth(1).map(|rest| rest.split("\n[").next().unwrap());
        let features = features.unwrap_or_default();
        for word in ["fail", "fault", "fleet-failpoints"] {
            assert!(!features.contains(word), "{}: a feature for failpoints: {features}", folder.display());
        }
    }
}

#[test]
fn no_failpoint_depends_on_a_feature() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    assert!(!manifest.contains("[features]"), "{manifest}");
    let code = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    let code: Vec<_> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    assert!(!code.concat().contains("feature"), "a failpoint depends on a cargo feature");
}

/// Cargo runs tests in builds that everything else is made of.
#[test]
fn this_build_has_no_failpoints() {
    assert_eq!(option_env!("FLEET_FAILPOINTS"), None, "unset FLEET_FAILPOINTS and build again");
    for failpoint in fleet_failpoints::Failpoint::ALL {
        assert!(!failpoint.is_active(), "{}", failpoint.name());
    }
}
