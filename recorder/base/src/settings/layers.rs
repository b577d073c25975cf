//! The layers of settings: flags over environment over file over default.
//!
//! Every layer that sets a value is checked, also if another layer overrides it, so that a wrong value is reported now and
//! not when the override is removed.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::location::{Location, MOUNTED};
use super::setting::{Origin, SettingValue};

/// A source of environment variables; tests use a map.
pub trait Environment {
    /// The value of a variable; `None` if it is not set.
    fn get(&self, name: &str) -> Option<String>;

    /// The names of all variables.
    fn names(&self) -> Vec<String>;

    /// Whether this is the environment of a process in a pod. The service's host may be empty.
    fn location(&self) -> Location {
        Location::pod_if(self.get("KUBERNETES_SERVICE_HOST").is_some())
    }
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    /// A value that is not UTF-8 is read with replacement characters, so that its setting rejects it.
    fn get(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .collect()
    }

    fn location(&self) -> Location {
        Location::here()
    }
}

impl Environment for BTreeMap<&str, &str> {
    fn get(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| (*value).to_owned())
    }

    fn names(&self) -> Vec<String> {
        self.keys().map(|name| (*name).to_owned()).collect()
    }
}

/// Settings given by flags: the path of the setting, and the text.
pub type Flags = Vec<(&'static str, String)>;

/// Variables that set a setting in addition to `KUBE9_` and its path: path, name, and unit of a bare number.
pub const ALIASES: [(&str, &str, &str); 8] = [
    // The names of the flags.
    ("kube.kubeconfig", "KUBE9_KUBECONFIG", ""),
    ("kube.context", "KUBE9_CONTEXT", ""),
    ("kube.namespaces", "KUBE9_NAMESPACE", ""),
    // From the downward API.
    ("kube.pod_name", "POD_NAME", ""),
    ("kube.pod_namespace", "POD_NAMESPACE", ""),
    // Set by the chart for the VS Code extension.
    ("kube.status_configmap", "KUBE9_STATUS_CONFIGMAP", ""),
    (
        "retention.info_warning",
        "EVENT_RETENTION_INFO_WARNING_DAYS",
        "d",
    ),
    (
        "retention.error_critical",
        "EVENT_RETENTION_ERROR_CRITICAL_DAYS",
        "d",
    ),
];

/// A problem of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the setting, e.g. `queue.capacity`; for a list with the index, e.g. `filters[2]`.
    pub path: String,
    /// Its layer, e.g. `config file` or `environment KUBE9_LISTEN`.
    pub source: String,
    /// The problem.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return write!(f, "{}: {}", self.source, self.message);
        }
        write!(f, "{} ({}): {}", self.path, self.source, self.message)
    }
}

/// Name of the variable that sets the setting at `path`.
pub fn variable(path: &str) -> String {
    format!("KUBE9_{}", path.replace('.', "_").to_uppercase())
}

const FILE: &str = "config file";

/// All layers, and the problems that were found.
pub struct Layers<'a> {
    flags: &'a Flags,
    environment: &'a dyn Environment,
    /// Where the process runs.
    pub location: Location,
    /// Settings are removed as they are read; the rest is unknown.
    file: Value,
    known: Vec<String>,
    sections: Vec<String>,
    /// The problems, in the order of the settings.
    pub problems: Vec<Problem>,
}

impl<'a> Layers<'a> {
    /// Layers over a parsed config file (`Null` when there is none).
    pub fn new(flags: &'a Flags, environment: &'a dyn Environment, file: Value) -> Self {
        let mut layers = Self {
            flags,
            environment,
            location: environment.location(),
            file,
            known: Vec::new(),
            sections: Vec::new(),
            problems: Vec::new(),
        };
        if layers.file.is_null() {
            layers.file = Value::Object(Map::new());
        } else if !layers.file.is_object() {
            layers.problem("", FILE, "the file is not a mapping of settings");
        }
        layers
    }

    /// Adds a problem.
    pub fn problem(&mut self, path: &str, source: &str, message: impl Into<String>) {
        let (source, message) = (source.to_owned(), message.into());
        self.problems.push(Problem {
            path: path.to_owned(),
            source,
            message,
        });
    }

    /// Variables that begin with `KUBE9_` but belong to no setting.
    pub fn unknown_variables(&self) -> Vec<String> {
        let known = self.known.iter().flat_map(|path| self.variables(path));
        let known: Vec<String> = known.map(|(name, _)| name).collect();
        let mut unknown: Vec<String> = self
            .environment
            .names()
            .into_iter()
            .filter(|name| name.starts_with("KUBE9_") && !known.contains(name))
            .filter(|name| !OTHER_VARIABLES.contains(&name.as_str()) && !is_service_link(name))
            .collect();
        unknown.sort();
        unknown
    }

