//! `kubectl kube9`: runs `kube9-query` in the pod of kube9, in one cluster or in several.
//!
//! ```text
//!   args ── find the pod ──┬── one cluster: `kubectl exec` takes the place of this process
//!           (pod)          ├── --contexts: one `kubectl exec` for each, merged by time (fan_out)
//!                          └── install-check: what is wrong with an installation (install_check)
//! ```
//!
//! It runs `kubectl` and links no Kubernetes client: credentials, proxies and plugins for authentication stay kubectl's.

mod args;
mod error;
mod fan_out;
mod install_check;
mod kubectl;
mod pod;
mod table;

use std::ffi::OsString;
use std::io::{IsTerminal, stderr, stdin, stdout};
use std::process::ExitCode;

use args::{Parsed, Plugin};
use error::PluginError;
use pod::Pod;

fn main() -> ExitCode {
    let plugin = match args::parse(std::env::args_os()) {
        Ok(Parsed::Run(plugin)) => plugin,
        Ok(Parsed::Help(text)) => return error::print(&text),
        Err(failure) => return failure.report(),
    };
    match run(&plugin) {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}

fn run(plugin: &Plugin) -> Result<ExitCode, PluginError> {
    if plugin
        .words
        .first()
        .is_some_and(|word| word == "install-check")
    {
        return install_check::run(plugin);
    }
    let contexts = fan_out::contexts(plugin)?;
    if let Some(contexts) = contexts {
        return fan_out::run(plugin, &contexts);
    }
    let pod = pod::find(plugin, &plugin.kubectl(None))?;
    pass_through(plugin, &pod)
}

/// Runs one command as if it were `kube9-query` here: the same streams, signals and exit code.
fn pass_through(plugin: &Plugin, pod: &Pod) -> Result<ExitCode, PluginError> {
    // A pseudo-terminal gives the pod the size of this one, also when it changes. It has one output stream: where stderr
    // goes elsewhere, the two are kept apart instead.
    let is_terminal = stdin().is_terminal() && stdout().is_terminal() && stderr().is_terminal();
    let flags: &[&str] = if is_terminal {
        &["-i", "-t"]
    } else if reads_stdin(&plugin.words) {
        &["-i"]
    } else {
        &[]
    };
    kubectl::replace(&mut plugin.kubectl(None).exec(pod, flags, &plugin.words))
}

/// Commands that read stdin, or for which its end means that the client has disconnected. Others must not take the input
/// of a loop in a script.
fn reads_stdin(words: &[OsString]) -> bool {
    words
        .iter()
        .any(|word| word == "watch" || word == "--follow" || word == "mcp" || word == "-")
}
