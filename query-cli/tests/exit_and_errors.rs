//! Exit codes, errors, signals, closed pipes, full devices, and invalid usage.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::{CommandOutput, TestDir, fixture, recorder, sample_events};

/// Every command that prints, with a database of [`sample_events`].
const PRINTING: [&str; 10] = [
    "status",
    "events list",
    "events list --format=yaml",
    "events list --format=table",
    "events list --format=csv",
    "events get evt_20251202_100100_000000",
    "events stats",
    "events timeline",
    "events export",
    "completions bash",
];

fn signal(child: &Child, name: &str) {
    assert!(
        Command::new("kill")
            .args([name, &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn errors_are_text_or_one_line_of_json() {
    let dir = TestDir::with_sample_events();
    let line = "events get evt_20251202_100100_ffffff";
    assert_eq!(
        dir.run(line).failed(1),
        "error: event evt_20251202_100100_ffffff not found\n"
    );
    assert_eq!(
        dir.run(&format!("{line} --format=json")).failed(1),
        "{\"error\":\"event evt_20251202_100100_ffffff not found\",\"details\":\"\"}\n"
    );
    for line in [
        "events list --format=json --limit=1001",
        "events list --limit=1001 --format json",
        "-o json events list --since=tomorrow",
        "events list --since=1h --until=2h --format=json",
        "events list --format=json --after=k00",
        "events --format=json",
    ] {
        let error = dir.run(line).failed(2);
        let error: serde_json::Value =
            serde_json::from_str(error.strip_suffix('\n').unwrap()).unwrap();
        assert!(
            !error["error"].as_str().unwrap().contains('\n') && error["details"].is_string(),
            "{line}: {error}"
        );
    }
}

#[test]
fn usage_error_lists_valid_values() {
    let dir = TestDir::with_sample_events();
    for (line, words) in [
        ("events list --limit=1001", "1 to 1000"),
        (
            "events list --type=unknown",
            "cluster, operator, insight, assessment, health, system",
        ),
        (
            "events list --since=2025-12-03 --until=2025-12-02",
            "must be before --until",
        ),
        (
            "events list --offset=1 --after=k0000000000000000a5",
            "cannot be used with",
        ),
        ("events list --color", "unexpected argument"),
        ("events list --owner=/web", "use NAME or KIND/NAME"),
        ("events list --owner=a/b/c", "use NAME or KIND/NAME"),
        (
            "events list --for=pod",
            "use KIND/NAME or KIND/NAME/NAMESPACE",
        ),
        ("completions tcsh", "bash, zsh, fish"),
        ("events", "events"),
        ("", "Usage"),
    ] {
        let error = dir.run(line).failed(2);
        assert!(error.contains(words), "{line}: {error}");
    }
}

#[test]
fn help_of_every_command_has_examples() {
    let dir = TestDir::new();
    for line in [
        "--help",
        "status --help",
        "events --help",
        "events list --help",
        "events get --help",
        "events watch --help",
        "events stats --help",
        "events timeline --help",
        "events export --help",
        "completions --help",
    ] {
        assert!(
            dir.run(line).ok().contains("Examples:\n  kube9-query"),
            "{line}"
        );
    }
    assert!(dir.run("--version").ok().starts_with("kube9-query "));
}

/// Completions of a shell, one per line; `None` if the shell is not installed.
fn offered(dir: &TestDir, shell: &str, script: &str) -> Option<String> {
    let mut command = Command::new(shell);
    command.env_clear().current_dir(dir.path());
    command.env("PATH", std::env::var_os("PATH")?);
    command.env("HOME", dir.path()).env("TERM", "dumb");
    let answer = command.args(["-c", script]).output().ok()?;
    assert!(answer.status.success(), "{shell}: {answer:?}");
    Some(String::from_utf8(answer.stdout).unwrap())
}

#[test]
fn completions_work_in_their_shells() {
    let dir = TestDir::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = dir.run(&format!("completions {shell}")).ok();
        std::fs::write(dir.path().join(shell), script).unwrap();
    }
    // Call the registered function as the shell does.
    let bash = "source ./bash; for line in 'kube9-query ' 'kube9-query events ' 'kube9-query events list --object' 'kube9-query status --format '; do
        read -ra COMP_WORDS <<<\"$line\"; [[ $line == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$line COMP_POINT=${#line} COMPREPLY=()
        _kube9__query kube9-query \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"; done";
    // zsh completes only in its line editor; the test checks that it accepts the script.
    let zsh = "fpath=($PWD $fpath); mv zsh _kube9-query; autoload -Uz compinit; compinit -u -d dump; \
               print -r -- $_comps[kube9-query]; functions _kube9-query >/dev/null && autoload +X _kube9-query && \
               functions _kube9-query _kube9-query__subcmd__events_commands _kube9-query__events_commands 2>/dev/null; true";
    let fish = "source ./fish; complete -C 'kube9-query '; complete -C 'kube9-query events '; \
                complete -C 'kube9-query events list --object'; complete -C 'kube9-query status --format '";
    for (shell, script, words) in [
        (
            "bash",
            bash,
            &["status", "events", "timeline", "--object-namespace", "yaml"][..],
        ),
        ("zsh", zsh, &["_kube9-query"]),
        (
            "fish",
            fish,
            &["status", "events", "timeline", "--object-namespace", "yaml"],
        ),
    ] {
        match offered(&dir, shell, script) {
            Some(offered) => {
                for word in words {
                    assert!(
                        offered.contains(word),
                        "{shell} offers no {word}: {offered}"
                    );
                }
            }
            None => {
                assert_ne!(shell, "bash", "bash is needed for this test");
                println!("SKIPPED: no {shell}");
            }
        }
    }
}

#[test]
fn manual_pages_have_no_warnings() {
    let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("generated");
    let mut found = 0;
    for entry in std::fs::read_dir(pages).unwrap() {
        let page = entry.unwrap().path();
        if page.extension().is_none_or(|extension| extension != "1") {
            continue;
        }
        found += 1;
        let text = std::fs::read_to_string(&page).unwrap();
        assert!(
            text.contains("\n.SH EXAMPLES\n") || text.contains("PAUSE"),
            "{page:?}"
        );
        match Command::new("mandoc").arg("-Tlint").arg(&page).output() {
            Ok(lint) => assert!(lint.stdout.is_empty(), "{lint:?}"),
            Err(_) => println!("SKIPPED: no mandoc"),
        }
    }
    assert_eq!(found, 20);
}

/// Runs the line on a terminal of this width; `None` if this machine cannot create one.
fn on_a_terminal(
    dir: &TestDir,
    line: &str,
    columns: usize,
    environment: &[(&str, &str)],
) -> Option<String> {
    let mut command = dir.command(&["x"; 0]);
    let binary = command.command.get_program().to_str().unwrap().to_owned();
    let shell = format!("stty cols {columns}; exec {binary} {line}");
    let mut terminal = Command::new("script");
    terminal
        .args(["-qec", &shell, "/dev/null"])
        .env_remove("NO_COLOR")
        .env("TERM", "xterm");
    terminal
        .env("KUBE9_DB", dir.db())
        .envs(environment.iter().copied());
    command.command = terminal;
    if Command::new("script").arg("--version").output().is_err() {
        return None;
    }
    let answer = command.run();
    assert_eq!(answer.code, Some(0), "{answer:?}");
    Some(answer.stdout.replace('\r', ""))
}

#[test]
fn export_to_file_shows_progress_on_terminal() {
    let dir = TestDir::with_sample_events();
    for (filter, events) in [("", 7), ("--object-namespace=none", 0)] {
        let file = dir.path().join("exported");
        let line = format!("events export {filter} >{}", file.display());
        let Some(shown) = on_a_terminal(&dir, &line, 80, &[]) else {
            println!("SKIPPED: no program script");
            return;
        };
        let bar = "#".repeat(24);
        assert!(
            shown.contains(&format!("[{bar}] {events} of {events} events, "))
                && shown.ends_with("/s   \n"),
            "{shown:?}"
        );
        let exported = std::fs::read_to_string(file).unwrap();
        assert_eq!(exported.lines().count(), events);
    }
    // With stdout on the terminal the rows show the progress.
    let shown = on_a_terminal(&dir, "events export", 80, &[]).unwrap();
    assert_eq!(shown.lines().count(), 7, "{shown}");
}

#[test]
fn list_on_terminal_prints_colored_table_of_its_width() {
    let dir = TestDir::with_sample_events();
    let Some(shown) = on_a_terminal(&dir, "events list", 80, &[]) else {
        println!("SKIPPED: no program script");
        return;
    };
    assert!(shown.contains("\u{1b}[31merror\u{1b}[0m"), "{shown}");
    // A healthy state is green, changes are cyan, the axis is dim.
    let now = i64::try_from(
        std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_millis(),
    );
    let alive = TestDir::new();
    let db = fixture::create(&alive.db());
    alive.insert(&db, &sample_events());
    drop(db);
    recorder::heartbeat(alive.path(), now.unwrap(), recorder::End::Killed);
    let shown = on_a_terminal(&alive, "status", 80, &[]).unwrap();
    assert!(shown.contains("\u{1b}[32moperational\u{1b}[0m"), "{shown}");
    let line = "events timeline --since=2025-12-02T09:30:00Z --until=2025-12-02T10:30:00Z";
    let shown = on_a_terminal(&dir, line, 80, &[]).unwrap();
    let of_changes = shown.lines().find(|line| line.starts_with("changes"));
    assert!(
        of_changes.is_some_and(|line| line.contains("\u{1b}[36m") && line.contains('▲')),
        "{shown}"
    );
    assert!(shown.contains("\u{1b}[2m──"), "{shown}");
    // A terminal that does not report its width counts as 80 columns wide.
    for line in ["events list", "events timeline"] {
        let [untold, usual] = [0, 80].map(|columns| {
            let shown = on_a_terminal(&dir, line, columns, &[("NO_COLOR", "1")]);
            shown
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        assert_eq!(untold[0], usual[0], "{line}");
        assert_eq!(untold.len(), usual.len(), "{line}");
    }
    for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        for line in [
            "events list",
            "events get evt_20251202_100100_000000",
            "status",
            "events timeline",
        ] {
            let shown = on_a_terminal(&dir, line, 80, &[environment]).unwrap();
            assert!(!shown.contains('\u{1b}'), "{line}: {shown}");
        }
    }
    for columns in [80, 120, 200] {
        for line in [
            "events list",
            "events list --format=wide",
            "events timeline",
            "events stats --by=name,reason",
        ] {
            let shown = on_a_terminal(&dir, line, columns, &[("NO_COLOR", "1")]).unwrap();
            let widest = shown
                .lines()
                .map(unicode_width::UnicodeWidthStr::width)
                .max();
            // `wide` cannot be narrower: ids and counts are never truncated.
            let limit = if line.contains("wide") {
                columns.max(145)
            } else {
                columns
            };
            assert!(widest <= Some(limit), "{line} at {columns}: {shown}");
        }
    }
}

#[test]
fn closed_pipe_exits_0() {
    let dir = TestDir::with_sample_events();
    for line in PRINTING {
        let mut command = dir.command(&line.split(' ').collect::<Vec<_>>());
        let mut child = command
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let answer = CommandOutput::of(child.wait_with_output().unwrap());
        assert_eq!(answer.code, Some(0), "{line}: {answer:?}");
        assert!(!answer.stderr.contains("error"), "{line}: {answer:?}");
    }
}

#[test]
fn full_device_exits_1() {
    let dir = TestDir::with_sample_events();
    for line in PRINTING.into_iter().chain(["--help", "--version"]) {
        let mut command = dir.command(&line.split(' ').collect::<Vec<_>>());
        let full = File::options().write(true).open("/dev/full").unwrap();
        let answer = CommandOutput::of(command.command.stdout(full).output().unwrap());
        assert_eq!(answer.code, Some(1), "{line}: {answer:?}");
        assert!(
            answer.stderr.contains("cannot write the output"),
            "{line}: {answer:?}"
        );
    }
}

#[test]
fn signals_exit_130_and_143() {
    let dir = TestDir::with_sample_events();
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        for line in ["events watch --format=jsonl --tail=1", "pause"] {
            let mut command = dir.command(&line.split(' ').collect::<Vec<_>>());
            let mut child = command.command.stdout(Stdio::piped()).spawn().unwrap();
            let pid = child.id();
            // The process is ready at the first line of watch, or when pause catches SIGTERM.
            if line == "pause" {
                let caught = || {
                    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
                    let mask = status
                        .lines()
                        .find_map(|line| line.strip_prefix("SigCgt:\t"))
                        .unwrap()
                        .to_owned();
                    u64::from_str_radix(mask.trim(), 16).unwrap()
                };
                while caught() & 1 << 16 == 0 {
                    std::thread::yield_now();
                }
            } else {
                BufReader::new(child.stdout.as_mut().unwrap())
                    .read_line(&mut String::new())
                    .unwrap();
            }
            signal(&child, name);
            assert_eq!(child.wait().unwrap().code(), Some(code), "{line} {name}");
        }
    }
}

/// CPU time that a process has used, in ticks (10 ms); `None` after its end.
fn cpu_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(") ")?.1;
    let field = |index: usize| after_name.split(' ').nth(index)?.parse::<u64>().ok();
    Some(field(11)? + field(12)?)
}

#[test]
fn sigint_during_query_exits_130() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    dir.insert(&db, &sample_events());
    let id: String = db
        .query_row("SELECT id FROM events LIMIT 1", [], |row| row.get(0))
        .unwrap();
    // Endless rows and counters.
    db.execute_batch(
        "UPDATE event SET uid = x'00'; DROP VIEW events; DROP VIEW event_detail; DROP TABLE row_counts; \
         CREATE VIEW row_counts AS WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n) \
         SELECT CASE i % 3 WHEN 0 THEN 0 WHEN 1 THEN 3600 ELSE 86400 END AS bucket_seconds, i * 86400 AS bucket_start, 0 AS scope, 0 AS type, 0 AS severity, 0 AS rows FROM n; \
         CREATE VIEW event_detail AS WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) \
         SELECT e.key, max(i) AS id, '' AS event_type, '' AS severity, '' AS title, '' AS description, \
         '' AS object_kind, '' AS object_namespace, '' AS object_name, '' AS metadata, '' AS created_at \
         FROM event e, n GROUP BY e.key",
    )
    .unwrap();
    let get = format!("events get {id}");
    for line in [
        "status",
        "events list",
        &get,
        "events stats",
        "events timeline",
        "events export",
    ] {
        let mut words: Vec<_> = line.split(' ').collect();
        words.push("--timeout=30");
        let mut command = dir.command(&words);
        let mut child = command
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // After more CPU time than a start takes, the query is running.
        while cpu_ticks(child.id()).is_some_and(|ticks| ticks < 20)
            && child.try_wait().unwrap().is_none()
        {
            std::thread::yield_now();
        }
        signal(&child, "-INT");
        let answer = CommandOutput::of(child.wait_with_output().unwrap());
        assert_eq!(answer.code, Some(130), "{line}: {answer:?}");
        assert_eq!(answer.stderr, "", "{line}");
    }
}

#[test]
fn query_over_time_limit_exits_1() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    dir.insert(&db, &sample_events());
    // An endless view `event_detail`, which the reader queries for unexpected rows: here, with a uid of one byte.
    db.execute_batch(
        "UPDATE event SET uid = x'00'; DROP VIEW events; DROP VIEW event_detail; CREATE VIEW event_detail AS \
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) \
         SELECT e.key, max(i) AS id, '' AS event_type, '' AS severity, '' AS title, '' AS description, \
         '' AS object_kind, '' AS object_namespace, '' AS object_name, '' AS metadata, '' AS created_at \
         FROM event e, n GROUP BY e.key",
    )
    .unwrap();
    let error = dir.run("events list --timeout=1").failed(1);
    assert!(
        error.contains("took longer than 1 s") && error.contains("--timeout"),
        "{error}"
    );
}

