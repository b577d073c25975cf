//! Finds the pod of kube9.

use std::time::Duration;

use serde_json::Value;

use crate::args::Plugin;
use crate::error::PluginError;
use crate::kubectl::Kubectl;
use crate::table::safe;

/// Labels of the pod, as the chart sets them.
const LABELS: &str = "app.kubernetes.io/part-of=kube9,app.kubernetes.io/component=recorder";
/// The namespace of the installation page, for people who may not list the pods of all namespaces.
const NAMESPACE: &str = "kube9-system";
/// For one request that finds the pod.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where `kube9-query` runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) container: String,
    release: String,
    /// Why nothing can be run in it.
    pub(crate) problem: Option<String>,
}

/// The one pod that can answer.
///
/// # Errors
/// There is none, it does not run, or there are several releases.
pub(crate) fn find(plugin: &Plugin, kubectl: &Kubectl) -> Result<Pod, PluginError> {
    let pod = choose(candidates(plugin, kubectl)?)?;
    match &pod.problem {
        None => Ok(pod),
        Some(problem) => Err(PluginError::Failed(format!(
            "pod {} in namespace {} {problem}\nsee 'kubectl describe pod -n {} {}'",
            pod.name, pod.namespace, pod.namespace, pod.name
        ))),
    }
}

/// Of several pods of one release, the one that runs: a Deployment that is replaced has two for a moment.
pub(crate) fn choose(mut pods: Vec<Pod>) -> Result<Pod, PluginError> {
    let mut releases: Vec<(&str, &str)> = pods
        .iter()
        .map(|pod| (&*pod.namespace, &*pod.release))
        .collect();
    releases.sort_unstable();
    releases.dedup();
    if releases.len() > 1 {
        let names: Vec<String> = releases
            .iter()
            .map(|(namespace, release)| format!("  -n {namespace} --release {release}"))
            .collect();
        return Err(PluginError::Usage(format!(
            "the cluster has several releases of kube9; name one:\n{}",
            names.join("\n")
        )));
    }
    pods.sort_by_key(|pod| pod.problem.is_some());
    pods.into_iter()
        .next()
        .ok_or_else(|| PluginError::Failed(NOT_FOUND.to_owned()))
}

const NOT_FOUND: &str =
    "no kube9 pod found; name its namespace with -n, or install it: docs/install.md";

/// The pods of kube9, in the first of these places that has any: the namespace that is named; all namespaces; and where
/// that is forbidden, the namespace of the context and `kube9-system`.
pub(crate) fn candidates(plugin: &Plugin, kubectl: &Kubectl) -> Result<Vec<Pod>, PluginError> {
    let labels = match &plugin.release {
        Some(release) => format!("{LABELS},app.kubernetes.io/instance={release}"),
        None => LABELS.to_owned(),
    };
    let list = |place: &[&str]| {
        let mut words = vec!["pods", "-l", &labels];
        words.extend(place);
        kubectl.get(&words, TIMEOUT).map(|list| pods(&list))
    };
    if let Some(namespace) = plugin.named_namespace() {
        let found = list(&["-n", &namespace])?;
        if found.is_empty() {
            return Err(PluginError::Failed(format!(
                "no kube9 pod in namespace {namespace}; without -n all namespaces are searched"
            )));
        }
        return Ok(found);
    }
    let forbidden = match list(&["--all-namespaces"]) {
        Ok(found) => return Ok(found),
        Err(PluginError::Failed(text)) if text.contains("orbidden") => text,
        Err(other) => return Err(other),
    };
    for place in [&[][..], &["-n", NAMESPACE]] {
        // Forbidden here too: the next one.
        if let Ok(found) = list(place)
            && !found.is_empty()
        {
            return Ok(found);
        }
    }
    Err(PluginError::Failed(format!(
        "no kube9 pod in the namespace of the context or in {NAMESPACE}, and the pods of all namespaces cannot be listed; \
         name its namespace with -n\n{forbidden}"
    )))
}

fn pods(list: &Value) -> Vec<Pod> {
    let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    items.iter().filter_map(pod).collect()
}

fn pod(item: &Value) -> Option<Pod> {
    let metadata = &item["metadata"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let container = text(&metadata["annotations"]["kubectl.kubernetes.io/default-container"])
        .unwrap_or_else(|| "query".to_owned());
    let statuses = item["status"]["containerStatuses"].as_array();
    let status = statuses.and_then(|all| all.iter().find(|one| one["name"] == *container));
    let reason = |state: &str| {
        let status = status?;
        Some(safe(status["state"][state]["reason"].as_str()?))
    };
    let phase = item["status"]["phase"].as_str().unwrap_or("Unknown");
    let problem = if metadata["deletionTimestamp"].is_string() {
        Some("is being deleted".to_owned())
    } else if status.is_some_and(|status| status["state"]["running"].is_object()) {
        None
    } else if let Some(why) = reason("waiting").or_else(|| reason("terminated")) {
        Some(format!("does not run its container {container}: {why}"))
    } else {
        let why = item["status"]["conditions"]
            .as_array()
            .and_then(|all| all.iter().find(|one| one["type"] == "PodScheduled"))
            .and_then(|condition| condition["message"].as_str())
            .map_or_else(String::new, |why| format!(": {}", safe(why)));
        Some(format!("is {phase}{why}"))
    };
    Some(Pod {
        namespace: text(&metadata["namespace"])?,
        name: text(&metadata["name"])?,
        container,
        release: text(&metadata["labels"]["app.kubernetes.io/instance"]).unwrap_or_default(),
        problem,
    })
}
