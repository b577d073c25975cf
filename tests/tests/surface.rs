//! The public interface: every name that users, programs and alerts rely on, derived from the code and compared with
//! `tests/surface.txt`. `KUBE9_UPDATE=1` writes the file.
//!
//! A name that leaves the list breaks an alert, a script or a query of a user: rename it before a release or never.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use kube9_base::settings::variable;
use kube9_db::schema;
use kube9_model::label::Kind;
use kube9_recorder::cli::Cli;
use kube9_recorder::config::Config;
use kube9_recorder::metrics::{Metrics, Rules};
use kube9_rules::rules::finding_names;
use rusqlite::Connection;
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn surface_is_frozen() {
    let mut surface = String::from(
        "# Generated: KUBE9_UPDATE=1 .ci/generated tests\n\
         # The names that users rely on. tests/tests/surface.rs derives them from the code.\n",
    );
    for (title, lines) in [
        ("commands and flags", commands()),
        ("exit codes", exit_codes()),
        ("environment of kube9-query", environment()),
        ("settings", settings()),
        ("metrics", metrics()),
        ("rules", finding_names().map(str::to_owned).collect()),
        ("JSON keys", json_keys()),
        ("database columns", columns()),
    ] {
        assert!(!lines.is_empty(), "no {title}");
        write!(surface, "\n## {title}\n\n{}\n", lines.join("\n")).unwrap();
    }
    let file = Path::new(ROOT).join("tests/surface.txt");
    if std::env::var_os("KUBE9_UPDATE").is_some() {
        fs::write(&file, &surface).unwrap();
    }
    let frozen = fs::read_to_string(&file).unwrap_or_default();
    let differs = |from: &str, to: &str| -> Vec<String> {
        let to: BTreeSet<&str> = to.lines().collect();
        let only = from.lines().filter(|line| !to.contains(line));
        only.map(str::to_owned).collect()
    };
    assert!(
        surface == frozen,
        "tests/surface.txt differs: removed {:#?}, added {:#?}; run the test again with KUBE9_UPDATE=1 if this is meant",
        differs(&frozen, &surface),
        differs(&surface, &frozen)
    );
}

/// Each command with its arguments and flags.
fn commands() -> Vec<String> {
    let mut lines = Vec::new();
    for mut command in [kube9_query::command(), Cli::command()] {
        command.build();
        let name = command.get_name().to_owned();
        add_command(&command, &name, &mut lines);
    }
    lines
}

fn add_command(command: &clap::Command, path: &str, lines: &mut Vec<String>) {
    let mut args: Vec<String> = command.get_arguments().map(argument).collect();
    args.sort();
    lines.push(format!("{path} {}", args.join(" ")).trim_end().to_owned());
    for sub in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
    {
        add_command(sub, &format!("{path} {}", sub.get_name()), lines);
    }
}

fn argument(arg: &clap::Arg) -> String {
    match (arg.get_long(), arg.get_short()) {
        (Some(long), Some(short)) => format!("--{long}|-{short}"),
        (Some(long), None) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => format!("<{}>", arg.get_id().as_str().to_uppercase()),
    }
}

fn exit_codes() -> Vec<String> {
    use kube9_query::exit_code as query;
    use kube9_recorder::exit as recorder;
    vec![
        format!("kube9-query {} success", query::SUCCESS),
        format!("kube9-query {} failed or not found", query::FAILED),
        format!("kube9-query {} invalid usage", query::USAGE),
        format!("kube9-query {} interrupted (SIGINT)", query::INTERRUPTED),
        format!("kube9-query {} terminated (SIGTERM)", query::TERMINATED),
        format!("kube9-recorder {} success", recorder::SUCCESS),
        format!("kube9-recorder {} failed", recorder::FAILED),
        format!(
            "kube9-recorder {} wrong usage or configuration",
            recorder::WRONG_USAGE
        ),
        format!("kube9-recorder {} defect", recorder::DEFECT),
    ]
}

fn environment() -> Vec<String> {
    use kube9_query::env::{DATABASE, DATABASE_DIR};
    vec![DATABASE.to_owned(), DATABASE_DIR.to_owned()]
}

/// Each setting with its environment variable.
fn settings() -> Vec<String> {
    let settings = Config::settings();
    let line = |path: &str| format!("{path} {}", variable(path));
    settings.iter().map(|setting| line(&setting.path)).collect()
}

/// Each metric with its type and labels, as a scraper reads them.
fn metrics() -> Vec<String> {
    let one = |word: &str| vec![word.to_owned()];
    let metrics = Metrics::new(&Rules {
        filters: one("a-filter"),
        findings: one("AFinding"),
    });
    metrics.k8s.watches.expect(Kind::Event);
    let text = metrics.render().unwrap();
    let mut families: BTreeMap<&str, (&str, BTreeSet<&str>)> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["#", "TYPE", name, kind] = words[..] {
            families.insert(name, (kind, BTreeSet::new()));
        }
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let family = ["", "_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| name.strip_suffix(suffix))
            .find(|family| families.contains_key(family));
        let Some((kind, known)) = family.and_then(|family| families.get_mut(family)) else {
            panic!("{name} has no type");
        };
        let names = labels.split('"').step_by(2).filter_map(|part| {
            let name = part.trim_start_matches(',').strip_suffix('=')?;
            (*kind != "histogram" || name != "le").then_some(name)
        });
        known.extend(names);
    }
    families
        .iter()
        .map(|(name, (kind, labels))| {
            let labels: Vec<&str> = labels.iter().copied().collect();
            format!("{name}{{{}}} {kind}", labels.join(","))
        })
        .collect()
}

/// Each key of each document. Tests of kube9-query compare the documents with the schemas.
fn json_keys() -> Vec<String> {
    let folder = Path::new(ROOT).join("docs/schema");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let document = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let schema: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        add_keys(&schema, &document, &mut lines);
    }
    lines
}

fn add_keys(schema: &Value, path: &str, lines: &mut Vec<String>) {
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        lines.push(path.clone());
        add_keys(value, &path, lines);
        add_keys(&value["items"], &format!("{path}[]"), lines);
    }
}

/// Each column of each table and view.
fn columns() -> Vec<String> {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(&schema::create()).unwrap();
    let mut statement = db
        .prepare(
            "SELECT s.name || '.' || c.name FROM sqlite_schema s, pragma_table_info(s.name) c \
             WHERE s.type IN ('table', 'view') AND s.name NOT LIKE 'sqlite_%' ORDER BY s.name, c.cid",
        )
        .unwrap();
    let columns = statement.query_map([], |row| row.get(0)).unwrap();
    columns.collect::<Result<_, _>>().unwrap()
}
