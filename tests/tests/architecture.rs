//! The walls between the rooms, as the dependency tree and the imports show them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const RECORDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../recorder/app/src");

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
    for package in ["kube9-query", "kube9-db"] {
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
fn ingest_depends_on_nothing() {
    assert_eq!(crates_in("kube9-ingest"), ["kube9-ingest"]);
}

#[test]
fn nobody_depends_on_a_binary_crate_but_the_tests() {
    assert!(!crates_in("kube9-recorder").contains(&"kube9-query".to_owned()));
    assert!(!crates_in("kube9-recorder").contains(&"kube9-tests".to_owned()));
}

/// With `panic = "abort"` a panic in one connection would end the process that ships, and no test would show it: cargo
/// builds tests so that they unwind, whatever a profile says.
#[test]
fn no_build_aborts_at_a_panic() {
    let root = Path::new(RECORDER).join("../../..");
    for file in [
        "Cargo.toml",
        ".cargo/config.toml",
        ".ci/static-build",
        "Dockerfile.recorder",
        "Dockerfile.query",
    ] {
        let text =
            fs::read_to_string(root.join(file)).expect("a file of the repository can be read");
        let aborts =
            |line: &str| line.contains("panic") && line.contains("abort") && !line.starts_with('#');
        assert!(!text.lines().any(aborts), "{file}");
    }
}

/// Cargo builds what it is told to, and not each file of `tests`: one that no binary names would never run.
#[test]
fn every_file_of_tests_is_a_module_of_a_binary() {
    for (package, binaries) in [
        ("recorder", &["library.rs", "program.rs"][..]),
        ("query-cli", &["program.rs"]),
        ("tests", &["system.rs", "watch.rs"]),
    ] {
        let folder = Path::new(RECORDER)
            .join("../../..")
            .join(package)
            .join("tests");
        let read = |name: &&str| fs::read_to_string(folder.join(name)).expect("a binary's root");
        let roots: String = binaries.iter().map(read).collect();
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
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
        }
    }
}

/// The files of a room without those of tests, and their text without the tests inside.
fn files_of(room: &str) -> Vec<(PathBuf, String)> {
    let src = Path::new(RECORDER);
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
    files.retain(|file| file.exists());
    assert!(!files.is_empty(), "there is no {room}");
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("a file of the recorder can be read");
        let text = text.split("#[cfg(test)]\nmod tests {").next();
        let lines = text.unwrap_or_default().lines();
        let code: Vec<&str> = lines
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        (file, code.join("\n"))
    };
    files.into_iter().map(read).collect()
}

/// Names of the recorder's rooms that the files of `room` name, outside of their tests.
fn named_in(room: &str) -> Vec<(String, String)> {
    let mut named = Vec::new();
    for (file, text) in files_of(room) {
        for rest in text.split("crate::").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_');
            named.push((
                rest[..end.unwrap_or(rest.len())].to_owned(),
                file.display().to_string(),
            ));
        }
    }
    named
}

/// docs/ARCHITECTURE.md, Rooms: what a room may not do.
#[test]
fn data_flows_one_way_through_the_rooms() {
    for (room, forbidden) in [
        ("source", &["store", "analysis", "serve", "tasks"][..]),
        (
            "pipeline",
            &["source", "store", "analysis", "serve", "tasks"],
        ),
        ("store", &["source", "analysis", "serve", "tasks"]),
        ("analysis", &["store", "serve", "tasks"]),
        ("serve", &["store", "source", "analysis", "tasks"]),
        ("status_document", &["store", "serve", "tasks"]),
        ("health", &["store", "source", "analysis", "serve", "tasks"]),
        (
            "metrics",
            &["store", "source", "analysis", "serve", "tasks"],
        ),
        ("config", &["store", "source", "serve", "tasks", "logging"]),
    ] {
        for (named, file) in named_in(room) {
            assert!(!forbidden.contains(&named.as_str()), "{file} names {named}");
        }
    }
}

/// The modules of the analysis from the bottom up; each names only those before it. docs/ARCHITECTURE.md, Analysis.
const ANALYSIS: [&str; 15] = [
    "subject",
    "ledger",
    "controller",
    "own",
    "warnings",
    "failure",
    "changes",
    "world",
    "rules",
    "findings",
    "agenda",
    "sight",
    "target",
    "state",
    "engine",
];

