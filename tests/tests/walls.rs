//! The walls between the rooms, as the dependency tree shows them, and what the documents say of the tree.

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

/// Every file below `folder` whose name ends in `.rs`, in one text.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the repository can be read") {
        let path = entry.expect("an entry of it too").path();
        if path.is_dir() && !path.ends_with("target") {
            text += &sources(&path);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text += &std::fs::read_to_string(&path).expect("sources are text");
        }
    }
    text
}

#[test]
fn every_test_and_file_that_the_security_page_names_exists() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let page = std::fs::read_to_string(root.join("SECURITY.md")).expect("the page exists");
    let code: String = ["recorder", "query-cli", "shared", "tests"]
        .iter()
        .map(|room| sources(&root.join(room)))
        .collect();
    // What stands between backticks: every second part.
    let (mut tests, mut files) = (0, 0);
    for name in page.split('`').skip(1).step_by(2) {
        if name.contains('/') && (name.ends_with(".rs") || name.starts_with("tests/")) {
            files += 1;
            assert!(root.join(name).exists(), "no file {name}");
        } else if name.matches('_').count() >= 2 && !name.contains([' ', '=']) {
            tests += 1;
            assert!(code.contains(&format!("fn {name}(")), "no test {name}");
        }
    }
    assert!(tests >= 20 && files >= 3, "{tests} tests, {files} files");
}
