//! Loads the configuration from all layers, or reports all problems.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Config, Environment, Flags, Layers, Location, LogFormat, MOUNTED, Problem, Setting};

/// All problems of the configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The config file, if there is one.
    pub file: Option<PathBuf>,
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "invalid configuration (config file {}):", file.display())?,
            None => write!(f, "invalid configuration:")?,
        }
        self.problems
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}

/// A valid configuration, and warnings to log.
#[derive(Debug)]
pub struct Loaded {
    /// The effective configuration.
    pub config: Config,
    /// Problems that are probably typing errors.
    pub warnings: Vec<String>,
}

impl Config {
    /// Loads the configuration. The config file is `file`, else `KUBE9_CONFIG`, else none; in a pod only the mounted file is
    /// read.
    ///
    /// # Errors
    /// All problems in any layer.
    pub fn load(
        file: Option<&Path>,
        flags: &Flags,
        environment: &dyn Environment,
    ) -> Result<Loaded, ConfigError> {
        let variable = environment
            .get("KUBE9_CONFIG")
            .filter(|name| !name.is_empty())
            .map(PathBuf::from);
        let named = file
            .map(|file| ("--config", file))
            .or_else(|| Some(("KUBE9_CONFIG", variable.as_deref()?)));
        let file = match (environment.location(), named) {
            (Location::Elsewhere, named) => named.map(|(_, file)| file.to_owned()),
            (Location::Pod, named) => {
                let mounted = Path::new(MOUNTED);
                // The file is not read: an error could show its content.
                if let Some((source, file)) = named.filter(|(_, file)| *file != mounted) {
                    let message = format!(
                        "inside a pod no config file is read but {MOUNTED}: leave {source} out"
                    );
                    return Err(rejected(file, source, &message));
                }
                (named.is_some() || mounted.exists()).then(|| mounted.to_owned())
            }
        };
        let text = match &file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|error| {
                rejected(path, "config file", &format!("cannot read it: {error}"))
            })?,
        };
        Self::from_text(&text, flags, environment)
            .map_err(|problems| ConfigError { file, problems })
    }

    /// Loads the configuration from the text of a config file and the other layers.
    ///
    /// # Errors
    /// All problems in any layer.
    pub fn from_text(
        text: &str,
        flags: &Flags,
        environment: &dyn Environment,
    ) -> Result<Loaded, Vec<Problem>> {
        let tree = parse_yaml(text).map_err(|message| {
            vec![Problem {
                path: String::new(),
                source: "config file".to_owned(),
                message,
            }]
        })?;
        let mut layers = Layers::new(flags, environment, tree);
        let config = Self::read(&mut layers, "", Self::defaults(environment), None, None);
        layers.finish();
        config.validate(&mut layers);
        if !layers.problems.is_empty() {
            return Err(layers.problems);
        }
        let warnings = layers
            .unknown_variables()
            .into_iter()
            .map(|name| format!("unknown environment variable {name}"))
            .collect();
        Ok(Loaded { config, warnings })
    }

    /// The defaults for a pod or for elsewhere.
    fn defaults(environment: &dyn Environment) -> Self {
        let mut config = Self::default();
        if environment.location() == Location::Elsewhere {
            config.data_dir = PathBuf::from("./kube9-data");
            config.log.format = LogFormat::Text;
        }
        config
    }
}

/// An error about a file that was not read.
fn rejected(path: &Path, source: &str, message: &str) -> ConfigError {
    let problem = Problem {
        path: String::new(),
        source: source.to_owned(),
        message: message.to_owned(),
    };
    ConfigError {
        file: Some(path.to_owned()),
        problems: vec![problem],
    }
}

pub(super) fn parse_yaml(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    // Without the lines around the error: a file that was named by mistake may contain a secret.
    serde_yaml::from_str(text)
        .map_err(|error| format!("not valid YAML: {}", error.without_snippet()))
}
