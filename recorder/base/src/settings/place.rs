//! Where this process runs, and what may be chosen there by the person who starts it.
//!
//! ```text
//!   kubectl exec … -c recorder -- /kube9-recorder ANYTHING        the process has the pod's token, file system, network
//!                                     └ flags and stdin are that person's own
//! ```
//!
//! Invariant: inside a pod, a setting that names an address, a credential or a file comes from the mounted config file
//! alone ([`Origin::Mounted`](super::Origin)). Otherwise anyone who may exec could send the token to a server of their
//! choice, or have a file printed in an error.

use std::io::ErrorKind;
use std::path::Path;

/// The only config file that is read inside a pod: the chart mounts its ConfigMap there.
pub const MOUNTED: &str = "/etc/kube9/config.yaml";

/// Where Kubernetes mounts a pod's credentials.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a pod of a cluster.
    Pod,
    /// On the machine of whoever started it.
    Elsewhere,
}

impl Place {
    /// Where this process runs. One mark of a pod is enough, so all of them would have to be removed; exec can change
    /// neither a container's environment nor its mounts.
    pub fn here() -> Self {
        let service = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        Self::pod_if(service || is_there(Path::new(SERVICE_ACCOUNT)))
    }

    /// In a pod, or elsewhere.
    pub(super) fn pod_if(in_pod: bool) -> Self {
        if in_pod { Self::Pod } else { Self::Elsewhere }
    }
}

/// What cannot be looked at counts as there.
fn is_there(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_that_cannot_be_looked_at_counts_as_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(is_there(dir.path()));
        assert!(!is_there(&dir.path().join("none")));
        assert!(!is_there(&file.join("below-a-file")));
        // A name too long to be looked at.
        assert!(is_there(&dir.path().join("x".repeat(300))));
    }
}
