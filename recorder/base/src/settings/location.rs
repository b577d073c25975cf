//! Where this process runs, and what the user who starts it may choose there.
//!
//! ```text
//!   kubectl exec … -c recorder -- /kube9-recorder ARGUMENTS       the process has the pod's token, file system, network;
//!                                     └ the user controls flags and stdin
//! ```
//!
//! Invariant: in a pod, a setting that names an address, a credential or a file comes only from the mounted config file
//! ([`Origin::Mounted`](super::Origin)). Otherwise anyone who can `kubectl exec` could send the token to a server of their
//! choice, or have a file printed in an error.

use std::io::ErrorKind;
use std::path::Path;

/// The only config file that is read in a pod; the chart mounts its ConfigMap there.
pub const MOUNTED: &str = "/etc/kube9/config.yaml";

/// Where Kubernetes mounts a pod's credentials.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// In a pod of a cluster.
    Pod,
    /// On the machine of the user.
    Elsewhere,
}

impl Location {
    /// Where this process runs. Each of the two signs of a pod is sufficient. A `kubectl exec` can change neither the
    /// environment nor the mounts of a container.
    pub fn here() -> Self {
        let service = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        Self::pod_if(service || exists(Path::new(SERVICE_ACCOUNT)))
    }

    /// In a pod, or elsewhere.
    pub(super) fn pod_if(in_pod: bool) -> Self {
        if in_pod { Self::Pod } else { Self::Elsewhere }
    }
}

/// Whether the path exists; a path that cannot be inspected counts as existing.
fn exists(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exists_is_true_for_an_unreadable_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(exists(dir.path()));
        assert!(!exists(&dir.path().join("none")));
        assert!(!exists(&file.join("below-a-file")));
        // A name that is too long to be inspected.
        assert!(exists(&dir.path().join("x".repeat(300))));
    }
}
