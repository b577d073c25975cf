//! One question to several clusters: each is asked by a `kubectl exec` of its own, and the answers are merged by time.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write, stdout};
use std::process::ExitCode;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::args::Plugin;
use crate::error::{self, PARTIAL, PluginError, note};
use crate::kubectl::{self, Kubectl};
use crate::pod;
use crate::table::{safe, table};

/// Clusters that are asked at a time.
const AT_A_TIME: usize = 8;
/// Contexts that one command may name.
const CONTEXTS_MAX: usize = 500;
/// Rows of `kube9-query` without `--limit`.
const LIMIT_DEFAULT: usize = 50;
/// Longest line of a stream: a row has at most 64 KiB.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// The contexts that the command line asks for; `None` if it names none.
pub(crate) fn contexts(plugin: &Plugin) -> Result<Option<Vec<String>>, PluginError> {
    if plugin.contexts.is_empty() && !plugin.all_contexts {
        return Ok(None);
    }
    let kubectl = plugin.kubectl(None);
    let known = kubectl.lines(
        &["config", "get-contexts", "-o", "name"],
        Duration::from_secs(10),
    )?;
    let is_named = |context: &String| {
        plugin.all_contexts
            || plugin
                .contexts
                .iter()
                .any(|glob| matches(glob.as_bytes(), context.as_bytes()))
    };
    let found: Vec<String> = known.iter().filter(|one| is_named(one)).cloned().collect();
    if found.is_empty() {
        return Err(PluginError::Usage(format!(
            "no context matches; the kubeconfig has: {}",
            known.join(", ")
        )));
    }
    if found.len() > CONTEXTS_MAX {
        return Err(PluginError::Usage(format!(
            "{} contexts match, at most {CONTEXTS_MAX} are asked",
            found.len()
        )));
    }
    Ok(Some(found))
}

/// A glob with `*` and `?`. After a mismatch, the last `*` takes one character more.
fn matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    let mut retry = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                retry = Some((g, t));
                g += 1;
            }
            Some(b'?') => {
                g += 1;
                t += 1;
            }
            Some(one) if *one == text[t] => {
                g += 1;
                t += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    g = star + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|one| *one == b'*')
}

/// What a command answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// Rows, under this key.
    Rows(&'static str),
    /// Groups with counts.
    Groups,
    /// One object.
    Status,
    /// Rows as they arrive.
    Stream,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Table,
    Json,
    JsonLines,
}

/// A command that several clusters can answer.
struct Question {
    answers: Answers,
    format: Format,
    limit: usize,
    /// With the format in which the pods answer.
    words: Vec<OsString>,
}

/// One cluster's answer.
type Answer = Result<Vec<Map<String, Value>>, String>;

/// Asks all of them and prints the merged answer.
pub(crate) fn run(plugin: &Plugin, contexts: &[String]) -> Result<ExitCode, PluginError> {
    let question = question(&plugin.words)?;
    if question.answers == Answers::Stream {
        return Ok(stream(plugin, contexts, &question));
    }
    let answers = ask_all(plugin, contexts, &question);
    let mut failed = false;
    let mut clusters = Vec::new();
    let mut rows = Vec::new();
    for (context, answer) in contexts.iter().zip(answers) {
        let error = match answer {
            Ok(found) => {
                rows.extend(found);
                Value::Null
            }
            Err(error) => {
                failed = true;
                note(&format!(
                    "cluster {}: {}",
                    safe(context),
                    safe_lines(&error)
                ));
                Value::from(error)
            }
        };
        clusters.push(json!({ "cluster": context, "error": error }));
    }
    if let Answers::Rows(_) = question.answers {
        sort(&mut rows);
        if rows.len() > question.limit {
            note(&format!(
                "the newest {} of {} rows; --limit prints more",
                question.limit,
                rows.len()
            ));
            rows.truncate(question.limit);
        }
    }
    let code = error::print(&shown(&question, rows, clusters));
    Ok(if failed && code == ExitCode::SUCCESS {
        ExitCode::from(PARTIAL)
    } else {
        code
    })
}

