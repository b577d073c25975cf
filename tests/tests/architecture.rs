//! Checks the dependency trees of crates and images, and that each test file belongs to a binary.
#![expect(
    clippy::unwrap_used,
    reason = "functions that read the repository's own files"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .args(["--offline", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {args:?} failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// All crates in a package's dependency tree.
fn crates_in(package: &str) -> BTreeSet<String> {
    let text = cargo(&[
        "tree",
        "--edges=normal",
        "--prefix=none",
        "--format={p}",
        "--package",
        package,
    ]);
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    text.lines().map(name).collect()
}

/// Each member of the workspace: its package and its folder.
fn members() -> Vec<(String, String)> {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version=1"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let root = metadata["workspace_root"].as_str().unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let member = |package: &Value| {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let folder = manifest.parent().unwrap().strip_prefix(root).unwrap();
        let name = package["name"].as_str().unwrap();
        (name.to_owned(), folder.display().to_string())
    };
    packages.map(member).collect()
}

#[test]
fn query_dependencies_contain_no_client_or_server() {
    let crates = crates_in("kube9-query");
    let ours: Vec<&str> = crates
        .iter()
        .map(String::as_str)
        .filter(|name| name.starts_with("kube9-"))
        .collect();
    assert_eq!(ours, ["kube9-db", "kube9-model", "kube9-query"]);
    assert!(crates.contains("rusqlite"), "{crates:?}");
    for forbidden in [
        "kube",
        "kube-client",
        "k8s-openapi",
        "tokio",
        "hyper",
        "warp",
        "rustls",
        "ring",
        "prometheus",
    ] {
        assert!(!crates.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn plugin_links_no_client_and_no_database() {
    let crates = crates_in("kubectl-kube9");
    for needed in ["kube9-model", "clap", "serde_json"] {
        assert!(crates.contains(needed), "{needed}");
    }
    for forbidden in [
        "kube9-db",
        "rusqlite",
        "kube",
        "k8s-openapi",
        "tokio",
        "hyper",
        "rustls",
    ] {
        assert!(!crates.contains(forbidden), "{forbidden}");
    }
}

/// An edit of the recorder changes nothing that the query's image is built from, nor the reverse: a member that the binary
/// contains is copied, as its folder or its manifest and `src`; of any other the manifest alone.
#[test]
fn image_is_built_from_the_members_that_its_binary_contains() {
    for package in ["kube9-recorder", "kube9-query"] {
        let file = format!("Dockerfile.{}", package.trim_start_matches("kube9-"));
        let text = fs::read_to_string(root().join(&file)).unwrap();
        let copied: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("COPY ")?.rsplit_once(' '))
            .flat_map(|(sources, _)| sources.split(' '))
            .collect();
        let contained = crates_in(package);
        for (member, folder) in members() {
            let is_whole = copied
                .iter()
                .any(|path| Path::new(&folder).starts_with(path));
            let has_source = is_whole || copied.contains(&&*format!("{folder}/src"));
            assert_eq!(
                has_source,
                contained.contains(&member),
                "{file}: the source of {folder} is copied"
            );
            let manifest = format!("{folder}/Cargo.toml");
            assert_eq!(
                !is_whole,
                copied.contains(&&*manifest),
                "{file}: {manifest} is copied"
            );
        }
    }
}

/// With `panic = "abort"` a panic in one connection would end the process that ships, and no test would show it: cargo
/// builds tests so that they unwind, whatever a profile says.
#[test]
fn no_build_aborts_at_a_panic() {
    for file in [
        "Cargo.toml",
        ".cargo/config.toml",
        ".ci/static-build",
        "Dockerfile.recorder",
        "Dockerfile.query",
    ] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let aborts =
            |line: &str| line.contains("panic") && line.contains("abort") && !line.starts_with('#');
        assert!(!text.lines().any(aborts), "{file}");
    }
}

/// Where a manifest says `autotests = false`, Cargo builds what it is told to, and not each file of `tests`: one that no
/// binary names would never run.
#[test]
fn test_files_are_modules_of_a_test_binary() {
    let mut checked = 0;
    for (package, folder) in members() {
        let folder = root().join(folder);
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        if !manifest.contains("autotests = false") {
            continue;
        }
        let paths = manifest.split("path = \"tests/").skip(1);
        let binaries: Vec<&str> = paths.filter_map(|path| path.split('"').next()).collect();
        let read = |name: &&str| fs::read_to_string(folder.join("tests").join(name)).unwrap();
        let roots: String = binaries.iter().map(read).collect();
        for entry in fs::read_dir(folder.join("tests")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let module = match path.is_dir() {
                true if path.join("mod.rs").exists() => name.to_string(),
                false if name.ends_with(".rs") && !binaries.contains(&&*name) => {
                    name.trim_end_matches(".rs").to_owned()
                }
                _ => continue,
            };
            let line = format!("mod {module};");
            assert!(
                roots.lines().any(|other| other == line),
                "{package}: {line}"
            );
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked} files");
}
