//! Compares documentation and chart with the code.
#![expect(
    clippy::unwrap_used,
    reason = "functions that read the repository's own files"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube9_model::change::kinds::{BUILT_IN, PRESETS};
use kube9_recorder::config::{Config, SettingValue};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every source file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.append(&mut files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// Text between backticks.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2)
}

#[test]
fn security_page_references_exist() {
    let page = read("SECURITY.md");
    let folders = ["recorder", "query-cli", "shared", "tests"];
    let code: String = folders
        .iter()
        .flat_map(|folder| files(&root().join(folder)))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let (mut tests, mut named) = (0, 0);
    for name in quoted(&page) {
        if name.contains('/') && (name.ends_with(".rs") || name.starts_with("tests/")) {
            named += 1;
            assert!(root().join(name).exists(), "no file {name}");
        } else if name.matches('_').count() >= 2 && !name.contains([' ', '=']) {
            tests += 1;
            assert!(code.contains(&format!("fn {name}(")), "no test {name}");
        }
    }
    assert!(tests >= 20 && named >= 3, "{tests} tests, {named} files");
}

/// The product's source, without its tests, with continued lines joined.
fn shipped_code() -> Vec<(PathBuf, String)> {
    let folders = [
        "recorder/app/src",
        "recorder/base/src",
        "recorder/ingest/src",
        "recorder/k8s/src",
        "recorder/rules/src",
        "recorder/store/src",
        "query-cli/plugin/src",
        "query-cli/src",
        "shared/db/src",
        "shared/model/src",
    ];
    let all = folders
        .iter()
        .flat_map(|folder| files(&root().join(folder)));
    all.filter(|path| !path.ends_with("tests.rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let mut joined = String::new();
            let mut parts = code.split("\\\n");
            joined += parts.next().unwrap();
            parts.for_each(|part| joined += part.trim_start());
            (path, joined)
        })
        .collect()
}

/// String literals directly in the parentheses that begin `code`, not in a call within them.
fn literals_of_call(code: &str) -> Vec<String> {
    let (mut found, mut depth, mut rest) = (Vec::new(), 0, code.char_indices());
    while let Some((at, c)) = rest.next() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => break,
            ')' => depth -= 1,
            '"' => {
                let mut escaped = false;
                let end = rest.find(|(_, c)| {
                    let ends = *c == '"' && !escaped;
                    escaped = *c == '\\' && !escaped;
                    ends
                });
                let literal = &code[at + 1..end.map_or(code.len(), |(end, _)| end)];
                if depth == 1 {
                    found.push(literal.to_owned());
                }
            }
            _ => {}
        }
    }
    found
}

/// The fixed words of a message with `{…}` in it.
fn words(message: &str) -> Vec<String> {
    let outside = message
        .split('{')
        .enumerate()
        .map(|(index, part)| match index {
            0 => part,
            _ => part.split_once('}').map_or("", |(_, after)| after),
        });
    outside
        .map(|part| {
            part.trim_matches(|c: char| !c.is_alphanumeric())
                .replace("\\\"", "\"")
        })
        .filter(|part| part.chars().filter(|c| c.is_alphabetic()).count() >= 2)
        .collect()
}

/// Modules that no program calls yet, so nothing writes their messages.
const NOT_USED_YET: [&str; 2] = [
    "shared/model/src/change/path.rs",
    "recorder/ingest/src/body/",
];

/// Messages for users: log, errors, failed starts.
fn messages() -> Vec<(PathBuf, String)> {
    let calls = ["warn!", "error!", "#[error", "anyhow!", "bail!", ".context"];
    let mut found = Vec::new();
    for (path, code) in shipped_code() {
        if NOT_USED_YET
            .iter()
            .any(|part| path.to_string_lossy().contains(part))
        {
            continue;
        }
        for call in calls {
            for (at, _) in code.match_indices(&format!("{call}(")) {
                // The last one, after the fields.
                if let Some(message) = literals_of_call(&code[at + call.len()..]).pop() {
                    found.push((path.clone(), message));
                }
            }
        }
    }
    found
}

