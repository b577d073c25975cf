//! What a reason means: the one place that says how bad an Event is and what its row is called.
//!
//! Severity and title follow what the programs really send: the reason alone often says little (`Failed` is an image
//! that cannot be pulled, a missing Secret, a broken command), so rows also look at the message and at who reports.
//! `tests/e2e/extract-reasons.go` lists what Kubernetes can send; a test here checks that every reason has a row.
//!
//! Invariant: rows are sorted by reason, for the binary search; among rows of one reason the first that fits wins, so
//! those that ask for more stand before those that ask for less.
//!
//! How bad: `error` if something does not work now, `warning` if it may be part of a trouble or retries by itself,
//! `info` if it is normal life. The type of an Event (`Normal`, `Warning`) is no measure: the kubelet sends
//! "Back-off pulling image" and `NodeNotReady` as Normal.

use kube9_shared::model::Severity::{self, Critical, Error, Info, Warning};

use super::redact::redact;

/// One row of the table.
#[derive(Debug)]
pub struct Entry {
    reason: &'static str,
    severity: Severity,
    title: &'static str,
    /// The message must contain all texts of one of these; empty: any message will do.
    says: &'static [&'static [&'static str]],
    /// The reporting component, a trailing `*` standing for any end; empty: any component.
    by: &'static str,
    /// The Event's type; empty: any type.
    of_type: &'static str,
}

const fn row(reason: &'static str, severity: Severity, title: &'static str) -> Entry {
    Entry {
        reason,
        severity,
        title,
        says: &[],
        by: "",
        of_type: "",
    }
}

impl Entry {
    const fn says(mut self, says: &'static [&'static [&'static str]]) -> Self {
        self.says = says;
        self
    }

    const fn by(mut self, component: &'static str) -> Self {
        self.by = component;
        self
    }

    const fn of_type(mut self, kube_type: &'static str) -> Self {
        self.of_type = kube_type;
        self
    }

    fn fits(&self, component: &str, kube_type: &str, message: &str) -> bool {
        let by = match self.by.strip_suffix('*') {
            Some(start) => component.starts_with(start),
            None => self.by.is_empty() || self.by == component,
        };
        by && (self.of_type.is_empty() || self.of_type == kube_type)
            && (self.says.is_empty()
                || self
                    .says
                    .iter()
                    .any(|all| all.iter().all(|part| message.contains(part))))
    }
}

/// What an Event means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// How bad it is.
    pub severity: Severity,
    /// What happened, without the object's name.
    pub title: std::borrow::Cow<'static, str>,
    /// False if the table has no row for it, so that severity and title are guesses.
    pub known: bool,
}

/// Looks an Event up. A reason without a row gets its severity from the Event's type and its title from itself.
pub fn meaning(reason: &str, component: &str, kube_type: &str, message: &str) -> Meaning {
    // Reporters that leave the type out, or write `normal`, mean Normal; what is neither is no good news.
    let normal = kube_type.is_empty() || kube_type.eq_ignore_ascii_case("Normal");
    let by_type = if normal { Info } else { Warning };
    let rows = &TABLE[TABLE.partition_point(|row| row.reason < reason)..];
    let mut rows = rows.iter().take_while(|row| row.reason == reason);
    match rows.find(|row| row.fits(component, kube_type, message)) {
        Some(row) => {
            // The reporter knows of a trouble that the row does not expect, unless the row asks for this very type.
            let severity = if row.of_type.is_empty() {
                row.severity.max(by_type)
            } else {
                row.severity
            };
            Meaning {
                severity,
                title: row.title.into(),
                known: true,
            }
        }
        None => Meaning {
            severity: by_type,
            // Taken apart, a secret in it could no longer be recognized.
            title: if is_redacted(reason) {
                reason.to_owned()
            } else {
                sentence(reason)
            }
            .into(),
            known: false,
        },
    }
}

fn is_redacted(text: &str) -> bool {
    matches!(redact(text), std::borrow::Cow::Owned(_))
}

/// `FailedToFrobnicate` → `Failed to frobnicate`.
fn sentence(reason: &str) -> String {
    let chars: Vec<char> = reason.trim().chars().collect();
    let mut title = String::with_capacity(reason.len() + 8);
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| chars[i]);
        let after_is_lower = chars.get(i + 1).is_some_and(|c| c.is_lowercase());
        let begins_word = c.is_uppercase()
            && before.is_some_and(|b| {
                b.is_lowercase() || b.is_numeric() || (b.is_uppercase() && after_is_lower)
            });
        if matches!(c, '_' | '-' | '.' | '/') || c.is_whitespace() {
            if !title.ends_with(' ') && !title.is_empty() {
                title.push(' ');
            }
            continue;
        }
        if begins_word && !title.ends_with(' ') {
            title.push(' ');
        }
        if title.is_empty() {
            title.extend(c.to_uppercase());
        } else if c.is_uppercase() && after_is_lower && title.ends_with(' ') {
            // A word, no acronym.
            title.extend(c.to_lowercase());
        } else {
            title.push(c);
        }
    }
    title.truncate(title.trim_end().len());
    if title.is_empty() {
        "Event without a reason".to_owned()
    } else {
        title
    }
}

