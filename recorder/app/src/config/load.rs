//! Loading: from the layers to a valid configuration, or to everything that is wrong.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Config, Environment, Flags, Layers, LogFormat, MOUNTED, Place, Problem, Setting};

/// Everything that is wrong with the configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The config file, if one was named.
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

/// A valid configuration, and what deserves a warning once there is a log.
#[derive(Debug)]
pub struct Loaded {
    /// The effective configuration.
    pub config: Config,
    /// Sentences about what is legal but probably not meant.
    pub warnings: Vec<String>,
}

impl Config {
    /// Loads the configuration. The file is `file`, else the one that `KUBE9_CONFIG` names, else none; inside a pod it is
    /// the mounted one, and no other is read.
    ///
    /// # Errors
    /// Everything that is wrong in any layer.
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
        let file = match (environment.place(), named) {
            (Place::Elsewhere, named) => named.map(|(_, file)| file.to_owned()),
            (Place::Pod, named) => {
                let mounted = Path::new(MOUNTED);
                // What it was is not looked at: an error about its content would show that.
                if let Some((source, file)) = named.filter(|(_, file)| *file != mounted) {
                    let message = format!(
                        "inside a pod no config file is read but {MOUNTED}: leave {source} out"
                    );
                    return Err(refused(file, source, &message));
                }
                (named.is_some() || mounted.exists()).then(|| mounted.to_owned())
            }
        };
        let text = match &file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|error| {
                refused(path, "config file", &format!("cannot read it: {error}"))
            })?,
        };
        Self::from_text(&text, flags, environment)
            .map_err(|problems| ConfigError { file, problems })
    }

    /// The configuration that a config file's text and the other layers make.
    ///
    /// # Errors
    /// Everything that is wrong in any layer.
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

    /// The defaults where this process runs: in a pod, or elsewhere.
    fn defaults(environment: &dyn Environment) -> Self {
        let mut config = Self::default();
        if environment.place() == Place::Elsewhere {
            config.data_dir = PathBuf::from("./kube9-data");
            config.log.format = LogFormat::Text;
        }
        config
    }
}

/// Nothing of the file itself has been read.
fn refused(path: &Path, source: &str, message: &str) -> ConfigError {
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
    // Without the lines around the fault: a file that was named by mistake may hold a secret.
    serde_yaml::from_str(text)
        .map_err(|error| format!("not valid YAML: {}", error.without_snippet()))
}