#[test]
fn database_path_follows_precedence() {
    let dir = TestDir::with_sample_events();
    let count = |mut command: crate::support::TestCommand| {
        command.command.env_remove("KUBE9_DB");
        command
    };
    let list = ["events", "list", "--format=json"];
    let by_path = count(dir.command(&list))
        .env("DB_PATH", dir.path().to_str().unwrap())
        .run();
    assert_eq!(by_path.json()["pagination"]["total"], 7);
    let by_file = count(dir.command(&list))
        .env("DB_PATH", dir.db().to_str().unwrap())
        .run();
    assert_eq!(by_file.json()["pagination"]["total"], 7);
    if !std::path::Path::new("/data/kube9.db").exists() {
        let error = count(dir.command(&["events", "list"])).run().failed(1);
        assert!(
            error.contains("database /data/kube9.db not found"),
            "{error}"
        );
    }
    // The option has precedence over the environment, KUBE9_DB over DB_PATH.
    let db = dir.db();
    let named = ["events", "list", "--db", db.to_str().unwrap()];
    assert_eq!(
        dir.command(&named).env("KUBE9_DB", "/none").run().json()["pagination"]["total"],
        7
    );
    assert_eq!(
        dir.command(&list).env("DB_PATH", "/none").run().json()["pagination"]["total"],
        7
    );
    std::fs::create_dir(dir.path().join("kube9-data")).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("kube9.db{suffix}");
        std::fs::copy(
            dir.path().join(&name),
            dir.path().join("kube9-data").join(&name),
        )
        .unwrap();
    }
    if !std::path::Path::new("/data/kube9.db").exists() {
        assert_eq!(
            count(dir.command(&list)).run().json()["pagination"]["total"],
            7
        );
    }
}