/// Reasons of rows that kube9 writes itself: lifecycle and changes of objects.
fn own_reasons() -> BTreeSet<String> {
    let is_camel = |word: &str| {
        let capitals = word.chars().filter(char::is_ascii_uppercase).count();
        capitals > 1
            && capitals < word.len()
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphabetic())
    };
    let mut found = BTreeSet::new();
    for (path, code) in shipped_code() {
        let path = path.to_string_lossy().into_owned();
        let is_of_changes = path.contains("/rules/src/changes/");
        if is_of_changes || path.contains("/store/src/") || path.ends_with("/src/lifecycle.rs") {
            let literals = code.split('"').skip(1).step_by(2);
            found.extend(literals.filter(|word| is_camel(word)).map(str::to_owned));
        }
        let makers: &[&str] = if is_of_changes {
            &["row("]
        } else if path.ends_with("/src/change_row.rs") {
            &["simple(", "Words::new("]
        } else {
            &[]
        };
        for maker in makers {
            let calls = code.split(maker).skip(1);
            let first =
                calls.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next());
            found.extend(first.map(str::to_owned));
        }
    }
    found
}

#[test]
fn recorder_rows_are_documented() {
    let page = read("docs/messages.md");
    let reasons = own_reasons();
    assert!(reasons.len() >= 30, "only {reasons:?} found");
    let explained = |reason: &&String| page.contains(&format!("`{reason}`"));
    let missing: Vec<&String> = reasons.iter().filter(|reason| !explained(reason)).collect();
    assert!(missing.is_empty(), "docs/messages.md lacks {missing:?}");
}

#[test]
fn recorder_row_reasons_differ_from_kubernetes_reasons() {
    let list = read("recorder/rules/src/tests/kubernetes-reasons.txt");
    let reasons: BTreeSet<&str> = list.lines().collect();
    assert!(reasons.contains("NodeNotReady"), "the list is cut");
    let own = own_reasons();
    let taken: Vec<&String> = own
        .iter()
        .filter(|own| reasons.contains(own.as_str()))
        .collect();
    assert!(taken.is_empty(), "{taken:?}");
}