fn question(words: &[OsString]) -> Result<Question, PluginError> {
    let texts: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let has = |name: &str| {
        texts
            .iter()
            .any(|word| *word == name || word.starts_with(&format!("{name}=")))
    };
    let answers = match texts[..] {
        ["events", "list", ..] => Answers::Rows("events"),
        ["events", "stats", ..] => Answers::Groups,
        ["events", "watch", ..] => Answers::Stream,
        ["changes", ..] if has("--follow") => Answers::Stream,
        ["changes", ..] => Answers::Rows("changes"),
        ["findings", ..] if has("--by") => Answers::Groups,
        ["findings", ..] => Answers::Rows("findings"),
        ["status", ..] => Answers::Status,
        _ => {
            return Err(PluginError::Usage(
                "several contexts can be asked for: events list, events stats, events watch, changes, findings, status"
                    .to_owned(),
            ));
        }
    };
    let (format, mut words) = without_format(words)?;
    let format = format.unwrap_or(if stdout().is_terminal() {
        Format::Table
    } else if answers == Answers::Stream {
        Format::JsonLines
    } else {
        Format::Json
    });
    if answers == Answers::Stream && format == Format::Json {
        return Err(PluginError::Usage(
            "a stream has no end: use --format=jsonl or table".to_owned(),
        ));
    }
    words.push(
        match answers {
            Answers::Rows(_) | Answers::Stream => "--format=jsonl",
            Answers::Groups | Answers::Status => "--format=json",
        }
        .into(),
    );
    Ok(Question {
        answers,
        format,
        limit: limit(&texts).unwrap_or(LIMIT_DEFAULT),
        words,
    })
}

/// The words without `--format`, and what it says.
fn without_format(words: &[OsString]) -> Result<(Option<Format>, Vec<OsString>), PluginError> {
    let (mut format, mut rest) = (None, Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let value = if text == "--format" || text == "-o" {
            words.next().map(|next| next.to_string_lossy().into_owned())
        } else if let Some(value) = text.strip_prefix("--format=") {
            Some(value.to_owned())
        } else if let Some(value) = text.strip_prefix("-o").filter(|_| !text.starts_with("--")) {
            Some(value.trim_start_matches('=').to_owned())
        } else {
            rest.push(word.clone());
            continue;
        };
        format = Some(match value.as_deref() {
            Some("table" | "wide") => Format::Table,
            Some("json") => Format::Json,
            Some("jsonl") => Format::JsonLines,
            _ => {
                return Err(PluginError::Usage(
                    "formats of several contexts: table, json, jsonl".to_owned(),
                ));
            }
        });
    }
    Ok((format, rest))
}

fn limit(words: &[&str]) -> Option<usize> {
    let at = |name: &str| {
        let (n, word) = words
            .iter()
            .enumerate()
            .find(|(_, word)| word.starts_with(name))?;
        let value = word[name.len()..].trim_start_matches('=');
        let value = if value.is_empty() {
            words.get(n + 1)?
        } else {
            value
        };
        value.parse().ok()
    };
    at("--limit").or_else(|| at("-n"))
}

/// The answers, in the order of the contexts; at most [`AT_A_TIME`] are asked at once.
fn ask_all(plugin: &Plugin, contexts: &[String], question: &Question) -> Vec<Answer> {
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..contexts.len()).collect());
    let (send, receive) = mpsc::channel();
    let mut answers: Vec<Answer> = contexts
        .iter()
        .map(|_| Err("not asked".to_owned()))
        .collect();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME.min(contexts.len()) {
            let (send, waiting) = (send.clone(), &waiting);
            scope.spawn(move || {
                loop {
                    let next = waiting.lock().map(|mut left| left.pop_front());
                    let Ok(Some(at)) = next else { return };
                    let context = &contexts[at];
                    // The receiver lives as long as this scope.
                    let _ = send.send((at, ask(plugin, context, question)));
                }
            });
        }
        drop(send);
        for (at, answer) in receive {
            answers[at] = answer;
        }
    });
    answers
}

