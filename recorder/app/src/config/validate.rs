//! Validates settings that depend on each other.

use kube9_ingest::filter::{Filter, SeverityOverrides};

use super::{Config, Layers, Location};

impl Config {
    /// Rejects inconsistent settings.
    pub(super) fn validate(&self, layers: &mut Layers<'_>) {
        let location = layers.location;
        let mut reject =
            |path: &str, message: String| layers.problem(path, "all sources together", message);
        let rules = Filter::new(&self.filters.0).err().into_iter().flatten();
        let overrides = SeverityOverrides::new(&self.severity_overrides.0)
            .err()
            .into_iter()
            .flatten();
        for bad in rules.chain(overrides) {
            reject(&bad.path, bad.problem);
        }
        for bad in kube9_rules::rules::unknown(&self.analysis.disabled_rules) {
            reject(
                "analysis.disabled_rules",
                format!("{bad:?} is neither a rule nor a type of rules"),
            );
        }
        for (path, problem) in self.problems_of_changes() {
            reject(&path, problem);
        }
        let backoff = &self.source.backoff;
        if backoff.initial > backoff.max {
            reject(
                "source.backoff.initial",
                "is longer than source.backoff.max".to_owned(),
            );
        }
        if self.writer.retry_initial > self.writer.retry_max {
            reject(
                "writer.retry_initial",
                "is longer than writer.retry_max".to_owned(),
            );
        }
        if self.http.header_timeout > self.http.connection_timeout {
            reject(
                "http.header_timeout",
                "is longer than http.connection_timeout".to_owned(),
            );
        }
        if self.kube.status_configmap.is_some() && self.kube.pod_namespace.is_none() {
            reject(
                "kube.status_configmap",
                "needs kube.pod_namespace: the ConfigMap's namespace".to_owned(),
            );
        }
        if location == Location::Pod
            && self.kube.context.is_some()
            && self.kube.kubeconfig.is_none()
        {
            reject(
                "kube.context",
                "needs kube.kubeconfig: no other kubeconfig is read inside a pod".to_owned(),
            );
        }
        for (index, name) in self.kube.namespaces.iter().enumerate() {
            if !is_namespace(name) {
                reject(
                    &format!("kube.namespaces[{index}]"),
                    format!("{name:?} is not the name of a namespace"),
                );
            }
            if self.kube.namespaces[..index].contains(name) {
                reject(
                    &format!("kube.namespaces[{index}]"),
                    format!("{name:?} is listed twice"),
                );
            }
        }
    }
}

/// Whether the name is an RFC 1123 label, as Kubernetes requires of namespaces.
fn is_namespace(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|&b| word(b) || b == b'-')
        && word(bytes[0])
        && word(bytes[bytes.len() - 1])
}
