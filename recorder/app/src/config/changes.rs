//! Which kinds and resources are tracked.

use kube9_model::change::kinds::{
    BUILT_IN, BadKindName, BadResource, PRESETS, ResourceId, TrackedKind, built_in,
};

use super::{ChangesConfig, Config};

/// Watches that the change history may open if it records single namespaces: each kind needs one in each namespace.
pub(super) const WATCHES_MAX: usize = 100;

impl ChangesConfig {
    /// The default kinds that are tracked; `is_namespaced`: in single namespaces.
    ///
    /// # Errors
    /// Index and reason of an entry that is not such a kind.
    fn kinds(
        &self,
        is_namespaced: bool,
    ) -> Result<Vec<&'static TrackedKind>, (usize, BadKindName)> {
        let (mut named, mut left_out) = (Vec::new(), Vec::new());
        for (index, word) in self.kinds.iter().enumerate() {
            let word = word.trim();
            let bad = |bad| (index, bad);
            if let Some(word) = word.strip_prefix('-') {
                left_out.push(built_in(word).map_err(bad)?);
                continue;
            }
            let kind = built_in(word).map_err(bad)?;
            if is_namespaced && !kind.namespaced {
                return Err((index, BadKindName::ClusterScoped(word.to_owned())));
            }
            named.push(kind);
        }
        let by_default = |kind: &TrackedKind| {
            // Roles are left out of Kubernetes' own role `view` on purpose.
            !is_namespaced || kind.namespaced && kind.group != "rbac.authorization.k8s.io"
        };
        let has = |kinds: &[&TrackedKind], kind: &TrackedKind| {
            kinds.iter().any(|one| std::ptr::eq(*one, kind))
        };
        let is_tracked = |kind: &&TrackedKind| {
            !has(&left_out, kind)
                && if named.is_empty() {
                    by_default(kind)
                } else {
                    has(&named, kind)
                }
        };
        Ok(BUILT_IN.iter().filter(is_tracked).collect())
    }

    /// The resources that are tracked besides the default kinds.
    ///
    /// # Errors
    /// Index and reason of an entry that is none.
    fn resources(&self) -> Result<Vec<ResourceId>, (usize, BadResource)> {
        let mut ids: Vec<ResourceId> = Vec::new();
        for (index, text) in self.resources.iter().enumerate() {
            let text = text.trim();
            let preset = PRESETS.iter().find(|(name, _)| *name == text);
            let one = [text];
            for text in preset.map_or(&one[..], |(_, resources)| resources) {
                let id: ResourceId = text.parse().map_err(|bad| (index, bad))?;
                let is_default = BUILT_IN
                    .iter()
                    .any(|kind| (&*kind.group, &*kind.resource) == (&*id.group, &*id.resource));
                if is_default {
                    return Err((index, BadResource::Default(text.to_string(), id.resource)));
                }
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
        Ok(ids)
    }
}

/// What the change history tracks.
#[derive(Debug, Default)]
pub(crate) struct Tracked {
    pub(crate) kinds: Vec<&'static TrackedKind>,
    pub(crate) resources: Vec<ResourceId>,
}

impl Tracked {
    pub(crate) fn has(&self, kind: &TrackedKind) -> bool {
        self.kinds.iter().any(|one| std::ptr::eq(*one, kind))
    }
}

impl Config {
    /// What the change history tracks; the configuration was validated.
    pub(crate) fn tracked(&self) -> Tracked {
        if !self.changes.enabled {
            return Tracked::default();
        }
        let is_namespaced = !self.kube.namespaces.is_empty();
        Tracked {
            kinds: self.changes.kinds(is_namespaced).unwrap_or_default(),
            resources: self.changes.resources().unwrap_or_default(),
        }
    }

    /// Path and text of each problem.
    pub(super) fn problems_of_changes(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let namespaces = self.kube.namespaces.len();
        let kinds = self.changes.kinds(namespaces > 0);
        let resources = self.changes.resources();
        if let Err((index, bad)) = &kinds {
            problems.push((format!("changes.kinds[{index}]"), bad.to_string()));
        }
        if let Err((index, bad)) = &resources {
            problems.push((format!("changes.resources[{index}]"), bad.to_string()));
        }
        if let (true, Ok(kinds), Ok(resources)) = (self.changes.enabled, kinds, resources) {
            let tracked = kinds.len() + resources.len();
            let watches = tracked * namespaces;
            if watches > WATCHES_MAX {
                problems.push((
                    "changes.kinds".to_owned(),
                    format!(
                        "{tracked} kinds in {namespaces} namespaces are {watches} watches, more than {WATCHES_MAX}; \
                         name fewer kinds, or record the whole cluster"
                    ),
                ));
            }
        }
        problems
    }
}