    /// Reports the unknown keys of the file. Call it last.
    pub fn finish(&mut self) {
        let mut unknown = Vec::new();
        self.leftover("", &self.file, &mut unknown);
        for path in unknown {
            let section = path.rsplit_once('.').map_or("", |(section, _)| section);
            let siblings = self.children(section).join(", ");
            self.problem(&path, FILE, format!("unknown key; known here: {siblings}"));
        }
    }

    fn leftover(&self, prefix: &str, value: &Value, unknown: &mut Vec<String>) {
        let Value::Object(map) = value else { return };
        for (key, value) in map {
            let path = join(prefix, key);
            if self.sections.contains(&path) {
                self.leftover(&path, value, unknown);
            } else {
                unknown.push(path);
            }
        }
    }

    /// Names of the settings and sections directly in `section`.
    fn children(&self, section: &str) -> Vec<&str> {
        let mut children = Vec::new();
        for path in &self.known {
            let inner = if section.is_empty() {
                Some(path.as_str())
            } else {
                path.strip_prefix(section)
                    .and_then(|rest| rest.strip_prefix('.'))
            };
            if let Some(name) = inner.and_then(|rest| rest.split('.').next())
                && !children.contains(&name)
            {
                children.push(name);
            }
        }
        children
    }

    fn peek(&self, path: &str) -> Option<&Value> {
        path.split('.')
            .try_fold(&self.file, |value, key| value.get(key))
    }

    fn take(&mut self, path: &str) -> Option<Value> {
        let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
        let mut value = &mut self.file;
        for step in section.split('.').filter(|step| !step.is_empty()) {
            value = value.get_mut(step)?;
        }
        value
            .as_object_mut()?
            .shift_remove(key)
            .filter(|value| !value.is_null())
    }

    /// The value of a variable. An empty value counts as unset, because charts render unset values as empty.
    fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).filter(|value| !value.is_empty())
    }

    /// The variables that set `path`, highest priority first, with the unit of a bare number.
    fn variables(&self, path: &str) -> Vec<(String, &'static str)> {
        let aliases = ALIASES.iter().filter(|(p, _, _)| *p == path);
        std::iter::once((variable(path), ""))
            .chain(aliases.map(|(_, name, unit)| ((*name).to_owned(), *unit)))
            .collect()
    }

    fn accept<T: SettingValue>(
        &mut self,
        path: &str,
        source: &str,
        given: &str,
        value: Option<T>,
        bounds: Option<&RangeInclusive<T>>,
    ) -> Option<T> {
        let Some(value) = value else {
            self.problem(path, source, format!("{given} is not {}", T::WHAT));
            return None;
        };
        if let Some(bounds) = bounds.filter(|bounds| !value.within(bounds)) {
            let (low, high) = (
                plain(&bounds.start().to_yaml()),
                plain(&bounds.end().to_yaml()),
            );
            self.problem(
                path,
                source,
                format!("{given} is not between {low} and {high}"),
            );
            return None;
        }
        Some(value)
    }

    /// Rejects a setting that may only come from the mounted file; its value is neither read nor printed.
    fn reject_unmounted(&mut self, path: &str, source: &str) {
        let message =
            format!("inside a pod this can only be set in {MOUNTED} (chart value config.{path})");
        self.problem(path, source, message);
    }

    fn leaf<T: SettingValue>(
        &mut self,
        path: &str,
        default: T,
        bounds: Option<&RangeInclusive<T>>,
        origin: Origin,
    ) -> T {
        self.known.push(path.to_owned());
        let mut found = None;
        let mounted_alone = self.location == Location::Pod && origin == Origin::Mounted;
        let flags: Vec<String> = self
            .flags
            .iter()
            .filter(|(p, _)| *p == path)
            .map(|(_, text)| text.clone())
            .collect();
        for text in flags {
            if mounted_alone {
                self.reject_unmounted(path, "flag");
                continue;
            }
            let value = self.accept(path, "flag", &format!("{text:?}"), T::parse(&text), bounds);
            found = found.or(value);
        }
        for (name, unit) in self.variables(path) {
            if let Some(text) = self.variable(&name) {
                let source = format!("environment {name}");
                if mounted_alone {
                    self.reject_unmounted(path, &source);
                    continue;
                }
                let parsed = T::parse(&format!("{text}{unit}"));
                let value = self.accept(path, &source, &format!("{text:?}"), parsed, bounds);
                found = found.or(value);
            }
        }
        if let Some(yaml) = self.take(path) {
            let value = self.accept(path, FILE, &yaml.to_string(), T::from_yaml(&yaml), bounds);
            found = found.or(value);
        }
        found.unwrap_or(default)
    }
}

/// Variables of the project that are not settings of the recorder.
const OTHER_VARIABLES: [&str; 3] = ["KUBE9_CONFIG", "KUBE9_DB", "KUBE9_REVISION"];

