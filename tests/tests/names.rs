//! Names that were given up stay given up: `tests/names.txt` against the definitions, files and the public interface.
#![expect(
    clippy::unwrap_used,
    reason = "functions that read the repository's own files"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The lines of a section of `tests/names.txt`.
fn listed(section: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(ROOT).join("tests/names.txt")).unwrap();
    let lines = text.lines().skip_while(|line| !line.starts_with(section));
    let names: BTreeSet<String> = lines
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    assert!(!names.is_empty(), "no section {section}");
    names
}

/// All Rust files of the workspace.
fn sources() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = ["recorder", "query-cli", "shared", "tests"]
        .iter()
        .map(|member| Path::new(ROOT).join(member))
        .collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 300, "only {} files found", files.len());
    files
}

/// The names that a line of code defines.
fn defined(line: &str) -> Vec<&str> {
    const KEYWORDS: [&str; 8] = [
        "fn", "struct", "enum", "trait", "type", "const", "static", "mod",
    ];
    let code = line.split("//").next().unwrap_or_default();
    let words: Vec<&str> = code
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .collect();
    words
        .windows(2)
        .filter(|pair| KEYWORDS.contains(&pair[0]))
        .map(|pair| pair[1])
        .collect()
}

#[test]
fn definitions_and_files_have_none_of_the_listed_names() {
    let (items, files) = (listed("# items"), listed("# files and folders"));
    let mut found = Vec::new();
    for path in sources() {
        let shown = path.strip_prefix(ROOT).unwrap().display().to_string();
        for part in Path::new(&shown) {
            let part = part.to_string_lossy();
            if files.contains(&*part) || files.contains(&format!("{part}/")) {
                found.push(format!("file {shown}"));
            }
        }
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let names = defined(line)
                .into_iter()
                .filter(|name| items.contains(*name));
            found.extend(names.map(|name| format!("{shown}:{}: {name}", number + 1)));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn public_interface_has_none_of_the_listed_words() {
    let words = listed("# columns");
    let surface = fs::read_to_string(Path::new(ROOT).join("tests/surface.txt")).unwrap();
    let has = |line: &str, word: &str| {
        let parts = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        parts.into_iter().any(|name| {
            name == word
                || name.starts_with(&format!("{word}_"))
                || name.ends_with(&format!("_{word}"))
                || name.contains(&format!("_{word}_"))
        })
    };
    let found: Vec<String> = surface
        .lines()
        .flat_map(|line| {
            let found = words.iter().filter(move |word| has(line, word));
            found.map(move |word| format!("{line}: {word}"))
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn defined_finds_items_and_not_comments() {
    assert_eq!(
        defined("pub(super) const fn close(&self) {"),
        ["fn", "close"]
    );
    assert_eq!(defined("struct Row<T>(T); // struct Column"), ["Row"]);
    assert_eq!(defined("/// fn close"), [""; 0]);
}
