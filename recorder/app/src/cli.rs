//! The command line. Parsing has no side effects.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use kube9_model::change::path::Pattern;

use crate::config::Flags;

/// Record the Events of a cluster, changes of its objects and findings about them in a SQLite database
#[derive(Debug, Parser)]
#[command(
    name = "kube9-recorder",
    version = crate::VERSION,
    disable_help_subcommand = true,
    after_help = "Flags override environment variables, which override the config file.\n\
                  Every setting of the file has a variable: KUBE9_QUEUE_CAPACITY for queue.capacity.\n\
                  In a pod, settings that name an address, a credential or a file must be in /etc/kube9/config.yaml.\n\
                  Exit codes: 0 success, 1 failed, 2 wrong usage or configuration, 3 a bug in kube9-recorder."
)]
pub struct Cli {
    /// The command; default `serve`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings that are given as flags.
    #[command(flatten)]
    pub settings: SettingFlags,
}

/// The commands.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Record until SIGTERM or SIGINT (default)
    ///
    /// Lists and watches Events and the tracked kinds, and writes what changes to `kube9.db` in the data directory. Serves /metrics, /healthz, /livez and /readyz.
    ///
    /// Example: kube9-recorder serve --data-dir ./kube9-data --namespace shop
    #[command(verbatim_doc_comment)]
    Serve,
    /// Write a consistent copy of the database to a file or stdout, also while a recorder is running
    ///
    /// Example: kubectl exec deploy/kube9 -c recorder -- /kube9-recorder snapshot - > kube9.db
    #[command(verbatim_doc_comment)]
    Snapshot {
        /// File to create; `-` writes to stdout and is required in a pod
        file: PathBuf,
    },
    /// Erase what is recorded of an object, some of its fields or a namespace, e.g. a secret that slipped through
    ///
    /// The recorder of the data directory does it: rows, past states and texts. With --path, the values of these fields
    /// in all past states, and the rows about changes that show them. A row says that it did. Rows of open findings stay
    /// until these close. Files that were copied before, such as snapshots, are not changed.
    ///
    /// Example: kubectl exec deploy/kube9 -c recorder -- /kube9-recorder purge configmaps/app -N shop --path=data.TOKEN
    #[command(verbatim_doc_comment)]
    Purge {
        /// The object as KIND/NAME; without it, all objects in the namespace
        #[arg(required_unless_present = "object_namespace")]
        object: Option<String>,
        /// Namespace of the object, or of all objects to erase
        #[arg(short = 'N', long, value_name = "NAMESPACE")]
        object_namespace: Option<String>,
        /// Erase only these fields of the object, such as data.TOKEN; * is one segment of a path, ** any number
        #[arg(long, value_name = "PATH", requires = "object", value_parser = field_path)]
        path: Option<String>,
    },
    /// Print the effective configuration and missing permissions
    ///
    /// The output is a valid config file. The exit code is 1 if a permission is missing.
    ///
    /// Example: kube9-recorder check --config config.yaml
    #[command(verbatim_doc_comment)]
    Check {
        /// Print the health of the recorder at URL instead, e.g. http://kube9:8080; no other flags are allowed
        #[arg(long)]
        url: Option<String>,
    },
}

