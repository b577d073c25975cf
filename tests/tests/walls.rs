//! The walls between the rooms, as the dependency tree shows them.

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
