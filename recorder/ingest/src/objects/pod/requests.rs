//! What a pod requests of its node, counted as the scheduler and `kubectl describe node` do.
//!
//! ```text
//!   init containers run one after the other, sidecars that started before them run on:
//!     containers = max(main + all sidecars, each init container + the sidecars before it)
//!     pod        = spec.resources, or else containers; + overhead of the RuntimeClass
//! ```

use super::{Container, PodSpec, Resources, Role};

impl PodSpec {
    /// CPU in thousandths of a core.
    pub fn cpu_request(&self) -> i64 {
        self.request(|resources| resources.cpu_request)
    }

    /// Memory in thousandths of a byte.
    pub fn memory_request(&self) -> i64 {
        self.request(|resources| resources.memory_request)
    }

    fn request(&self, of: impl Fn(&Resources) -> Option<i64>) -> i64 {
        let requested = |container: &Container| of(&container.resources).unwrap_or(0);
        let (mut main, mut sidecars, mut highest_init) = (0_i64, 0_i64, 0_i64);
        for container in &self.containers {
            let request = requested(container);
            match container.role {
                Role::Main => main = main.saturating_add(request),
                Role::Sidecar => sidecars = sidecars.saturating_add(request),
                Role::Init => highest_init = highest_init.max(sidecars.saturating_add(request)),
            }
        }
        let containers = main.saturating_add(sidecars).max(highest_init);
        let pod = of(&self.resources).unwrap_or(containers);
        pod.saturating_add(of(&self.overhead).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::objects::Pod;

    fn container(cpu: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
    }

    fn sidecar(cpu: &str) -> Value {
        let mut container = container(cpu);
        container["restartPolicy"] = json!("Always");
        container
    }

    fn cpu(spec: Value) -> i64 {
        let pod: Pod = serde_json::from_str(&json!({"spec": spec}).to_string()).unwrap();
        pod.spec.cpu_request()
    }

    #[test]
    fn request_counts_containers_as_the_scheduler_does() {
        let main = || vec![container("100m"), container("200m")];
        for (spec, expected) in [
            (json!({"containers": main()}), 300),
            // An init container counts only if it needs more than what runs later.
            (
                json!({"containers": main(), "initContainers": [container("250m")]}),
                300,
            ),
            (
                json!({"containers": main(), "initContainers": [container("2"), container("1")]}),
                2000,
            ),
            // A sidecar runs beside the main containers.
            (
                json!({"containers": main(), "initContainers": [sidecar("1"), sidecar("500m")]}),
                1800,
            ),
            // It also runs beside the init containers after it, but not beside those before it.
            (
                json!({"containers": main(), "initContainers": [sidecar("1"), container("2")]}),
                3000,
            ),
            (
                json!({"containers": main(), "initContainers": [container("2"), sidecar("1")]}),
                2000,
            ),
            (
                json!({"containers": main(), "initContainers": [sidecar("1"), container("2"), sidecar("2")]}),
                3300,
            ),
            (
                json!({"containers": main(), "overhead": {"cpu": "250m", "memory": "120Mi"}}),
                550,
            ),
            (
                json!({"containers": main(), "overhead": null, "resources": null}),
                300,
            ),
            // The pod's own request takes the place of the sum, of CPU and memory apart.
            (
                json!({"containers": main(), "resources": {"requests": {"cpu": "3"}}}),
                3000,
            ),
            (
                json!({"containers": main(), "resources": {"requests": {"cpu": "3"}}, "overhead": {"cpu": "1"}}),
                4000,
            ),
            (
                json!({"containers": main(), "resources": {"requests": {"memory": "1Gi"}}}),
                300,
            ),
            (
                json!({"containers": [{"name": "a"}], "resources": {"requests": {"cpu": 2}}}),
                2000,
            ),
            (
                json!({"containers": main(), "initContainers": [container("5")], "resources": {"requests": {"cpu": "3"}}}),
                3000,
            ),
        ] {
            assert_eq!(cpu(spec.clone()), expected, "{spec}");
        }
    }
}
