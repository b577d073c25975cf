//! The command line: options of the plugin, then a command for the pod.

use std::ffi::OsString;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;

use crate::error::PluginError;
use crate::kubectl::Kubectl;

/// Query the kube9 record of a cluster, or of several
///
/// Finds the pod of kube9 and runs COMMAND with its kube9-query. Options of the plugin come before COMMAND.
#[derive(Debug, Parser)]
#[command(name = "kubectl kube9", bin_name = "kubectl kube9", version, after_help = EXAMPLES)]
pub(crate) struct Plugin {
    /// Namespace of the kube9 pod [env: KUBE9_NAMESPACE] [default: looked for in all namespaces]
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Helm release, where a cluster has several
    #[arg(long, value_name = "RELEASE")]
    pub(crate) release: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "CONTEXT", conflicts_with_all = ["contexts", "all_contexts"])]
    pub(crate) context: Option<String>,
    /// Path of the kubeconfig
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<OsString>,
    /// User to impersonate
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// Group to impersonate; may be repeated
    #[arg(long = "as-group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Ask all clusters whose contexts match; a glob with * and ?, comma-separated
    ///
    /// For: events list, events stats, events watch, changes, findings, status.
    #[arg(
        long,
        value_name = "GLOB",
        value_delimiter = ',',
        conflicts_with = "all_contexts"
    )]
    pub(crate) contexts: Vec<String>,
    /// Ask the clusters of all contexts
    #[arg(long)]
    pub(crate) all_contexts: bool,
    /// Time limit of one cluster in seconds, with several contexts
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u16).range(1..=300))]
    cluster_timeout: u16,
    /// Command of kube9-query with its options, or install-check
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true
    )]
    pub(crate) words: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl kube9 install-check
  kubectl kube9 status
  kubectl kube9 -n monitoring events list --since=1h --severity=warning+
  kubectl kube9 object diff deploy/web/shop --from=2h --to=now
  kubectl kube9 --contexts='prod-*' changes --since=1h

'kubectl kube9 COMMAND --help' shows the options of a command of the pod.

Exit codes: those of kube9-query; 1 no pod, or kubectl failed; 2 invalid usage; 3 not all clusters answered.";

/// Options of the plugin that a person may write behind the command; kube9-query has none of these names.
const OURS: [&str; 8] = [
    "--namespace",
    "--release",
    "--context",
    "--kubeconfig",
    "--as",
    "--as-group",
    "--contexts",
    "--all-contexts",
];

/// What a command line asks for.
pub(crate) enum Parsed {
    Run(Box<Plugin>),
    /// The text of `--help` or `--version`.
    Help(String),
}

/// Reads a command line, whose first word is the program's name.
pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Parsed, PluginError> {
    let plugin = match Plugin::try_parse_from(words) {
        Ok(plugin) => plugin,
        Err(error) => {
            let text = error.to_string();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Parsed::Help(text)),
                _ => Err(PluginError::Usage(
                    text.strip_prefix("error: ").unwrap_or(&text).to_owned(),
                )),
            };
        }
    };
    for word in plugin.words.iter().skip(1) {
        let word = word.to_string_lossy();
        let name = word.split('=').next().unwrap_or_default();
        if OURS.contains(&name) {
            return Err(PluginError::Usage(format!(
                "{name} must come before the command: kubectl kube9 {name} … {}",
                plugin.words[0].to_string_lossy()
            )));
        }
    }
    Ok(Parsed::Run(Box::new(plugin)))
}

impl Plugin {
    /// kubectl with the options that name a cluster and a user; of another context if one is given.
    pub(crate) fn kubectl(&self, context: Option<&str>) -> Kubectl {
        let mut flags: Vec<OsString> = Vec::new();
        let mut flag = |name: &str, value: &OsString| {
            let mut flag = OsString::from(format!("--{name}="));
            flag.push(value);
            flags.push(flag);
        };
        if let Some(context) = context.or(self.context.as_deref()) {
            flag("context", &context.into());
        }
        if let Some(file) = &self.kubeconfig {
            flag("kubeconfig", file);
        }
        if let Some(user) = &self.user {
            flag("as", &user.into());
        }
        for group in &self.groups {
            flag("as-group", &group.into());
        }
        Kubectl::new(flags)
    }

    /// How long one of several clusters may take.
    pub(crate) fn cluster_timeout(&self) -> Duration {
        Duration::from_secs(self.cluster_timeout.into())
    }

    /// The namespace that the command line or the environment names.
    pub(crate) fn named_namespace(&self) -> Option<String> {
        let from_env = || std::env::var_os("KUBE9_NAMESPACE")?.into_string().ok();
        self.namespace
            .clone()
            .or_else(from_env)
            .filter(|namespace| !namespace.is_empty())
    }
}