fn ask(plugin: &Plugin, context: &str, question: &Question) -> Answer {
    let kubectl = plugin.kubectl(Some(context));
    let pod = pod::find(plugin, &kubectl).map_err(PluginError::into_text)?;
    let mut command = kubectl.exec(&pod, &[], &question.words);
    let answer =
        kubectl::finish(&mut command, plugin.cluster_timeout()).map_err(PluginError::into_text)?;
    // `status` answers with 1 where the record is unavailable.
    let is_answered = answer.code == Some(0)
        || question.answers == Answers::Status
            && answer.code == Some(1)
            && !answer.stdout.is_empty();
    if !is_answered {
        return Err(kubectl::message(&answer.stderr));
    }
    let cut = |error: serde_json::Error| format!("the answer is not complete: {error}");
    let parse = |bytes: &[u8]| serde_json::from_slice::<Map<String, Value>>(bytes).map_err(cut);
    let objects = match question.answers {
        Answers::Rows(_) | Answers::Stream => answer
            .stdout
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(parse)
            .collect::<Result<Vec<_>, _>>()?,
        Answers::Status => vec![parse(&answer.stdout)?],
        Answers::Groups => {
            let mut whole = parse(&answer.stdout)?;
            let groups = match whole.remove("groups") {
                Some(Value::Array(groups)) => groups,
                _ => return Err("the answer has no groups".to_owned()),
            };
            let object = |group| match group {
                Value::Object(group) => Some(group),
                _ => None,
            };
            groups.into_iter().filter_map(object).collect()
        }
    };
    Ok(objects
        .into_iter()
        .map(|object| of_cluster(context, object))
        .collect())
}

/// The object with the key `cluster` before its own.
fn of_cluster(context: &str, object: Map<String, Value>) -> Map<String, Value> {
    let mut named = Map::new();
    named.insert("cluster".to_owned(), context.into());
    named.extend(object.into_iter().filter(|(key, _)| key != "cluster"));
    named
}

/// Newest first; rows of one time by cluster, then by id.
fn sort(rows: &mut [Map<String, Value>]) {
    fn text<'r>(row: &'r Map<String, Value>, key: &str) -> &'r str {
        row.get(key).and_then(Value::as_str).unwrap_or_default()
    }
    rows.sort_by(|one, other| {
        text(other, "created_at")
            .cmp(text(one, "created_at"))
            .then_with(|| text(one, "cluster").cmp(text(other, "cluster")))
            .then_with(|| text(other, "id").cmp(text(one, "id")))
    });
}

fn shown(question: &Question, rows: Vec<Map<String, Value>>, clusters: Vec<Value>) -> String {
    let lines = |rows: &[Map<String, Value>]| {
        rows.iter()
            .map(|row| format!("{}\n", Value::Object(row.clone())))
            .collect()
    };
    match (question.format, question.answers) {
        (Format::JsonLines, _) => lines(&rows),
        (Format::Json, answers) => {
            let key = match answers {
                Answers::Rows(key) => key,
                Answers::Status => "status",
                _ => "groups",
            };
            let all: Vec<Value> = rows.into_iter().map(Value::Object).collect();
            let whole = json!({ key: all, "clusters": clusters });
            format!("{whole:#}\n")
        }
        (Format::Table, Answers::Groups) => group_table(&rows),
        (Format::Table, Answers::Status) => {
            let columns = [
                "cluster",
                "status",
                "total_events",
                "oldest_event",
                "reasons",
            ];
            let rows: Vec<Vec<String>> = rows
                .iter()
                .map(|row| columns.map(|key| cell(row.get(key))).into())
                .collect();
            table(
                &["CLUSTER", "STATUS", "EVENTS", "OLDEST (UTC)", "REASONS"],
                &rows,
            )
        }
        (Format::Table, answers) => {
            let with_author = answers == Answers::Rows("changes");
            let mut headings = HEADINGS.to_vec();
            if with_author {
                headings.push("BY");
            }
            let cells: Vec<Vec<String>> = rows.iter().map(|row| cells(row, with_author)).collect();
            table(&headings, &cells)
        }
    }
}