#[test]
fn log_messages_are_documented() {
    let page = read("docs/messages.md");
    let messages = messages();
    assert!(messages.len() > 80, "only {} found", messages.len());
    let mut missing = Vec::new();
    for (path, message) in &messages {
        for part in words(message) {
            if !page.contains(&part) {
                missing.push(format!("{}: {message:?}: {part:?}", path.display()));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "docs/messages.md lacks\n{}",
        missing.join("\n")
    );
}

#[test]
fn documented_messages_exist_in_code() {
    let page = read("docs/messages.md");
    let code: String = shipped_code().into_iter().map(|(_, code)| code).collect();
    let code = code.replace("\\\"", "\"");
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let mut explained = 0;
    for row in rows {
        // The message is in the first column, or after its level.
        let cells: Vec<&str> = row.split(" | ").collect();
        let column = usize::from(["| warning", "| error"].contains(&cells[0]));
        for message in quoted(cells[column]) {
            explained += 1;
            let fixed = message.split('‹').flat_map(|part| part.rsplit('›').next());
            for part in fixed.map(|part| part.trim_matches(|c: char| !c.is_alphanumeric())) {
                assert!(code.contains(part), "nothing writes {message:?}: {part:?}");
            }
        }
    }
    assert!(explained > 80, "only {explained} found");
}

/// The chart repeats a few defaults because Kubernetes needs them too.
#[test]
fn chart_values_equal_configuration_defaults() {
    let values: Value = serde_yaml::from_str(&read("charts/kube9/values.yaml")).unwrap();
    let at = |path: &str| values.pointer(path).unwrap_or_else(|| panic!("no {path}"));
    let time = |path: &str| <Duration as SettingValue>::parse(at(path).as_str().unwrap()).unwrap();
    let number = |path: &str| at(path).as_f64().unwrap();
    let config = Config::default();

    assert_eq!(number("/recorder/port"), f64::from(config.listen.port()));
    assert_eq!(at("/recorder/bindAddress"), &config.listen.ip().to_string());
    assert_eq!(
        time("/retention/infoWarning"),
        config.retention.info_warning
    );
    assert_eq!(
        time("/retention/errorCritical"),
        config.retention.error_critical
    );
    assert_eq!(time("/retention/revisions"), config.retention.revisions);
    assert_eq!(at("/changes/enabled"), config.changes.enabled);
    assert_eq!(config.changes.kinds, config.changes.resources);
    let grace = number("/terminationGracePeriodSeconds");
    assert!(grace > config.shutdown_grace.as_secs_f64());

    // An alert must not fire on a healthy system.
    let alert = |path: &str| number(&format!("/prometheusRule/alerts/{path}/threshold"));
    let clean_up = config.retention.interval.as_secs_f64();
    assert!(alert("Kube9RetentionStale") > 2.0 * clean_up);
    let renewal = config.source.idle_renewal.as_secs_f64();
    assert!(alert("Kube9WatchSilent") > 2.0 * renewal + config.source.list_timeout.as_secs_f64());
    let waits_at = f64::from(config.queue.high_water_percent) / 100.0;
    assert!(alert("Kube9QueueNearlyFull") > waits_at);
}

/// The chart makes its roles from this file.
/// `KUBE9_UPDATE=1 .ci/generated tests` writes it.
#[test]
fn chart_kinds_page_is_generated() {
    let mut text =
        "# Written by a test from shared/model/src/change/kinds.rs.\nkinds:\n".to_owned();
    for kind in &BUILT_IN {
        let (resource, group, namespaced) = (&kind.resource, &kind.group, kind.namespaced);
        text += &format!(
            "  - {{resource: {resource}, group: \"{group}\", namespaced: {namespaced}}}\n"
        );
    }
    text += "presets:\n";
    for (name, resources) in PRESETS {
        text += &format!("  {name}:\n");
        for resource in *resources {
            text += &format!("    - {resource}\n");
        }
    }
    let path = root().join("charts/kube9/tracked.yaml");
    if std::env::var_os("KUBE9_UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    assert!(written == text, "charts/kube9/tracked.yaml is out of date");
    let page_of_kinds = read("docs/install.md");
    for kind in &BUILT_IN {
        assert!(page_of_kinds.contains(&format!("`{}`", kind.resource)));
    }
    assert!(page_of_kinds.contains(&format!("the changes of {} kinds", BUILT_IN.len())));
    // Both name the presets for people.
    for page in ["charts/kube9/values.yaml", "docs/configuration.md"] {
        let page = read(page);
        for (name, _) in PRESETS {
            assert!(page.contains(&format!("`{name}`")), "no preset {name}");
        }
    }
}

#[test]
fn alerts_and_runbooks_match() {
    let values: Value = serde_yaml::from_str(&read("charts/kube9/values.yaml")).unwrap();
    let page = read("docs/operations.md");
    let alerts = values["prometheusRule"]["alerts"].as_object().unwrap();
    let mut runbooks: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|name| name.starts_with("Kube9"))
        .collect();
    runbooks.sort_unstable();
    let mut names: Vec<&str> = alerts.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, runbooks);
}

/// Links between documents and headings, as GitHub resolves them.
#[test]
fn document_links_resolve() {
    let mut pages = vec![
        root().join("README.md"),
        root().join("CONTRIBUTING.md"),
        root().join("SECURITY.md"),
        root().join("CHANGELOG.md"),
    ];
    for folder in ["docs", "docs/adr", "charts/kube9"] {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        pages.extend(entries.map(|entry| entry.unwrap().path()));
    }
    pages.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    let mut links = 0;
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            links += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", page.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let mut headings = text
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .map(anchor);
                assert!(
                    headings.any(|anchor| anchor == heading),
                    "{}: {link}",
                    page.display()
                );
            }
        }
    }
    assert!(links > 40, "only {links} found");
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Doc tests are disabled: an example in a comment would not be tested.
#[test]
fn comments_contain_no_doctests() {
    for path in files(&root()) {
        let code = fs::read_to_string(&path).unwrap();
        let fences = code
            .lines()
            .filter_map(|line| {
                line.trim_start()
                    .strip_prefix("//")?
                    .strip_prefix(['/', '!'])
            })
            .filter_map(|line| line.trim().strip_prefix("```"));
        let no_code = ["text", "yaml", "json", "sh", "sql"];
        let examples: Vec<&str> = fences
            .step_by(2)
            .filter(|kind| !no_code.contains(kind))
            .collect();
        assert!(examples.is_empty(), "{}: {examples:?}", path.display());
    }
}