/// A module by its path in its room, e.g. `["rules", "words"]`.
type Module = Vec<String>;

/// The paths that a piece of code which begins with one names: `a::{b, c::D}` are two.
fn paths(code: &str) -> Vec<Vec<&str>> {
    let end = code.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let (path, rest) = code.split_at(end.unwrap_or(code.len()));
    let path: Vec<&str> = path.split("::").filter(|name| !name.is_empty()).collect();
    if !rest.starts_with('{') || !code[..code.len() - rest.len()].ends_with("::") {
        return vec![path];
    }
    let (mut depth, mut begin, mut all) = (0, 1, Vec::new());
    for (at, c) in rest.char_indices() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if depth == 0 || (depth == 1 && c == ',') {
            let inner = paths(rest[begin..at].trim()).into_iter();
            all.extend(inner.map(|inner| [&path[..], &inner[..]].concat()));
            begin = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    all
}

/// What each module of a room names of the others.
fn imports_in(room: &str) -> BTreeMap<Module, BTreeSet<Module>> {
    let root = Path::new(RECORDER).join(room);
    let mut files = BTreeMap::new();
    for (file, text) in files_of(room) {
        // `room.rs` and `room/mod.rs` are both the room itself.
        let file = file.with_extension("");
        let file = file.strip_prefix(&root).expect("it is of the room");
        let names = file.iter().map(|name| name.to_string_lossy().into_owned());
        let module: Module = names.filter(|name| name != "mod").collect();
        files.insert(module, text);
    }
    // The module that has what the path names: further names are of what is inside.
    let owner = |base: &[String], path: &[&str]| {
        let mut module = base.to_vec();
        for name in path {
            module.push((*name).to_owned());
            if !files.contains_key(&module) {
                module.pop();
                break;
            }
        }
        module
    };
    let mut all = BTreeMap::new();
    for (module, text) in &files {
        let begin_with = |word: &str| {
            let within = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let found = text.match_indices(word).map(|(at, _)| at);
            let found = found.filter(|at| !text[..*at].ends_with(within));
            let found = found.flat_map(|at| paths(&text[at..]));
            let found = found.filter(|path| !path.contains(&"tests"));
            found.collect::<Vec<_>>()
        };
        let mut named = BTreeSet::new();
        for path in begin_with(&format!("crate::{room}::")) {
            named.insert(owner(&[], &path[2..]));
        }
        for path in begin_with("super::") {
            let up = path.iter().take_while(|name| **name == "super").count();
            // Above the room are the other rooms.
            if let Some(depth) = module.len().checked_sub(up) {
                named.insert(owner(&module[..depth], &path[up..]));
            }
        }
        for child in files.keys().filter(|child| child.starts_with(module)) {
            if let [name] = &child[module.len()..]
                && !begin_with(&format!("{name}::")).is_empty()
            {
                named.insert(child.clone());
            }
        }
        named.remove(module);
        all.insert(module.clone(), named);
    }
    all
}

#[test]
fn imports_within_the_analysis_go_one_way() {
    let place = |name: &str| {
        let place = ANALYSIS.iter().position(|one| *one == name);
        place.unwrap_or_else(|| panic!("{name} has no place among the modules of the analysis"))
    };
    let imports = imports_in("analysis");
    assert!(imports[&vec!["engine".to_owned()]].contains(&vec!["state".to_owned()]));
    for (module, named) in &imports {
        for other in named {
            let (Some(one), Some(two)) = (module.first(), other.first()) else {
                panic!("{module:?} names {other:?}: mod.rs only says what there is");
            };
            assert!(place(two) <= place(one), "{module:?} names {other:?}");
        }
    }
}

/// In `store` the writer and what it does about damage are one thing in two files.
#[test]
fn no_two_files_of_a_room_need_each_other() {
    for room in [
        "analysis", "config", "metrics", "pipeline", "serve", "source", "tasks",
    ] {
        assert_no_circle(imports_in(room));
    }
}

fn assert_no_circle(mut imports: BTreeMap<Module, BTreeSet<Module>>) {
    loop {
        let names: BTreeSet<Module> = imports.keys().cloned().collect();
        // What names nothing that is left cannot be in a circle.
        imports.retain(|_, named| !named.is_disjoint(&names));
        if imports.len() == names.len() {
            break;
        }
    }
    assert!(
        imports.is_empty(),
        "in a circle, or above one: {imports:#?}"
    );
}
