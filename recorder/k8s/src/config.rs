//! The settings of client and watches.

use std::path::PathBuf;
use std::time::Duration;

use kube9_base::settings::{days, hours, millis, seconds};

kube9_base::sections! {
    /// Which cluster, and which part of it.
    pub struct KubeConfig {
        /// Kubeconfig file to use instead of `KUBECONFIG` or `~/.kube/config`.
        /// In a pod, the service account is used unless this is set.
        /// A kubeconfig in a pod must contain its credentials: `tokenFile`, `exec`, `auth-provider` and paths of
        /// certificates and keys are rejected.
        kubeconfig: Option<PathBuf> = None,
        /// Context of the kubeconfig; its current context if unset.
        /// In a pod, this requires `kube.kubeconfig`.
        context: Option<String> = None; mounted,
        /// Namespaces to watch; empty means all.
        /// Nodes are not namespaced and are always watched.
        namespaces: Vec<String> = Vec::new(); anywhere,
        /// Name of the pod that the recorder runs in; the chart sets it from the downward API.
        /// The recorder's own rows (`operator`) are about this object.
        pod_name: Option<String> = None; anywhere,
        /// Namespace of that pod.
        pod_namespace: Option<String> = None; anywhere,
        /// ConfigMap in that namespace whose key `status` the recorder updates for the kube9 extension of VS Code.
        /// If unset, the recorder writes nothing in the cluster.
        status_configmap: Option<String> = None; anywhere,
    }

    /// How the cluster is watched.
    pub struct SourceConfig {
        /// How long the API server keeps an Event (its flag `--event-ttl`).
        /// A recording gap shorter than this can be recovered completely.
        event_ttl: Duration = hours(1) => seconds(30)..=days(30),
        /// Objects per page of an Events list.
        /// 500 is client-go's default: a page of about 0.5 MB, and only one page is in memory at a time.
        page_size: u32 = 500 => 10..=10_000,
        /// How long the API server keeps one watch open (`timeoutSeconds`).
        /// It must be less than the 5 minutes between compactions of etcd, so that a watch that has ended can resume.
        watch_timeout: Duration = seconds(290) => seconds(10)..=hours(1),
        /// Time in addition to `watch_timeout` after which a watch without data is considered dead and is opened
        /// again.
        read_slack: Duration = seconds(15) => seconds(1)..=seconds(300),
        /// Time without an item after which the position of an Events watch is renewed with a metadata-only list.
        /// It should be well below the 5 minutes between compactions of etcd: at the default, two renewals can fail
        /// before the position is lost.
        idle_renewal: Duration = seconds(120) => seconds(5)..=hours(1),
        /// Time limit for opening a connection to the API server.
        connect_timeout: Duration = seconds(10) => seconds(1)..=seconds(300),
        /// Time limit for one page of a list.
        /// The API server's own limit is 60 s.
        list_timeout: Duration = seconds(75) => seconds(1)..=hours(1),
        /// Delay between attempts after a failure.
        backoff: BackoffConfig = BackoffConfig::default(),
    }

    /// Exponential delay, with jitter.
    pub struct BackoffConfig {
        /// First delay; it doubles with each consecutive failure.
        /// The default is that of client-go's reflector.
        initial: Duration = millis(800) => millis(10)..=seconds(60),
        /// Longest delay, including jitter.
        /// The default is that of client-go's reflector.
        max: Duration = seconds(30) => millis(100)..=hours(1),
    }
}
