//! Compares `docs/pictures` with the code. A picture shows a run of a simulated cluster, whose ids and times differ from run
//! to run; commands, labels and names must be those of today.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kube9_rules::rules::finding_names;
use kube9_tests::picture::{PICTURES, THEMES};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const MAKE: &str = "run KUBE9_UPDATE=1 .ci/generated pictures";

/// Each picture with its text, its file and its command.
fn pictures() -> Vec<(String, PathBuf, &'static str)> {
    let mut found = Vec::new();
    for (name, _, line) in PICTURES {
        for theme in THEMES {
            let file = Path::new(ROOT).join(format!("docs/pictures/{name}-{}.svg", theme.name));
            let text = fs::read_to_string(&file).unwrap_or_default();
            found.push((text, file, line));
        }
    }
    found
}

/// Text between two marks, in each line that has both.
fn between<'a>(text: &'a str, begin: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(move |line| line.split_once(begin)?.1.split_once(end))
        .map(|(found, _)| found)
}

fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else {
            *into += &fs::read_to_string(path).unwrap();
        }
    }
}

#[test]
fn pictures_are_those_of_the_list() {
    let wanted: BTreeSet<PathBuf> = pictures().into_iter().map(|(_, file, _)| file).collect();
    let entries = fs::read_dir(Path::new(ROOT).join("docs/pictures")).unwrap();
    let found: BTreeSet<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(found, wanted, "{MAKE}");
}

#[test]
fn pictures_show_commands_that_exist() {
    for (text, file, line) in pictures() {
        let title = between(&text, "<title>", "</title>").next().unwrap();
        let (before, after) = line.split_once("{id}").unwrap_or((line, ""));
        let shown = title.strip_prefix("kube9-query ").unwrap();
        assert!(
            shown.starts_with(before) && shown.ends_with(after),
            "{}: {title}: {MAKE}",
            file.display()
        );
        let parsed = kube9_query::command().try_get_matches_from(title.split(' '));
        assert!(parsed.is_ok(), "{}: {title}: {parsed:?}", file.display());
    }
}

/// Column headings and labels are bold.
#[test]
fn pictures_show_labels_of_the_code() {
    let mut code = String::new();
    for folder in ["query-cli/src", "shared/db/src", "recorder/store/src"] {
        sources(&Path::new(ROOT).join(folder), &mut code);
    }
    let words: BTreeSet<&str> = code
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect();
    for (text, file, _) in pictures() {
        let mut labels = 0;
        for bold in between(&text, " font-weight=\"bold\"", "</text>") {
            let label = bold.rsplit('>').next().unwrap();
            for word in label.split(|c: char| !c.is_alphabetic() && c != '_') {
                labels += 1;
                assert!(
                    word.len() < 3 || label.contains(" UTC") || words.contains(word),
                    "{}: the code has no label {word}: {MAKE}",
                    file.display()
                );
            }
        }
        assert!(labels > 2, "{}: no labels", file.display());
    }
}

/// A description begins with the reason: a rule's name, or the reason of an Event.
#[test]
fn pictures_name_rules_that_exist() {
    let mut known: BTreeSet<&str> = finding_names().collect();
    let list =
        fs::read_to_string(Path::new(ROOT).join("recorder/rules/src/tests/kubernetes-reasons.txt"));
    let list = list.unwrap();
    known.extend(list.lines());
    let mut named = 0;
    for (text, file, _) in pictures() {
        for shown in between(&text, "spacingAndGlyphs\">", "</text>") {
            let Some((reason, _)) = shown.split_once(": ") else {
                continue;
            };
            let reason = reason.split(" ×").next().unwrap();
            let capitals = reason.chars().filter(char::is_ascii_uppercase).count();
            if capitals > 1
                && capitals < reason.len()
                && reason.chars().all(|c| c.is_ascii_alphanumeric())
            {
                named += 1;
                assert!(
                    known.contains(reason),
                    "{}: {reason}: {MAKE}",
                    file.display()
                );
            }
        }
    }
    assert!(named > 20, "only {named} reasons found");
}
