//! Walks back through the states of an object, after its watch could not resume.
//!
//! ```text
//!   list: version 90 ─▶ exactly at 89: version 70 ─▶ exactly at 69: version 40, which is recorded
//! ```
//!
//! The recorded state is read again too: by another version of the API server, it may have other defaults.
//!
//! Exact lists by name come from etcd, which keeps its history for some minutes longer than the watch cache, that forgets
//! everything when the API server restarts. Each takes about a millisecond in the object's own namespace, but a hundred over
//! all namespaces of a large cluster.

use std::time::Duration;

use kube9_model::identity::ResourceVersion;
use serde_json::value::RawValue;

use crate::api::{Api, ApiError, Representation};
use crate::pages::ListPager;
use crate::resource::ApiResource;

/// Requests about one object.
const STEPS_MAX: u32 = 50;

/// Requests during one list.
const LIST_STEPS_MAX: u32 = 500;

/// Requests the states of objects between two versions.
pub struct Walker {
    api: Api,
    resource: ApiResource,
    /// Time limit of a request.
    timeout: Duration,
    /// Requests that are left during this list.
    left: u32,
}

/// The states of an object between two versions.
#[derive(Debug)]
pub struct WalkedStates<T> {
    /// The oldest first; if none is missing, the recorded one is the first.
    pub states: Vec<T>,
    /// No state is missing.
    pub is_complete: bool,
}

impl Walker {
    /// Of the objects of a resource.
    pub const fn new(api: Api, resource: ApiResource, timeout: Duration) -> Self {
        Self {
            api,
            resource,
            timeout,
            left: 0,
        }
    }

    /// A list begins.
    pub const fn list_begins(&mut self) {
        self.left = LIST_STEPS_MAX;
    }

    /// The states from version `from`, which is recorded, and before version `to`.
    pub async fn walk<T>(
        &mut self,
        namespace: &str,
        name: &str,
        (from, to): (i64, i64),
        read: impl Fn(&RawValue) -> T,
    ) -> WalkedStates<T> {
        let (mut states, mut at, mut steps) = (Vec::new(), to - 1, 0);
        let is_complete = loop {
            if steps == STEPS_MAX || self.left == 0 {
                break false;
            }
            steps += 1;
            self.left -= 1;
            // Whatever fails, the difference to the recorded state is known from the list.
            let Ok(Some((version, state))) = self.state_at(namespace, name, at, &read).await else {
                break false;
            };
            // Either the history is another one, or this is not what was asked for.
            if version < from || version > at {
                break false;
            }
            states.push(state);
            if version == from {
                break true;
            }
            at = version - 1;
        };
        states.reverse();
        WalkedStates {
            states,
            is_complete,
        }
    }

    /// The state of an object at a version of its cluster, with its own version.
    async fn state_at<T>(
        &self,
        namespace: &str,
        name: &str,
        at: i64,
        read: impl Fn(&RawValue) -> T,
    ) -> Result<Option<(i64, T)>, ApiError> {
        let mut pages = ListPager::new(&self.resource, namespace, 500, Representation::Objects)
            .named(name)
            .at_resource_version(&at.to_string());
        let page = pages
            .next(&self.api, self.timeout, |json| read(json))
            .await?;
        let Some(item) = page.items.into_iter().next() else {
            return Ok(None);
        };
        Ok(match ResourceVersion::new(&item.version) {
            ResourceVersion::Number(version) => Some((version, item.json)),
            ResourceVersion::Opaque(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use kube9_model::label::Kind;
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api;

    /// An object whose version was changed at these versions.
    const CHANGES: [i64; 4] = [10, 40, 70, 90];

    fn answer(path: &str, _: &Value) -> (u16, Value) {
        assert!(
            path.starts_with("/api/v1/namespaces/shop/configmaps?limit=500&"),
            "{path}"
        );
        assert!(
            path.contains("&fieldSelector=metadata.name%3Dsettings"),
            "{path}"
        );
        assert!(path.contains("&resourceVersionMatch=Exact&"), "{path}");
        let at: i64 = path
            .rsplit_once("resourceVersion=")
            .unwrap()
            .1
            .parse()
            .unwrap();
        if at < 40 {
            let status =
                json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
            return (410, status);
        }
        let version = CHANGES
            .into_iter()
            .rev()
            .find(|version| *version <= at)
            .unwrap();
        let object =
            json!({"metadata": {"name": "settings", "resourceVersion": version.to_string()}});
        (
            200,
            json!({"metadata": {"resourceVersion": at.to_string()}, "items": [object]}),
        )
    }

    async fn walked(from: i64) -> (Vec<String>, bool) {
        let api = Api::new(fake_api::client(answer));
        let resource = ApiResource::of(Kind::ConfigMap);
        let mut walker = Walker::new(api, resource, Duration::from_secs(5));
        walker.list_begins();
        let read = |json: &RawValue| {
            let object: Value = serde_json::from_str(json.get()).unwrap();
            object["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let walk = walker.walk("shop", "settings", (from, 90), read).await;
        (walk.states, walk.is_complete)
    }

    #[tokio::test]
    async fn walk_finds_each_state_since_the_recorded_one() {
        let of = |states: &[&str]| {
            states
                .iter()
                .copied()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(walked(40).await, (of(&["40", "70"]), true));
        assert_eq!(walked(70).await, (of(&["70"]), true));
        // The history of the API server begins later.
        assert_eq!(walked(10).await, (of(&["40", "70"]), false));
    }
}
