//! The `Dockerfile` and `.dockerignore`.

use std::collections::BTreeSet;

use super::{OURS, repository, text};

const BINARIES: [&str; 4] = ["fleet-webhook-api", "fleet-consumer", "fleet-amqp-bridge", "fleet-query-api"];

/// All instructions with their arguments, in order. Continued lines are joined.
fn dockerfile() -> Vec<(String, String)> {
    let lines = text("Dockerfile").replace("\\\n", " ");
    let lines = lines.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let instruction = |line: &str| {
        let (name, arguments) = line.split_once(' ').unwrap();
        (name.to_owned(), arguments.trim().to_owned())
    };
    lines.map(instruction).collect()
}

fn arguments<'a>(instructions: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let wanted = instructions.iter().filter(|(instruction, _)| instruction == name);
    wanted.map(|(_, arguments)| arguments.as_str()).collect()
}

fn final_stage(instructions: &[(String, String)]) -> &[(String, String)] {
    let from = instructions.iter().rposition(|(name, _)| name == "FROM").unwrap();
    &instructions[from..]
}

#[test]
fn the_image_does_not_run_as_root() {
    let file = dockerfile();
    let users = arguments(final_stage(&file), "USER");
    let (user, group) = users.last().unwrap().split_once(':').unwrap();
    for id in [user, group] {
        assert_ne!(id.parse::<u32>().expect("a number, for Kubernetes' runAsNonRoot"), 0);
    }
}

#[test]
fn the_image_holds_the_binaries_of_the_workspace() {
    let file = dockerfile();
    let runs = arguments(&file, "RUN");
    let build = runs.iter().find(|run| run.contains("cargo build")).unwrap();
    assert!(build.contains("--release") && build.contains("--locked"), "{build}");
    let copied = arguments(final_stage(&file), "COPY").join(" ");
    for binary in BINARIES {
        assert!(build.contains(&format!("--bin {binary}")), "{binary}");
        assert!(copied.contains(&format!("/out/{binary} ")), "{binary}");
        assert!(text(&format!("crates/{binary}/Cargo.toml")).contains(&format!("name = \"{binary}\"")));
        assert!(repository().join("crates").join(binary).join("src/main.rs").is_file());
    }
    assert!(copied.ends_with("/usr/local/bin/"), "{copied}: not in the image's PATH");
    for (name, command) in OURS {
        assert!(BINARIES.contains(&command[0]), "{name}");
    }
}

#[test]
fn the_build_sees_the_whole_workspace_and_nothing_else() {
    let file = dockerfile();
    let sources: BTreeSet<_> = arguments(&file, "COPY")
        .into_iter()
        .filter(|copy| !copy.starts_with("--from"))
        .flat_map(|copy| copy.rsplit_once(' ').unwrap().0.split(' '))
        .collect();
    for needed in ["Cargo.toml", "Cargo.lock", "crates", "migrations", "tests", "xtask"] {
        assert!(sources.contains(needed), "{needed} is not copied");
    }
    let ignore = text(".dockerignore");
    let mut patterns = ignore.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(patterns.next(), Some("*"), "everything is ignored by default, such as target and .git");
    let let_in: BTreeSet<_> = patterns.map(|line| line.strip_prefix('!').unwrap()).collect();
    assert_eq!(let_in, sources);
    for source in sources {
        assert!(repository().join(source).exists(), "{source}");
    }
}

#[test]
fn the_build_needs_no_frontend_from_a_registry() {
    let file = text("Dockerfile");
    let directives = file.lines().take_while(|line| line.starts_with('#'));
    assert!(directives.into_iter().all(|line| !line.replace(' ', "").starts_with("#syntax=")));
}

#[test]
fn the_image_is_built_with_the_repositorys_rust() {
    let file = dockerfile();
    let toolchain = text("rust-toolchain.toml");
    let channel = toolchain.split("channel = \"").nth(1).unwrap().split('"').next().unwrap();
    let from = arguments(&file, "FROM");
    assert!(from[0].starts_with(&format!("rust:{channel}-")), "{from:?}");
    // The C library of the runtime image must not be older than the one that the build links against.
    assert!(from[0].contains("bookworm") && from[1].contains("debian12"), "{from:?}");
}

#[test]
fn the_image_compiles_nothing_of_the_tests() {
    let file = dockerfile();
    let runs = arguments(&file, "RUN");
    let build = runs.iter().find(|run| run.contains("cargo build")).unwrap();
    assert!(!build.contains("--workspace") && !build.contains("--all"), "{build}");
    let workspace = text("Cargo.toml");
    assert!(workspace.contains("\ndefault-members = [\"crates/*\"]\n"), "cargo build builds only what ships");
    let proves: Vec<_> = names(&workspace, "path = \"tests/").collect();
    assert!(proves.len() >= 5, "{proves:?}");
    for entry in std::fs::read_dir(repository().join("crates")).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        let dependencies = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap();
        for name in &proves {
            assert!(!dependencies.contains(&format!("{name}.workspace")), "{manifest}\nneeds {name}");
        }
    }
}

/// The `name` of each line `name = …` that contains `value`.
fn names<'a>(manifest: &'a str, value: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = manifest.lines().filter(move |line| line.contains(value));
    lines.filter_map(|line| line.split_once(" = ")).map(|(name, _value)| name)
}