#[rustfmt::skip]
const TABLE: &[Entry] = &[
    row("AddedInterface", Info, "Pod network interface added"),
    row("AddedOrUpdated", Info, "Ingress configuration updated"),
    row("AllocationFailed", Error, "Load balancer address not assigned"),
    row("AlreadyMountedVolume", Warning, "Volume already mounted with another group"),
    row("AmbiguousSelector", Warning, "Autoscaler shares its pods with another"),
    row("AnalysisRunFailed", Error, "Rollout analysis failed"),
    row("AnalysisRunSuccessful", Info, "Rollout analysis succeeded"),
    row("AppArmor", Error, "Pod refused by the node, AppArmor"),
    row("ArtifactFailed", Error, "Artifact not available"),
    row("ArtifactUpToDate", Info, "Artifact up to date"),
    row("BackOff", Error, "Container crash loop").says(&[&["restarting failed"]]),
    row("BackOff", Error, "Image pull back-off").says(&[&["pulling image"]]),
    row("BackOff", Warning, "Container restart back-off"),
    row("BackoffLimitExceeded", Error, "Job failed, back-off limit reached"),
    row("BadConfig", Warning, "Certificate configuration invalid").by("cert-manager*"),
    row("BindingConditionsPending", Info, "Pod waits for a device"),
    row("BuildFailed", Error, "Build failed"),
    row("CIDRAssignmentFailed", Error, "Node pod range not assigned"),
    row("CIDRNotAvailable", Error, "Node pod range not available"),
    row("CalculateExpectedPodCountFailed", Warning, "Disruption budget cannot count its pods"),
    row("CertificateExpired", Error, "Pod certificate expired"),
    row("CertificateIssued", Info, "Certificate issued"),
    row("CertificateOverdueForRefresh", Warning, "Pod certificate overdue for refresh"),
    row("CgroupV1", Warning, "Node uses cgroup v1, which is deprecated"),
    row("ChartPullFailed", Error, "Chart not pulled"),
    row("ChartPullSucceeded", Info, "Chart pulled"),
    row("CheckLimitsForResolvConf", Warning, "Node DNS configuration exceeds the limits"),
    row("ClaimLost", Error, "Volume of the claim lost"),
    row("ClaimMisbound", Error, "Claim bound to the wrong volume"),
    row("CleanUpError", Warning, "Certificate challenge not cleaned up"),
    row("ClusterIPAlreadyAllocated", Error, "Cluster address used twice"),
    row("ClusterIPNotAllocated", Warning, "Cluster address not allocated"),
    row("ClusterIPNotValid", Error, "Cluster address invalid"),
    row("ClusterIPOutOfRange", Error, "Cluster address out of range"),
    row("Completed", Info, "Job completed").by("job-controller"),
    row("Completed", Info, "Completed"),
    row("CompletionsReached", Info, "Job completed"),
    row("ConflictingController", Warning, "Pods owned by another controller"),
    row("ConntrackFull", Error, "Connection table full"),
    row("ContainerCannotRun", Error, "Container failed to start"),
    row("ContainerGCFailed", Warning, "Container garbage collection failed"),
    row("ContainerStatusUnknown", Warning, "Container lost, status unknown"),
    row("ContainerdStart", Info, "Containerd started"),
    row("CorruptDockerImage", Error, "Container image corrupt"),
    row("CorruptDockerOverlay2", Error, "Container storage corrupt"),
    row("CrashLoopBackOff", Error, "Container crash loop"),
    row("CreateContainerConfigError", Error, "Container configuration incomplete"),
    row("CreateContainerError", Error, "Container not created"),
    row("Created", Info, "Container created").by("kubelet"),
    row("CreatingLoadBalancerFailed", Error, "Load balancer set-up failed"),
    row("CreatingSnapshot", Info, "Volume snapshot started"),
    row("DNSConfigForming", Warning, "Pod DNS configuration truncated"),
    row("DeadlineExceeded", Warning, "Pod stopped, its deadline passed").by("kubelet"),
    row("DeadlineExceeded", Error, "Job failed, its deadline passed").by("job-controller"),
    row("DeadlineExceeded", Warning, "Deadline passed"),
    row("DeleteLoadBalancerFailed", Error, "Load balancer not deleted"),
    row("DeleteUnregistered", Warning, "Unregistered node deleted"),
    row("DeletedLoadBalancer", Info, "Load balancer deleted"),
    row("DeletingAllPods", Warning, "Pods of the node deleted"),
    row("DeletingLoadBalancer", Info, "Load balancer deletion started"),
    row("DeletingNode", Warning, "Node deleted, its machine is gone"),
    row("DeletingNodeFailed", Error, "Node not deleted, its machine is gone"),
    row("Denied", Warning, "Pod certificate request denied").by("kubelet"),
    row("DependencyNotReady", Warning, "Dependency not ready"),
    row("DeploymentRollback", Info, "Deployment rolled back"),
    row("DeploymentRollbackRevisionNotFound", Warning, "Rollback revision not found"),
    row("DeploymentRollbackTemplateUnchanged", Warning, "Rollback changed nothing"),
    row("Descheduled", Info, "Pod descheduled"),
    row("DeviceTaintManagerEviction", Info, "Pod eviction by a device taint cancelled").says(&[&["Cancelling deletion"]]),
    row("DeviceTaintManagerEviction", Warning, "Pod eviction by a device taint"),
    row("DisruptionBlocked", Info, "Node disruption blocked"),
    row("DisruptionLaunching", Info, "Replacement node launched"),
    row("DisruptionTerminating", Info, "Node disrupted"),
    row("DockerContainerStartupFailure", Error, "Container runtime cannot start containers"),
    row("DockerHung", Error, "Container runtime hung"),
    row("DockerStart", Info, "Docker started"),
    row("DomainVerified", Info, "Domain verified"),
    row("DriftDetected", Warning, "Drift detected"),
    row("EnsuredLoadBalancer", Info, "Load balancer ready"),
    row("EnsuringLoadBalancer", Info, "Load balancer set-up started"),
    row("ErrGetKeyPair", Error, "Certificate authority key missing"),
    row("ErrImageNeverPull", Error, "Image not on the node, and pulling is forbidden"),
    row("ErrImagePull", Error, "Image pull failed"),
    row("ErrInitIssuer", Error, "Certificate issuer not initialized"),
    row("ErrVerifyACMEAccount", Error, "ACME account not verified"),
    row("Evicted", Error, "Pod evicted, node low on memory").says(&[&["low on resource: memory"]]),
    row("Evicted", Error, "Pod evicted, node low on ephemeral storage").says(&[&["low on resource: ephemeral-storage"], &["low on resource: nodefs"], &["low on resource: imagefs"], &["low on resource: inodes"]]),
    row("Evicted", Error, "Pod evicted, node low on process ids").says(&[&["low on resource: pids"]]),
    row("Evicted", Error, "Pod evicted, ephemeral storage over its limit").says(&[&["ephemeral local storage usage exceeds"], &["local ephemeral storage"]]),
    row("Evicted", Error, "Pod evicted, volume over its limit").says(&[&["Usage of EmptyDir volume"]]),
    row("Evicted", Error, "Pod evicted"),
    row("EvictedByVPA", Info, "Pod evicted for new resource requests"),
    row("EvictionThresholdMet", Error, "Node eviction threshold met"),
    row("ExceededGracePeriod", Warning, "Pod not stopped within its grace period"),
    row("Ext4Error", Error, "File system error"),
    row("Ext4Warning", Warning, "File system warning"),
    row("ExternalExpanding", Info, "Claim waits for its external resizer").of_type("Normal"),
    row("ExternalExpanding", Warning, "Claim waits for its external resizer"),
    row("ExternalProvisioning", Info, "Claim waits for its provisioner"),
    row("Failed", Error, "Image pull back-off").says(&[&["ImagePullBackOff"]]),
    row("Failed", Error, "Image pull failed").says(&[&["ErrImagePull"], &["Failed to pull image"], &["RegistryUnavailable"], &["SignatureValidationFailed"]]),
    row("Failed", Error, "Image not on the node, and pulling is forbidden").says(&[&["ErrImageNeverPull"]]),
    row("Failed", Error, "Image name invalid").says(&[&["InvalidImageName"]]),
    row("Failed", Error, "Image inspection failed").says(&[&["ImageInspectError"]]),
    row("Failed", Error, "Container configuration incomplete").says(&[&["CreateContainerConfigError"], &["couldn't find key"], &["Error: secret \""], &["Error: configmap \""], &["references non-existent"]]).by("kubelet"),
    row("Failed", Error, "Container refused by its security context").says(&[&["runAsNonRoot"], &["run as root"], &["runAsUser"], &["breaks non-root policy"]]).by("kubelet"),
    row("Failed", Error, "Container out of memory while starting").says(&[&["OOM-killed"], &["out of memory"]]).by("kubelet"),
    row("Failed", Error, "Container command not found").says(&[&["executable file not found"], &["no such file or directory"]]).by("kubelet"),
    row("Failed", Error, "Container start timed out").says(&[&["context deadline exceeded"], &["DeadlineExceeded"]]).by("kubelet"),
    row("Failed", Error, "Pod directories not created").says(&[&["pod data directories"]]).by("kubelet"),
    row("Failed", Error, "Pod certificate request failed").says(&[&["PodCertificateRequest"]]).by("kubelet"),
    row("Failed", Error, "Container failed to start").by("kubelet"),
    row("Failed", Warning, "Failed"),
    row("FailedAdmission", Warning, "Admission refused"),
    row("FailedAttachVolume", Error, "Volume attached to another node").says(&[&["Multi-Attach error"]]),
    row("FailedAttachVolume", Error, "Volume attach failed"),
    row("FailedBinding", Warning, "Ephemeral volume claim conflict").by("ephemeral_volume"),
    row("FailedBinding", Warning, "Claim has no volume"),
    row("FailedBuildModel", Error, "Load balancer configuration invalid"),
    row("FailedComputeMetricsReplicas", Error, "Autoscaler has no metrics"),
    row("FailedConvertHPA", Error, "Autoscaler not converted"),
    row("FailedCreate", Error, "Pod not created, quota exceeded").says(&[&["exceeded quota"]]),
    row("FailedCreate", Error, "Pod not created, service account not found").says(&[&["error looking up service account"]]),
    row("FailedCreate", Error, "Pod not created, refused by Pod Security").says(&[&["violates PodSecurity"]]),
    row("FailedCreate", Error, "Pod not created, refused by a webhook").says(&[&["admission webhook"]]),
    row("FailedCreate", Error, "Job not created").by("cronjob-controller"),
    row("FailedCreate", Error, "Pod not created"),
    row("FailedCreatePodContainer", Error, "Pod cgroup not created"),
    row("FailedCreatePodSandBox", Error, "Pod network setup failed").says(&[&["failed to set up sandbox container"], &["network for sandbox"], &["failed to setup network"], &["FailedCreatePodNetwork"]]),
    row("FailedCreatePodSandBox", Error, "Pod sandbox not created"),
    row("FailedDaemonPod", Warning, "Failed daemon pod deleted"),
    row("FailedDelete", Warning, "Job not deleted").by("cronjob-controller"),
    row("FailedDelete", Warning, "Pod not deleted"),
    row("FailedDeployModel", Error, "Load balancer not deployed"),
    row("FailedDetachVolume", Warning, "Volume detach failed"),
    row("FailedDraining", Warning, "Node not drained"),
    row("FailedGet", Warning, "Job of the cron job not read"),
    row("FailedGetContainerResourceMetric", Warning, "Autoscaler metric missing"),
    row("FailedGetExternalMetric", Warning, "Autoscaler metric missing"),
    row("FailedGetObjectMetric", Warning, "Autoscaler metric missing"),
    row("FailedGetPodsMetric", Warning, "Autoscaler metric missing"),
    row("FailedGetResourceMetric", Warning, "Autoscaler metric missing"),
    row("FailedGetScale", Error, "Autoscaler target not found"),
    row("FailedIndexes", Error, "Job failed, indexes failed"),
    row("FailedKillPod", Warning, "Pod not killed"),
    row("FailedMapVolume", Error, "Block volume not mapped"),
    row("FailedMount", Warning, "Volume mount waits for the node's caches").says(&[&["failed to sync secret cache"], &["failed to sync configmap cache"], &["not registered"]]),
    row("FailedMount", Error, "Volume mount failed, secret not found").says(&[&["secret \"", "not found"]]),
    row("FailedMount", Error, "Volume mount failed, config map not found").says(&[&["configmap \"", "not found"]]),
    row("FailedMount", Error, "Volume mount failed, key not found").says(&[&["references non-existent"]]),
    row("FailedMount", Error, "Volume mount failed, claim not found").says(&[&["persistentvolumeclaim \"", "not found"]]),
    row("FailedMount", Error, "Volume mount timed out").says(&[&["timed out waiting for the condition"], &["unattached volumes"], &["unmounted volumes"]]),
    row("FailedMount", Error, "Volume mount failed"),
    row("FailedMountOnFilesystemMismatch", Error, "Volume has another file system"),
    row("FailedNodeAllocatableEnforcement", Warning, "Node allocatable not enforced"),
    row("FailedNodeDeclaredFeaturesCheck", Error, "Pod needs features the node lacks"),
    row("FailedPlacement", Warning, "Daemon pod not placed"),
    row("FailedPodSandBoxStatus", Warning, "Pod sandbox status unknown"),
    row("FailedPostStartHook", Error, "Post-start hook failed"),
    row("FailedPreStopHook", Warning, "Pre-stop hook failed"),
    row("FailedPrepareDynamicResources", Error, "Dynamic resources not prepared"),
    row("FailedRecreate", Warning, "Pod not recreated").by("statefulset-controller"),
    row("FailedRescale", Error, "Autoscaler failed to scale"),
    row("FailedResourceClaimCreation", Error, "Resource claim not created"),
    row("FailedScheduling", Info, "Pod deleted before it was scheduled").says(&[&["skip schedule deleting pod"]]),
    row("FailedScheduling", Warning, "Pod not scheduled, claim not bound").says(&[&["unbound immediate PersistentVolumeClaims"]]),
    row("FailedScheduling", Warning, "Pod not scheduled, claim not found").says(&[&["persistentvolumeclaim \"", "not found"]]),
    row("FailedScheduling", Warning, "Pod not scheduled, not enough resources").says(&[&["Insufficient cpu"], &["Insufficient memory"], &["Insufficient ephemeral-storage"], &["Insufficient nvidia"], &["Too many pods"]]),
    row("FailedScheduling", Warning, "Pod not scheduled, node affinity or selector").says(&[&["node affinity/selector"]]),
    row("FailedScheduling", Warning, "Pod not scheduled, taint not tolerated").says(&[&["untolerated taint"]]),
    row("FailedScheduling", Warning, "Pod not scheduled, pod affinity or spread").says(&[&["pod affinity rules"], &["anti-affinity rules"], &["topology spread constraints"]]),
    row("FailedScheduling", Warning, "Pod not scheduled, host port in use").says(&[&["free ports for the requested pod ports"]]),
    row("FailedScheduling", Warning, "Pod not scheduled, volume node affinity").says(&[&["volume node affinity conflict"]]),
    row("FailedScheduling", Warning, "Pod not scheduled"),
    row("FailedSync", Warning, "Pod sync failed"),
    row("FailedToCreateEndpoint", Warning, "Endpoints not created"),
    row("FailedToCreateRoute", Error, "Node route not created"),
    row("FailedToListEndpointSlices", Warning, "Endpoint slices not listed"),
    row("FailedToListPods", Warning, "Pods of the service not listed"),
    row("FailedToRetrieveImagePullCredentials", Warning, "Image pull credentials not found"),
    row("FailedToRetrieveImagePullSecret", Warning, "Image pull secret not found"),
    row("FailedToScaleUpGroup", Error, "Node group not scaled up"),
    row("FailedToStartMetricServer", Error, "Metrics server of kube-proxy not started"),
    row("FailedToStartProxierHealthcheck", Error, "Health check of kube-proxy not started"),
    row("FailedToStartServiceHealthcheck", Error, "Health check of the service not started"),
    row("FailedToUpdateEndpoint", Warning, "Endpoints not updated"),
    row("FailedToUpdateEndpointSlices", Warning, "Endpoint slices not updated"),
    row("FailedUnMount", Warning, "Volume unmount failed"),
    row("FailedUpdate", Warning, "Pod not updated"),
    row("FailedUpdateStatus", Warning, "Autoscaler status not updated"),
    row("FailedValidation", Error, "Pod invalid"),
    row("FileSystemResizeFailed", Error, "File system resize failed"),
    row("FileSystemResizeRequired", Info, "File system resize pending"),
    row("FileSystemResizeSuccessful", Info, "File system resized"),
    row("FilesystemIsNotReadOnly", Info, "File system writable"),
    row("FilesystemIsReadOnly", Error, "File system read-only"),
    row("FreeDiskSpaceFailed", Error, "Node disk space not freed"),
    row("FrequentContainerdRestart", Error, "Containerd restarts often"),
    row("FrequentDockerRestart", Error, "Docker restarts often"),
    row("FrequentKubeletRestart", Error, "Kubelet restarts often"),
    row("FrequentUnregisterNetDevice", Error, "Network device hangs often"),
    row("Generated", Info, "Private key generated").by("cert-manager*"),
    row("GitOperationFailed", Error, "Git operation failed"),
    row("GitOperationSucceeded", Info, "Git operation succeeded"),
    row("HealthCheckFailed", Error, "Health check failed"),
    row("HostIPsIPFamilyMismatch", Warning, "Host addresses do not match the pod's address family"),
    row("IOError", Error, "Disk error"),
    row("IPAddressNotAllocated", Warning, "Cluster address object repaired"),
    row("IPAddressWrongReference", Warning, "Cluster address refers to the wrong service"),
    row("IPAllocated", Info, "Load balancer address assigned"),
    row("IPVSDeprecation", Warning, "IPVS mode is deprecated"),
    row("ImageGCFailed", Warning, "Image garbage collection failed"),
    row("ImageInspectError", Error, "Image inspection failed"),
    row("ImagePullBackOff", Error, "Image pull back-off"),
    row("InitContainerRestartPolicyForbidden", Error, "Pod refused by the node, init container restart policy"),
    row("InspectFailed", Error, "Image name invalid").says(&[&["InvalidImageName"], &["couldn't parse image"], &["invalid reference format"]]),
    row("InspectFailed", Error, "Image inspection failed"),
    row("InstallFailed", Error, "Release not installed"),
    row("InstallSucceeded", Info, "Release installed"),
    row("InvalidDiskCapacity", Warning, "Node disk capacity invalid"),
    row("InvalidIPAddress", Warning, "Endpoint address invalid"),
    row("InvalidImageName", Error, "Image name invalid"),
    row("InvalidMetricSourceType", Error, "Autoscaler metric type invalid"),
    row("InvalidNodeInfo", Error, "Pod refused by the node, node unknown"),
    row("InvalidSchedule", Error, "Cron schedule invalid"),
    row("InvalidSelector", Error, "Selector invalid"),
    row("IssuerNotFound", Error, "Certificate issuer not found"),
    row("IssuerNotReady", Warning, "Certificate issuer not ready"),
    row("Issuing", Info, "Certificate issuing").by("cert-manager*"),
    row("Issuing", Info, "Issuing"),
    row("JobAlreadyActive", Info, "Cron job skipped, the previous run is active"),
    row("JobResumed", Info, "Job resumed"),
    row("JobSuspended", Info, "Job suspended"),
    row("KEDAScaleTargetActivated", Info, "Scale target activated"),
    row("KEDAScaleTargetDeactivated", Info, "Scale target deactivated"),
    row("KEDAScalerFailed", Error, "Scaler failed"),
    row("KEDAScalersStarted", Info, "Scalers started"),
    row("KernelDeadlock", Critical, "Kernel deadlock"),
    row("KernelHasNoDeadlock", Info, "Kernel has no deadlock"),
    row("KernelOops", Error, "Kernel oops"),
    row("KeyPairVerified", Info, "Certificate authority key verified"),
    row("Killing", Warning, "Container restarted by its liveness probe").says(&[&["failed liveness probe"]]),
    row("Killing", Warning, "Container restarted by its startup probe").says(&[&["failed startup probe"]]),
    row("Killing", Warning, "Container killed, its post-start hook failed").says(&[&["FailedPostStartHook"]]),
    row("Killing", Info, "Container restarted for a changed definition").says(&[&["definition changed"]]),
    row("Killing", Info, "Container stopping"),
    row("KubeletSetupFailed", Error, "Kubelet setup failed"),
    row("KubeletStart", Info, "Kubelet started"),
    row("KubernetesDefaultServiceCIDRError", Error, "Default service address range not ready"),
    row("KubernetesDefaultServiceCIDRInconsistent", Warning, "Default service address range inconsistent"),
    row("KubernetesServiceCIDRError", Error, "Service address range not ready"),
    row("LeaderElection", Info, "Leader elected").says(&[&["became leader"]]),
    row("LeaderElection", Info, "Leader lost").says(&[&["stopped leading"]]),
    row("LeaderElection", Info, "Leader election"),
    row("LifecycleHTTPFallback", Warning, "Lifecycle hook answered over HTTP in place of HTTPS"),
    row("MaxFailedIndexesExceeded", Error, "Job failed, too many failed indexes"),
    row("MemoryReadError", Error, "Memory error"),
    row("MissSchedule", Warning, "Cron schedule missed"),
    row("MissingClusterDNS", Warning, "Cluster DNS not configured, pod uses the node's"),
    row("MissingJob", Info, "Job of the cron job gone"),
    row("MultiplePodDisruptionBudgets", Warning, "Pod has several disruption budgets"),
    row("MultipleSELinuxLabels", Warning, "Volume mounted with different SELinux labels"),
    row("NTPIsDown", Warning, "Node clock not synchronized"),
    row("NetworkNotReady", Error, "Pod network not ready"),
    row("NewArtifact", Info, "New artifact"),
    row("NewReplicaSetCreated", Info, "Replica set created"),
    row("NoPods", Info, "Disruption budget matches no pods").of_type("Normal"),
    row("NoPods", Warning, "Disruption budget cannot find its pods"),
    row("NodeAffinity", Error, "Pod refused by the node, node affinity"),
    row("NodeAllocatableEnforced", Info, "Node allocatable enforced"),
    row("NodeControllerEviction", Warning, "Pod evicted from its node"),
    row("NodeHasDiskPressure", Error, "Node disk pressure"),
    row("NodeHasInsufficientMemory", Error, "Node memory pressure"),
    row("NodeHasInsufficientPID", Error, "Node process id pressure"),
    row("NodeHasNoDiskPressure", Info, "Node has no disk pressure"),
    row("NodeHasSufficientMemory", Info, "Node has sufficient memory"),
    row("NodeHasSufficientPID", Info, "Node has sufficient process ids"),
    row("NodeLost", Error, "Node lost"),
    row("NodeName", Error, "Pod refused by the node, node name"),
    row("NodeNotReady", Error, "Node of the pod not ready").says(&[&["Node is not ready"]]),
    row("NodeNotReady", Error, "Node not ready"),
    row("NodeNotSchedulable", Warning, "Node cordoned"),
    row("NodePorts", Error, "Pod refused by the node, host port in use"),
    row("NodeReady", Info, "Node ready"),
    row("NodeSchedulable", Info, "Node schedulable"),
    row("NodeShutdown", Warning, "Pod refused by the node, shutting down"),
    row("Nominated", Info, "Pod nominated for a new node"),
    row("NotDeleted", Warning, "Evicted pod not deleted"),
    row("NotTriggerScaleUp", Info, "No node group can take the pod").of_type("Normal"),
    row("NotTriggerScaleUp", Warning, "No node group can take the pod"),
    row("OOMKilled", Error, "Container killed, out of memory"),
    row("OOMKilling", Error, "Process killed, out of memory"),
    row("OperationCompleted", Error, "Application sync failed").says(&[&["failed"]]).by("argocd*"),
    row("OperationCompleted", Info, "Application sync completed").by("argocd*"),
    row("OperationStarted", Info, "Application sync started").by("argocd*"),
    row("OrderCreated", Info, "Certificate order created"),
    row("OrderFailed", Error, "Certificate order failed"),
    row("OrderPending", Info, "Certificate order pending"),
    row("OutOfcpu", Error, "Pod refused by the node, out of CPU"),
    row("OutOfephemeral-storage", Error, "Pod refused by the node, out of ephemeral storage"),
    row("OutOfmemory", Error, "Pod refused by the node, out of memory"),
    row("OutOfpods", Error, "Pod refused by the node, too many pods"),
    row("OwnerRefInvalidNamespace", Warning, "Owner is in another namespace"),
    row("PodFailurePolicy", Error, "Job failed by its pod failure policy"),
    row("PodFeatureUnsupported", Error, "Pod refused by the node, feature unsupported"),
    row("PodLevelResourcesNotSupported", Error, "Pod refused by the node, pod-level resources unsupported"),
    row("PodOSNotSupported", Error, "Pod refused by the node, operating system unsupported"),
    row("PodOSSelectorNodeLabelDoesNotMatch", Error, "Pod refused by the node, operating system label"),
    row("PolicyApplied", Info, "Policy applied"),
    row("PolicyViolation", Warning, "Policy violated"),
    row("PortAlreadyAllocated", Error, "Node port used twice"),
    row("PortNotAllocated", Warning, "Node port not allocated"),
    row("PortOutOfRange", Error, "Node port out of range"),
    row("PortRangeFull", Error, "Node port range full"),
    row("PossibleMemoryBackedVolumesOnDisk", Warning, "Memory-backed volumes may be swapped to disk"),
    row("Preempted", Warning, "Pod preempted"),
    row("Preempting", Warning, "Pod preempted for a critical pod"),
    row("PresentError", Warning, "Certificate challenge not presented"),
    row("Presented", Info, "Certificate challenge presented"),
    row("ProbeWarning", Warning, "Probe succeeded with a warning"),
    row("Progressing", Info, "Progressing"),
    row("ProgressingWithRetry", Warning, "Retrying"),
    row("Provisioning", Info, "Volume provisioning started"),
    row("ProvisioningCleanupFailed", Warning, "Volume clean-up failed"),
    row("ProvisioningFailed", Error, "Storage class not found").says(&[&["storageclass.storage.k8s.io", "not found"]]),
    row("ProvisioningFailed", Error, "Volume provisioning failed"),
    row("ProvisioningSucceeded", Info, "Volume provisioned"),
    row("Pulled", Info, "Image present").says(&[&["already present"]]),
    row("Pulled", Info, "Image pulled"),
    row("Pulling", Info, "Image pull started"),
    row("RELOAD", Info, "Ingress controller reloaded"),
    row("ReadonlyFilesystem", Error, "File system read-only"),
    row("Rebooted", Warning, "Node rebooted"),
    row("ReconciliationFailed", Error, "Reconciliation failed"),
    row("ReconciliationSucceeded", Info, "Reconciled"),
    row("RecreatingFailedPod", Warning, "Failed pod recreated"),
    row("RecreatingTerminatedPod", Info, "Terminated pod recreated"),
    row("RecyclerPod", Info, "Volume recycler pod"),
    row("RegisteredNode", Info, "Node registered"),
    row("Rejected", Warning, "Ingress rejected").by("nginx-ingress-controller"),
    row("Reloaded", Info, "Restarted for a changed configuration"),
    row("RemovingNode", Warning, "Node removed"),
    row("ReplicaSetCreateError", Error, "Replica set not created"),
    row("Requested", Info, "Certificate requested").by("cert-manager*"),
    row("ResizeCompleted", Info, "Pod resize completed"),
    row("ResizeDeferred", Info, "Pod resize deferred"),
    row("ResizeError", Error, "Pod resize failed"),
    row("ResizeInfeasible", Warning, "Pod resize infeasible"),
    row("ResizeStarted", Info, "Pod resize started"),
    row("Resizing", Info, "Volume resize started"),
    row("ResourceCreated", Info, "Application created").by("argocd*"),
    row("ResourceDeleted", Info, "Application deleted").by("argocd*"),
    row("ResourceUpdated", Warning, "Application degraded").says(&[&["-> Degraded"]]).by("argocd*"),
    row("ResourceUpdated", Info, "Application status changed").by("argocd*"),
    row("Resumed", Info, "Job resumed").by("job-controller"),
    row("Resumed", Info, "Resumed"),
    row("Reused", Info, "Private key reused").by("cert-manager*"),
    row("RollbackFailed", Error, "Release not rolled back"),
    row("RollbackSucceeded", Warning, "Release rolled back"),
    row("RolloutAborted", Error, "Rollout aborted"),
    row("RolloutCompleted", Info, "Rollout completed"),
    row("RolloutPaused", Info, "Rollout paused"),
    row("RolloutResumed", Info, "Rollout resumed"),
    row("RolloutStepCompleted", Info, "Rollout step completed"),
    row("RolloutUpdated", Info, "Rollout updated"),
    row("RunContainerError", Error, "Container failed to start"),
    row("SELinuxChangePolicyConflict", Warning, "Volume shared with different SELinux change policies"),
    row("SELinuxLabelConflict", Warning, "Volume shared with different SELinux labels"),
    row("SMTAlignmentError", Error, "Pod refused by the node, CPU thread alignment"),
    row("SandboxChanged", Warning, "Pod sandbox changed, pod restarts"),
    row("SawCompletedJob", Error, "Job of the cron job failed").says(&[&["condition: Failed"]]),
    row("SawCompletedJob", Info, "Job of the cron job completed"),
    row("ScaleDown", Info, "Node scaled down"),
    row("ScaleDownEmpty", Info, "Empty node scaled down"),
    row("ScaleDownFailed", Warning, "Node not scaled down"),
    row("ScaleUpTimedOut", Error, "Node group scale-up timed out"),
    row("ScaledObjectCheckFailed", Error, "Scaled object invalid"),
    row("ScaledObjectReady", Info, "Scaled object ready"),
    row("ScaledUpGroup", Info, "Node group scaled up"),
    row("ScalingReplicaSet", Info, "Replica set scaled up").says(&[&["Scaled up"]]),
    row("ScalingReplicaSet", Info, "Replica set scaled down").says(&[&["Scaled down"]]),
    row("ScalingReplicaSet", Info, "Replica set scaled"),
    row("Scheduled", Info, "Pod scheduled"),
    row("SelectingAll", Warning, "Selector matches all pods"),
    row("SelectorRequired", Error, "Autoscaler target has no selector"),
    row("ServiceCIDRFull", Error, "Service address range full"),
    row("Shutdown", Info, "Node shutdown cancelled").says(&[&["cancellation"]]),
    row("Shutdown", Warning, "Node shutting down"),
    row("SnapshotContentCreationFailed", Error, "Volume snapshot failed"),
    row("SnapshotCreated", Info, "Volume snapshot created"),
    row("SnapshotReady", Info, "Volume snapshot ready"),
    row("StartError", Error, "Container failed to start"),
    row("Started", Info, "Container started").by("kubelet"),
    row("Starting", Info, "Kubelet starting").by("kubelet"),
    row("Starting", Info, "Kube-proxy starting").by("kube-proxy"),
    row("Starting", Info, "Starting"),
    row("SucceededDaemonPod", Info, "Finished daemon pod deleted"),
    row("SuccessPolicy", Info, "Job succeeded by its success policy"),
    row("SuccessfulAttachVolume", Info, "Volume attached"),
    row("SuccessfulCreate", Info, "Claim created").says(&[&["Create Claim"]]).by("statefulset-controller"),
    row("SuccessfulCreate", Info, "Job created").by("cronjob-controller"),
    row("SuccessfulCreate", Info, "Pod created"),
    row("SuccessfulDelete", Info, "Job deleted").by("cronjob-controller"),
    row("SuccessfulDelete", Info, "Pod deleted"),
    row("SuccessfulMountVolume", Info, "Volume mounted"),
    row("SuccessfulRecreate", Info, "Pod recreated").by("statefulset-controller"),
    row("SuccessfulRescale", Info, "Autoscaler scaled"),
    row("SuccessfulUpdate", Info, "Pod updated"),
    row("SuccessfullyReconciled", Info, "Reconciled"),
    row("SupplementalGroupsPolicyNotSupported", Error, "Pod refused by the node, supplemental groups policy"),
    row("Suspended", Info, "Job suspended").by("job-controller"),
    row("Suspended", Info, "Suspended"),
    row("Sync", Info, "Ingress scheduled for sync").by("nginx-ingress-controller"),
    row("Sync", Info, "Sync"),
    row("SyncLoadBalancerFailed", Error, "Load balancer set-up failed"),
    row("Synced", Info, "Node synced with its cloud").by("cloud-node-controller"),
    row("Synced", Info, "Synced"),
    row("SysctlForbidden", Error, "Pod refused by the node, sysctl forbidden"),
    row("SystemOOM", Error, "Node out of memory, process killed"),
    row("TLSConfigChanged", Info, "API server certificates reloaded"),
    row("TaintManagerEviction", Info, "Pod eviction by a taint cancelled").says(&[&["Cancelling deletion"]]),
    row("TaintManagerEviction", Warning, "Pod eviction by a taint"),
    row("TaintToleration", Error, "Pod refused by the node, taint not tolerated"),
    row("TaskHung", Error, "Kernel task hung"),
    row("TerminatingEvictedPod", Warning, "Evicted pod terminated"),
    row("TestFailed", Error, "Release tests failed"),
    row("TestSucceeded", Info, "Release tests succeeded"),
    row("TooManyActivePods", Warning, "Job has too many active pods"),
    row("TooManyAddressesToMirror", Warning, "Too many endpoint addresses"),
    row("TooManyMissedTimes", Error, "Cron job missed too many times"),
    row("TooManySucceededPods", Warning, "Job has too many succeeded pods"),
    row("TopologyAffinityError", Error, "Pod refused by the node, topology affinity"),
    row("TopologyAwareHintsDisabled", Warning, "Topology-aware routing disabled"),
    row("TopologyAwareHintsEnabled", Info, "Topology-aware routing enabled"),
    row("TriggeredScaleUp", Info, "Node group scaled up for the pod"),
    row("UnAvailableLoadBalancer", Error, "Load balancer has no nodes"),
    row("UnParseableCronJobSchedule", Error, "Cron schedule invalid"),
    row("Unconsolidatable", Info, "Node cannot be consolidated"),
    row("UnexpectedAdmissionError", Error, "Pod refused by the node, unexpected error"),
    row("UnexpectedJob", Warning, "Cron job saw an unexpected job"),
    row("UnexpectedPredicateFailureType", Error, "Pod refused by the node, unexpected error"),
    row("Unhealthy", Warning, "Liveness probe failed").says(&[&["Liveness probe"]]),
    row("Unhealthy", Warning, "Readiness probe failed").says(&[&["Readiness probe"]]),
    row("Unhealthy", Warning, "Startup probe failed").says(&[&["Startup probe"]]),
    row("Unhealthy", Warning, "Probe failed"),
    row("UninstallFailed", Error, "Release not uninstalled"),
    row("UninstallSucceeded", Info, "Release uninstalled"),
    row("UnknownCompletionMode", Error, "Job completion mode unknown"),
    row("UnknownError", Warning, "Service address or port not allocated").by("kube-apiserver"),
    row("UnknownError", Warning, "Unknown error"),
    row("UnknownReason", Error, "Pod refused by the node, reason unknown"),
    row("UnknownTimeZone", Error, "Cron time zone unknown"),
    row("UnmanagedPods", Warning, "Disruption budget selects unmanaged pods"),
    row("UnparseableSchedule", Error, "Cron schedule invalid"),
    row("UnregisterNetDevice", Warning, "Network device hangs"),
    row("UnsupportedSchedule", Warning, "Cron schedule unsupported"),
    row("UpdateLoadBalancerFailed", Error, "Load balancer update failed"),
    row("UpdatedLoadBalancer", Info, "Load balancer updated"),
    row("UpgradeFailed", Error, "Release not upgraded"),
    row("UpgradeSucceeded", Info, "Release upgraded"),
    row("ValidationFailed", Error, "Validation failed"),
    row("VolumeAttachmentLimitExceeded", Error, "Pod refused by the node, too many volumes"),
    row("VolumeConditionAbnormal", Error, "Volume abnormal"),
    row("VolumeDelete", Warning, "Volume deletion delayed"),
    row("VolumeFailedDelete", Error, "Volume deletion failed"),
    row("VolumeFailedRecycle", Error, "Volume recycling failed"),
    row("VolumeMismatch", Warning, "Volume does not match its claim"),
    row("VolumePermissionChangeInProgress", Warning, "Volume permission change takes long"),
    row("VolumeRecycled", Info, "Volume recycled"),
    row("VolumeResizeFailed", Error, "Volume resize failed"),
    row("VolumeResizeSuccessful", Info, "Volume resized"),
    row("VolumeUnknownReclaimPolicy", Warning, "Volume has an unknown reclaim policy"),
    row("WaitForFirstConsumer", Info, "Claim waits for its first consumer"),
    row("WaitForPodScheduled", Info, "Claim waits for its pod to be scheduled"),
    row("WaitingForApproval", Info, "Certificate request waits for approval"),
    row("WorkflowFailed", Error, "Workflow failed"),
    row("WorkflowNodeError", Error, "Workflow step failed"),
    row("WorkflowNodeFailed", Error, "Workflow step failed"),
    row("WorkflowNodeRunning", Info, "Workflow step running"),
    row("WorkflowNodeSucceeded", Info, "Workflow step succeeded"),
    row("WorkflowRunning", Info, "Workflow running"),
    row("WorkflowSucceeded", Info, "Workflow succeeded"),
    row("WorkflowTimedOut", Error, "Workflow timed out"),
    row("cert-manager.io", Info, "Certificate request approved"),
    row("nodeAssigned", Info, "Load balancer address announced"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_each_can_be_reached() {
        for pair in TABLE.windows(2) {
            let [before, after] = pair else {
                unreachable!()
            };
            assert!(
                before.reason <= after.reason,
                "{} stands before {}",
                before.reason,
                after.reason
            );
            let hides = before.says.is_empty() && before.by.is_empty() && before.of_type.is_empty();
            assert!(
                before.reason != after.reason || !hides,
                "a row of {} is never reached",
                after.reason
            );
        }
        for row in TABLE {
            let message = row.says.first().map_or(String::new(), |all| all.join(" "));
            let found = meaning(row.reason, row.by, row.of_type, &message);
            assert_eq!(
                found.title, row.title,
                "{} is hidden by an earlier row",
                row.reason
            );
        }
    }

    #[test]
    fn titles_are_sentences_of_bounded_length() {
        for row in TABLE {
            let first = row.title.chars().next().unwrap();
            assert!(
                first.is_uppercase() && row.title.len() <= 80 && !row.title.ends_with('.'),
                "{}",
                row.title
            );
        }
    }

    #[test]
    fn every_reason_of_kubernetes_has_a_row() {
        let list = include_str!("../../tests/fixtures/kubernetes-reasons.txt");
        let rows = list.lines().filter(|line| !line.starts_with('#'));
        let (mut seen, mut unknown) = (0, Vec::new());
        for (component, reason) in rows.map(|line| line.split_once('\t').unwrap()) {
            seen += 1;
            for kube_type in ["Normal", "Warning"] {
                if !meaning(reason, component, kube_type, "").known {
                    unknown.push((component, reason, kube_type));
                }
            }
        }
        assert!(seen > 200, "the list is cut: {seen}");
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn message_and_reporter_tell_what_the_reason_does_not() {
        for (reason, component, kube_type, message, severity, title) in [
            (
                "BackOff",
                "kubelet",
                "Warning",
                "Back-off restarting failed container app in pod crash_ns(1-2)",
                Error,
                "Container crash loop",
            ),
            (
                "BackOff",
                "kubelet",
                "Normal",
                "Back-off pulling image \"nope:1\"",
                Error,
                "Image pull back-off",
            ),
            (
                "CrashLoopBackOff",
                "",
                "",
                "",
                Error,
                "Container crash loop",
            ),
            (
                "Failed",
                "kubelet",
                "Warning",
                "Error: ErrImagePull",
                Error,
                "Image pull failed",
            ),
            (
                "Failed",
                "kubelet",
                "Warning",
                "Error: ImagePullBackOff",
                Error,
                "Image pull back-off",
            ),
            (
                "Failed",
                "kubelet",
                "Warning",
                "Failed to pull image \"x\": no such file or directory",
                Error,
                "Image pull failed",
            ),
            (
                "Failed",
                "kubelet",
                "Warning",
                "Error: secret \"db-creds\" not found",
                Error,
                "Container configuration incomplete",
            ),
            (
                "Failed",
                "kubelet",
                "Warning",
                "Error: couldn't find key password in Secret ns/name",
                Error,
                "Container configuration incomplete",
            ),
            (
                "Failed",
                "kubelet",
                "Warning",
                "Error: something new",
                Error,
                "Container failed to start",
            ),
            (
                "Failed",
                "my-operator",
                "Warning",
                "cannot",
                Warning,
                "Failed",
            ),
            (
                "Unhealthy",
                "kubelet",
                "Warning",
                "Liveness probe failed: ",
                Warning,
                "Liveness probe failed",
            ),
            (
                "Unhealthy",
                "kubelet",
                "Warning",
                "Readiness probe errored and resulted in unknown state",
                Warning,
                "Readiness probe failed",
            ),
            (
                "Killing",
                "kubelet",
                "Normal",
                "Stopping container app",
                Info,
                "Container stopping",
            ),
            (
                "Killing",
                "kubelet",
                "Normal",
                "Container app failed liveness probe, will be restarted",
                Warning,
                "Container restarted by its liveness probe",
            ),
            (
                "NodeNotReady",
                "node-controller",
                "Normal",
                "Node n status is now: NodeNotReady",
                Error,
                "Node not ready",
            ),
            (
                "NodeNotReady",
                "node-controller",
                "Warning",
                "Node is not ready",
                Error,
                "Node of the pod not ready",
            ),
            (
                "Starting",
                "kube-proxy",
                "Normal",
                "",
                Info,
                "Kube-proxy starting",
            ),
            (
                "FailedMount",
                "kubelet",
                "Warning",
                "MountVolume.SetUp failed for volume \"s\" : secret \"a\" not found",
                Error,
                "Volume mount failed, secret not found",
            ),
            (
                "FailedMount",
                "kubelet",
                "Warning",
                "MountVolume.SetUp failed for volume \"s\" : failed to sync secret cache: timed out waiting for the condition",
                Warning,
                "Volume mount waits for the node's caches",
            ),
            (
                "FailedCreate",
                "replicaset-controller",
                "Warning",
                "Error creating: pods \"x\" is forbidden: exceeded quota: q",
                Error,
                "Pod not created, quota exceeded",
            ),
            (
                "FailedCreate",
                "cronjob-controller",
                "Warning",
                "Error creating job: x",
                Error,
                "Job not created",
            ),
            (
                "NoPods",
                "controllermanager",
                "Normal",
                "No matching pods found",
                Info,
                "Disruption budget matches no pods",
            ),
            (
                "Completed",
                "job-controller",
                "Normal",
                "Job completed",
                Info,
                "Job completed",
            ),
            (
                "OOMKilling",
                "kernel-monitor",
                "Warning",
                "Memory cgroup out of memory: Killed process 1",
                Error,
                "Process killed, out of memory",
            ),
        ] {
            let found = meaning(reason, component, kube_type, message);
            assert_eq!(
                (found.severity, found.title.as_ref(), found.known),
                (severity, title, true),
                "{reason}: {message}"
            );
        }
    }

    #[test]
    fn a_warning_is_never_less_than_a_warning() {
        let found = meaning("Scheduled", "x", "Warning", "");
        assert_eq!((found.severity, found.known), (Warning, true));
    }

    #[test]
    fn unknown_reasons_speak_for_themselves() {
        for (reason, title) in [
            ("FailedToFrobnicate", "Failed to frobnicate"),
            ("frobnicated", "Frobnicated"),
            ("DNSLookupSlow", "DNS lookup slow"),
            ("HTTP", "HTTP"),
            ("GetIPFailed", "Get IP failed"),
            ("oauth2Denied", "Oauth2 denied"),
            ("my-reason_of.mine", "My reason of mine"),
            ("Two words", "Two words"),
            ("ÄrgerMitÜmlaut", "Ärger mit ümlaut"),
            ("ghp_AbCdEfGhIjKlMnOp", "ghp_AbCdEfGhIjKlMnOp"),
            ("", "Event without a reason"),
            ("--", "Event without a reason"),
        ] {
            for (kube_type, severity) in [
                ("Normal", Info),
                ("", Info),
                ("Warning", Warning),
                ("Fatal", Warning),
            ] {
                let found = meaning(reason, "x", kube_type, "");
                assert_eq!(
                    (found.severity, found.title.as_ref(), found.known),
                    (severity, title, false),
                    "{reason}"
                );
            }
        }
    }
}
