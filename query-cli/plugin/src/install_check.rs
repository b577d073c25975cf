//! `install-check`: what is wrong with an installation, in the order in which a person would look.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::args::Plugin;
use crate::error::PluginError;
use crate::kubectl::{self, Kubectl};
use crate::pod::{self, Pod};
use crate::table::safe;

/// For one request.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What a step found: something to show, or a problem and its fix.
type Step = Result<String, (String, &'static str)>;

/// Prints each step until one fails that the later ones need.
pub(crate) fn run(plugin: &Plugin) -> Result<ExitCode, PluginError> {
    if plugin.words.len() > 1 {
        return Err(PluginError::Usage(
            "install-check takes no options".to_owned(),
        ));
    }
    let mut report = Report::default();
    check(plugin, &mut report);
    let code = crate::error::print(&report.text);
    Ok(if report.failed {
        ExitCode::FAILURE
    } else {
        code
    })
}

#[derive(Default)]
struct Report {
    text: String,
    failed: bool,
}

impl Report {
    /// Adds a step; whether the next one makes sense.
    fn add(&mut self, name: &str, step: Step) -> bool {
        let line = match &step {
            Ok(found) => format!("ok    {name}: {}\n", indented(found)),
            Err((problem, fix)) => {
                self.failed = true;
                format!("FAIL  {name}: {}\n      → {fix}\n", indented(problem))
            }
        };
        self.text.push_str(&line);
        step.is_ok()
    }
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(safe).collect();
    lines.join("\n      ")
}

fn check(plugin: &Plugin, report: &mut Report) {
    let kubectl = plugin.kubectl(None);
    if !report.add("context", context(plugin, &kubectl))
        || !report.add("API server", server(&kubectl))
    {
        return;
    }
    let pod = match pod::candidates(plugin, &kubectl).and_then(pod::choose) {
        Ok(pod) => pod,
        Err(error) => {
            report.add("pod", Err(not_found(error)));
            return;
        }
    };
    let place = format!("{} in namespace {}", pod.name, pod.namespace);
    let is_running = match &pod.problem {
        None => report.add("pod", Ok(place)),
        Some(problem) => report.add(
            "pod",
            Err((
                format!("{place} {problem}"),
                "see 'kubectl describe pod' and 'kubectl logs' of its containers; docs/install.md lists what it needs",
            )),
        ),
    };
    let is_allowed = report.add("permission", permission(&kubectl, &pod));
    if !is_running || !is_allowed || !report.add("exec", exec(&kubectl, &pod)) {
        return;
    }
    status(&kubectl, &pod, report);
}

fn context(plugin: &Plugin, kubectl: &Kubectl) -> Step {
    if let Some(context) = &plugin.context {
        return Ok(context.clone());
    }
    let fix = "choose one with 'kubectl config use-context NAME', or pass --context";
    match kubectl.lines(&["config", "current-context"], TIMEOUT) {
        Ok(lines) if lines.iter().any(|line| !line.is_empty()) => Ok(lines.join(" ")),
        Ok(_) => Err(("the kubeconfig has no current context".to_owned(), fix)),
        Err(error) => Err((error.into_text(), fix)),
    }
}

fn server(kubectl: &Kubectl) -> Step {
    let fix = "check the network, the VPN and the credentials: 'kubectl version' must show the server's version";
    let mut command = kubectl.command(["version", "-o", "json", "--request-timeout=10s"]);
    let answer =
        kubectl::finish(&mut command, TIMEOUT).map_err(|error| (error.into_text(), fix))?;
    let version: Value = serde_json::from_slice(&answer.stdout).unwrap_or_default();
    match version["serverVersion"]["gitVersion"].as_str() {
        Some(version) if answer.code == Some(0) => Ok(version.to_owned()),
        _ => Err((kubectl::message(&answer.stderr), fix)),
    }
}

fn not_found(error: PluginError) -> (String, &'static str) {
    let fix = match &error {
        PluginError::Usage(_) => "pass one of these before the command",
        PluginError::Failed(_) => {
            "name the namespace with -n; if kube9 is not installed, see docs/install.md; if you may not list pods, ask for a \
             RoleBinding to the Role kube9-reader"
        }
    };
    (error.into_text(), fix)
}

fn permission(kubectl: &Kubectl, pod: &Pod) -> Step {
    // `pods/exec` would be the pod with the name `exec`.
    let words = [
        "auth",
        "can-i",
        "create",
        "pods",
        "--subresource=exec",
        "-n",
        &pod.namespace,
    ];
    let mut command = kubectl.command(words);
    let fix = "ask for a RoleBinding to the Role kube9-reader in this namespace (docs/install.md, Access)";
    let answer =
        kubectl::finish(&mut command, TIMEOUT).map_err(|error| (error.into_text(), fix))?;
    if String::from_utf8_lossy(&answer.stdout).trim() == "yes" {
        Ok("may exec into pods of the namespace".to_owned())
    } else {
        Err((
            format!("may not create pods/exec in namespace {}", pod.namespace),
            fix,
        ))
    }
}

fn exec(kubectl: &Kubectl, pod: &Pod) -> Step {
    let mut command = kubectl.exec(pod, &[], &["--version".into()]);
    let fix = "read the message: an admission policy may deny the exec, the container may lack kube9-query, or a proxy may not \
               pass on WebSocket connections";
    let answer =
        kubectl::finish(&mut command, TIMEOUT).map_err(|error| (error.into_text(), fix))?;
    if answer.code == Some(0) {
        Ok(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
    } else {
        Err((kubectl::message(&answer.stderr), fix))
    }
}

/// Whether the recorder works, and whether the record is complete.
fn status(kubectl: &Kubectl, pod: &Pod, report: &mut Report) {
    let mut command = kubectl.exec(pod, &[], &["status".into(), "--format=json".into()]);
    let see = "see 'kubectl kube9 status', and 'kubectl logs -c recorder' of the pod";
    let answer = match kubectl::finish(&mut command, TIMEOUT) {
        Ok(answer) => answer,
        Err(error) => {
            report.add("status", Err((error.into_text(), see)));
            return;
        }
    };
    let Ok(status) = serde_json::from_slice::<Value>(&answer.stdout) else {
        report.add("status", Err((kubectl::message(&answer.stderr), see)));
        return;
    };
    let texts = |key: &str| -> Vec<String> {
        let all = status[key].as_array().into_iter().flatten();
        all.filter_map(|one| one.as_str().map(str::to_owned))
            .collect()
    };
    let word = status["status"].as_str().unwrap_or("unknown").to_owned();
    let reasons = texts("reasons");
    report.add(
        "status",
        if word == "operational" {
            Ok(word)
        } else if reasons.is_empty() {
            Err((word, see))
        } else {
            Err((format!("{word}\n{}", reasons.join("\n")), see))
        },
    );
    let count = |key: &str| status[key].as_u64().unwrap_or_default();
    let since = status["oldest_event"]
        .as_str()
        .unwrap_or("now: nothing is recorded yet");
    report.add(
        "record",
        Ok(format!("{} events since {since}", count("total_events"))),
    );
}