/// The text of a pattern of paths.
fn field_path(text: &str) -> Result<String, String> {
    Pattern::parse(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

/// Flags that set a setting.
#[derive(Debug, Default, Args)]
pub struct SettingFlags {
    /// Config file (YAML); in a pod always /etc/kube9/config.yaml [env: KUBE9_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of the database [default: /data in a pod, otherwise ./kube9-data] [env: KUBE9_DATA_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Address of the metrics and health endpoints [default: 0.0.0.0:8080] [env: KUBE9_LISTEN]
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Option<String>,
    /// Kubeconfig file to use [env: KUBE9_KUBECONFIG, KUBECONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<String>,
    /// Context of the kubeconfig [env: KUBE9_CONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// Namespace to watch; can be repeated [default: all] [env: KUBE9_NAMESPACE]
    #[arg(long, global = true, value_name = "NAME")]
    namespace: Vec<String>,
    /// Log level: off, error, warn, info, debug or trace [default: info] [env: KUBE9_LOG_LEVEL]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Log format: json or text [default: json in a pod, otherwise text] [env: KUBE9_LOG_FORMAT]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl SettingFlags {
    /// The flags that are set, by the path of their setting.
    pub fn given(&self) -> Flags {
        let namespaces = (!self.namespace.is_empty()).then(|| self.namespace.join(","));
        let all = [
            ("data_dir", &self.data_dir),
            ("listen", &self.listen),
            ("kube.kubeconfig", &self.kubeconfig),
            ("kube.context", &self.context),
            ("kube.namespaces", &namespaces),
            ("log.level", &self.log_level),
            ("log.format", &self.log_format),
        ];
        all.into_iter()
            .filter_map(|(path, text)| Some((path, text.clone()?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use clap::CommandFactory;
    use clap::error::ErrorKind;
    use std::collections::BTreeMap;

    fn parse(line: &str) -> Cli {
        Cli::try_parse_from(line.split_whitespace()).unwrap()
    }

    #[test]
    fn command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn parse_without_a_command_serves_and_flags_may_precede_or_follow() {
        assert_eq!(parse("kube9-recorder").command, None);
        for line in [
            "kube9-recorder --data-dir /d --namespace a --namespace b",
            "kube9-recorder serve --data-dir /d --namespace a --namespace b",
            "kube9-recorder --data-dir /d --namespace a --namespace b serve",
            "kube9-recorder check --data-dir /d --namespace a --namespace b",
        ] {
            let given = parse(line).settings.given();
            let expected = vec![
                ("data_dir", "/d".to_owned()),
                ("kube.namespaces", "a,b".to_owned()),
            ];
            assert_eq!(given, expected, "{line}");
        }
    }

    #[test]
    fn flags_set_the_same_as_their_variables() {
        let help = Cli::command().render_long_help().to_string();
        let nothing = Config::from_text("", &Flags::new(), &BTreeMap::<&str, &str>::new());
        let default = nothing.unwrap().config;
        for (flag, variable, value) in [
            ("--data-dir", "KUBE9_DATA_DIR", "/elsewhere"),
            ("--listen", "KUBE9_LISTEN", "127.0.0.1:1"),
            ("--kubeconfig", "KUBE9_KUBECONFIG", "/k"),
            ("--context", "KUBE9_CONTEXT", "c"),
            ("--namespace", "KUBE9_NAMESPACE", "a,b"),
            ("--log-level", "KUBE9_LOG_LEVEL", "debug"),
            ("--log-format", "KUBE9_LOG_FORMAT", "json"),
        ] {
            let load = |flags: &Flags, vars: &[(&'static str, &'static str)]| {
                let vars: BTreeMap<_, _> = vars.iter().copied().collect();
                let loaded = Config::from_text("", flags, &vars).unwrap();
                assert_eq!(loaded.warnings, [""; 0]);
                loaded.config
            };
            let line = format!("kube9-recorder {flag} {value}");
            let by_flag = load(&parse(&line).settings.given(), &[]);
            assert_eq!(by_flag, load(&Flags::new(), &[(variable, value)]), "{flag}");
            assert_ne!(by_flag, default, "{flag}");
            assert!(help.contains(&format!("env: {variable}")), "{variable}");
        }
    }

    #[test]
    fn parse_rejects_what_is_unknown() {
        for (line, kind) in [
            ("kube9-recorder --colour", ErrorKind::UnknownArgument),
            ("kube9-recorder record", ErrorKind::InvalidSubcommand),
            (
                "kube9-recorder snapshot",
                ErrorKind::MissingRequiredArgument,
            ),
            ("kube9-recorder --version", ErrorKind::DisplayVersion),
        ] {
            let error = Cli::try_parse_from(line.split_whitespace()).unwrap_err();
            assert_eq!(error.kind(), kind, "{line}");
        }
    }
}