/// Whether Kubernetes sets this variable for a Service named `kube9` or `kube9-…` in the same namespace.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_PORT")
        || name.contains("_SERVICE_PORT")
        || name.contains("_TCP")
        || name.contains("_UDP")
}

/// A setting or a section of settings.
pub trait Setting: Sized {
    /// Reads it from the layers, or returns `default`. Problems are added to the layers.
    /// `declared` is the origin in the declaration of the setting.
    fn read(
        layers: &mut Layers<'_>,
        path: &str,
        default: Self,
        bounds: Option<RangeInclusive<Self>>,
        declared: Option<Origin>,
    ) -> Self;

    /// The value as it is in the config file.
    fn to_yaml(&self) -> Value;

    /// Adds its settings, with their documentation, to `out`.
    fn document(
        &self,
        path: &str,
        bounds: Option<RangeInclusive<Self>>,
        declared: Option<Origin>,
        doc: &str,
        out: &mut Vec<SettingDoc>,
    );
}

/// One setting, as the documentation shows it.
#[derive(Debug, Clone)]
pub struct SettingDoc {
    /// Its path in the file.
    pub path: String,
    /// Its default, in YAML.
    pub default: String,
    /// The allowed range, if any.
    pub bounds: String,
    /// Where it may come from in a pod.
    pub origin: Origin,
    /// Whether the origin follows from the type or is declared.
    pub origin_declared: bool,
    /// The documentation.
    pub doc: String,
}

impl<T: SettingValue> Setting for T {
    fn read(
        layers: &mut Layers<'_>,
        path: &str,
        default: T,
        bounds: Option<RangeInclusive<T>>,
        declared: Option<Origin>,
    ) -> T {
        layers.leaf(path, default, bounds.as_ref(), origin::<T>(declared))
    }

    fn to_yaml(&self) -> Value {
        SettingValue::to_yaml(self)
    }

    fn document(
        &self,
        path: &str,
        bounds: Option<RangeInclusive<T>>,
        declared: Option<Origin>,
        doc: &str,
        out: &mut Vec<SettingDoc>,
    ) {
        let bounds = bounds.map_or_else(String::new, |bounds| {
            format!(
                "{} to {}",
                plain(&bounds.start().to_yaml()),
                plain(&bounds.end().to_yaml())
            )
        });
        out.push(SettingDoc {
            path: path.to_owned(),
            default: plain(&SettingValue::to_yaml(self)),
            bounds,
            origin: origin::<T>(declared),
            origin_declared: T::ORIGIN.or(declared).is_some(),
            doc: doc.to_owned(),
        });
    }
}

/// Where a setting of type `T` may come from. A path or an address must come from the mounted file, whatever is declared;
/// so must a text without a declaration.
fn origin<T: SettingValue>(declared: Option<Origin>) -> Origin {
    T::ORIGIN.or(declared).unwrap_or(Origin::Mounted)
}

/// A list of structured entries, in the file only. The type of an entry rejects unknown keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Entries<T>(pub Vec<T>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: DeserializeOwned + Serialize> Setting for Entries<T> {
    fn read(
        layers: &mut Layers<'_>,
        path: &str,
        default: Self,
        _: Option<RangeInclusive<Self>>,
        _: Option<Origin>,
    ) -> Self {
        layers.known.push(path.to_owned());
        let items = match layers.take(path) {
            None => return default,
            Some(Value::Array(items)) => items,
            Some(other) => {
                layers.problem(path, FILE, format!("{other} is not a list"));
                return default;
            }
        };
        let mut entries = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match serde_json::from_value(item) {
                Ok(entry) => entries.push(entry),
                Err(error) => layers.problem(&format!("{path}[{index}]"), FILE, error.to_string()),
            }
        }
        Self(entries)
    }

    fn to_yaml(&self) -> Value {
        serde_json::to_value(&self.0).unwrap_or(Value::Null)
    }

    fn document(
        &self,
        path: &str,
        _: Option<RangeInclusive<Self>>,
        _: Option<Origin>,
        doc: &str,
        out: &mut Vec<SettingDoc>,
    ) {
        out.push(SettingDoc {
            path: path.to_owned(),
            default: plain(&self.to_yaml()),
            bounds: String::new(),
            // In the file only.
            origin: Origin::Mounted,
            origin_declared: true,
            doc: doc.to_owned(),
        });
    }
}

/// Enters a section, which must be a mapping in the file, or absent.
pub fn enter_section(layers: &mut Layers<'_>, path: &str) {
    if path.is_empty() {
        return;
    }
    layers.sections.push(path.to_owned());
    if let Some(value) = layers.peek(path)
        && !value.is_object()
        && !value.is_null()
    {
        let message = format!("{value} is not a mapping of settings");
        layers.problem(path, FILE, message);
    }
}

/// The path of `key` in the section at `path`.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// A value without the quotes of a string.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