const HEADINGS: [&str; 6] = [
    "CLUSTER",
    "CREATED (UTC)",
    "SEVERITY",
    "NAMESPACE",
    "OBJECT",
    "TITLE",
];

fn cells(row: &Map<String, Value>, with_author: bool) -> Vec<String> {
    let one = |key: &str| cell(row.get(key));
    let object = match (&*one("object_kind"), &*one("object_name")) {
        ("", _) => String::new(),
        (kind, name) => format!("{kind}/{name}"),
    };
    let mut cells = vec![
        one("cluster"),
        one("created_at"),
        one("severity"),
        one("object_namespace"),
        object,
        one("title"),
    ];
    if with_author {
        let by = row
            .get("metadata")
            .and_then(|metadata| metadata["by"].as_array());
        let names = by
            .into_iter()
            .flatten()
            .map(|author| cell(author.get("manager")));
        let names: Vec<String> = names.collect();
        cells.push(if names.is_empty() {
            "unknown".to_owned()
        } else {
            names.join(", ")
        });
    }
    cells
}

/// A value as a cell of a table.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => safe(text),
        Some(Value::Array(all)) => {
            let cells: Vec<String> = all.iter().map(|one| cell(Some(one))).collect();
            cells.join("; ")
        }
        Some(other) => safe(&other.to_string()),
    }
}

/// The columns are those of the first group.
fn group_table(rows: &[Map<String, Value>]) -> String {
    let keys: Vec<&String> = rows.first().map_or(Vec::new(), |row| row.keys().collect());
    let headings: Vec<String> = keys.iter().map(|key| key.to_uppercase()).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| keys.iter().map(|key| cell(row.get(*key))).collect())
        .collect();
    table(&headings, &rows)
}

fn safe_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(safe).collect();
    lines.join("\n  ")
}

/// Prints the rows of all clusters as they arrive, until each of them has ended.
fn stream(plugin: &Plugin, contexts: &[String], question: &Question) -> ExitCode {
    let (send, receive) = mpsc::sync_channel::<(usize, Result<String, String>)>(64);
    thread::scope(|scope| {
        for (at, context) in contexts.iter().enumerate() {
            let send = send.clone();
            scope.spawn(move || {
                let kubectl = plugin.kubectl(Some(context));
                if let Err(error) = follow(plugin, &kubectl, question, |line| {
                    send.send((at, Ok(line))).is_ok()
                }) {
                    // Nobody reads any more.
                    let _ = send.send((at, Err(error)));
                }
            });
        }
        drop(send);
        let mut failed = false;
        if question.format == Format::Table {
            let widths = contexts.iter().map(|one| one.chars().count()).max();
            if write_line(&format!(
                "{:<1$}  {2}",
                "CLUSTER",
                widths.unwrap_or(7),
                "ROW"
            ))
            .is_err()
            {
                std::process::exit(0);
            }
        }
        for (at, message) in receive {
            let context = &contexts[at];
            let line = match message {
                Err(error) => {
                    failed = true;
                    note(&format!(
                        "cluster {}: {}",
                        safe(context),
                        safe_lines(&error)
                    ));
                    continue;
                }
                Ok(line) => line,
            };
            let Ok(row) = serde_json::from_str::<Map<String, Value>>(&line) else {
                failed = true;
                note(&format!("cluster {}: a line is not JSON", safe(context)));
                continue;
            };
            let row = of_cluster(context, row);
            let text = if question.format == Format::Table {
                cells(&row, false).join("  ")
            } else {
                Value::Object(row).to_string()
            };
            if write_line(&text).is_err() {
                // A closed pipe is not an error. The processes end with this one: their output is closed.
                std::process::exit(0);
            }
        }
        ExitCode::from(if failed { PARTIAL } else { 0 })
    })
}

