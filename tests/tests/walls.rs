//! The walls between the rooms, as the dependency tree shows them.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Names of all crates that a package's binary or library is made of.
fn crates_in(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}", "--package", package])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs: it runs this test");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree failed: {errors}");
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    text.lines().map(name).collect()
}

#[test]
fn query_contains_nothing_that_writes_or_reaches_a_cluster() {
    for package in ["kube9-query", "kube9-shared"] {
        let crates = crates_in(package);
        assert!(crates.iter().any(|name| name == "rusqlite"), "{crates:?}");
        for forbidden in [
            "kube",
            "kube-client",
            "k8s-openapi",
            "tokio",
            "hyper",
            "warp",
            "rustls",
            "prometheus",
            "kube9-recorder",
        ] {
            assert!(
                !crates.iter().any(|name| name == forbidden),
                "{package} contains {forbidden}"
            );
        }
    }
}

#[test]
fn nobody_depends_on_a_binary_crate_but_the_tests() {
    assert!(!crates_in("kube9-recorder").contains(&"kube9-query".to_owned()));
    assert!(!crates_in("kube9-recorder").contains(&"kube9-tests".to_owned()));
}

/// Names of the recorder's rooms that the files of `room` name, outside of their tests.
fn named_in(room: &str) -> Vec<(String, String)> {
    let src = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../recorder/src"));
    let mut files = vec![src.join(format!("{room}.rs"))];
    let mut folders = vec![src.join(room)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.extend((!path.ends_with("tests")).then_some(path));
            } else if !path.ends_with("tests.rs") {
                files.push(path);
            }
        }
    }
    let mut named = Vec::new();
    for file in files.iter().filter(|file| file.exists()) {
        let text = fs::read_to_string(file).expect("a file of the recorder can be read");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for rest in text.split("crate::").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_');
            named.push((
                rest[..end.unwrap_or(rest.len())].to_owned(),
                file.display().to_string(),
            ));
        }
    }
    assert!(files.iter().any(|file| file.exists()), "there is no {room}");
    named
}

/// docs/ARCHITECTURE.md, Rooms: what a room may not do.
#[test]
fn data_flows_one_way_through_the_rooms() {
    for (room, forbidden) in [
        ("source", &["store", "serve", "tasks"][..]),
        ("pipeline", &["store", "analysis", "serve", "tasks"]),
        ("store", &["source", "analysis", "serve", "tasks"]),
        ("analysis", &["store", "serve", "tasks"]),
        ("serve", &["store", "source", "analysis", "tasks"]),
        ("status_document", &["store", "serve", "tasks"]),
        ("health", &["store", "source", "analysis", "serve", "tasks"]),
        (
            "metrics",
            &["store", "source", "analysis", "serve", "tasks"],
        ),
        ("config", &["store", "source", "serve", "tasks"]),
    ] {
        for (named, file) in named_in(room) {
            assert!(!forbidden.contains(&named.as_str()), "{file} names {named}");
        }
    }
}