fn write_line(text: &str) -> std::io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Passes each line of one cluster on until there are no more, or nobody wants them.
fn follow(
    plugin: &Plugin,
    kubectl: &Kubectl,
    question: &Question,
    mut pass: impl FnMut(String) -> bool,
) -> Result<(), String> {
    let pod = pod::find(plugin, kubectl).map_err(PluginError::into_text)?;
    let mut child = kubectl::start(&mut kubectl.exec(&pod, &[], &question.words))
        .map_err(PluginError::into_text)?;
    let errors = child.stderr.take();
    let errors = thread::spawn(move || {
        let mut text = String::new();
        if let Some(errors) = errors {
            // What arrived is shown.
            let _ = errors.take(LINE_BYTES_MAX).read_to_string(&mut text);
        }
        text
    });
    let mut lines = BufReader::new(child.stdout.take().ok_or("kubectl has no output")?);
    loop {
        let mut line = String::new();
        let read = lines
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_line(&mut line)
            .map_err(|error| format!("cannot read the rows: {error}"))?;
        if read == 0 {
            break;
        }
        if !pass(line.trim_end().to_owned()) {
            break;
        }
    }
    drop(lines);
    // It may have ended by itself.
    let _ = child.kill();
    let status = child
        .wait()
        .map_err(|error| format!("cannot wait for kubectl: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(kubectl::message(&errors.join().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glob_matches_whole_names() {
        for (glob, text, expected) in [
            ("prod-*", "prod-eu", true),
            ("prod-*", "xprod-eu", false),
            ("*", "", true),
            ("*eu", "prod-eu", true),
            ("*-*-*", "a-b", false),
            ("prod-?", "prod-1", true),
            ("prod-?", "prod-12", false),
            ("a*a*a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(
                matches(glob.as_bytes(), text.as_bytes()),
                expected,
                "{glob} {text}"
            );
        }
    }

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn format_of_the_command_becomes_that_of_the_plugin() {
        for (text, format) in [
            ("changes --format=jsonl --since=1h", Format::JsonLines),
            ("changes -o table", Format::Table),
            ("changes -ojson", Format::Json),
        ] {
            let question = question(&words(text)).unwrap();
            assert_eq!(question.format, format, "{text}");
            assert_eq!(question.words.last().unwrap(), "--format=jsonl");
            assert_eq!(
                question.words.iter().filter(|word| *word == "-o").count(),
                0
            );
        }
        assert!(matches!(
            question(&words("changes -o csv")),
            Err(PluginError::Usage(_))
        ));
        assert!(matches!(
            question(&words("object get deploy/x")),
            Err(PluginError::Usage(_))
        ));
        assert!(matches!(
            question(&words("events watch -o json")),
            Err(PluginError::Usage(_))
        ));
    }

    #[test]
    fn limit_is_that_of_the_command() {
        for (text, expected) in [
            ("changes", LIMIT_DEFAULT),
            ("changes --limit=7", 7),
            ("changes --limit 8", 8),
            ("events list -n 9", 9),
            ("events list -n9", 9),
        ] {
            assert_eq!(question(&words(text)).unwrap().limit, expected, "{text}");
        }
    }

    #[test]
    fn rows_are_merged_by_time_cluster_and_id() {
        let row = |cluster: &str, time: &str, id: &str| {
            let row = json!({ "id": id, "created_at": time });
            of_cluster(cluster, row.as_object().unwrap().clone())
        };
        let mut rows = [
            row("b", "2025-01-01T00:00:01.000Z", "1"),
            row("b", "2025-01-01T00:00:02.000Z", "2"),
            row("a", "2025-01-01T00:00:01.000Z", "3"),
            row("a", "2025-01-01T00:00:01.000Z", "4"),
        ];
        sort(&mut rows);
        let ids: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
        assert_eq!(ids, ["2", "4", "3", "1"]);
        assert_eq!(rows[0].keys().next().unwrap(), "cluster");
    }
}
