//! Bounds how much of an object is kept: anyone who can edit one namespace chooses the size of its objects.
//!
//! ```text
//!   JSON ─▶ Few, FewPairs (lists end early) ─▶ Budget (bytes of the object) ─▶ Fit: whole, cut, too large
//! ```
//!
//! Names of keys, ports, volumes and the like are *details*: what exceeds the budget is cut, and rules see less. Labels,
//! selectors and containers are *essential*: without some of them a rule would draw a wrong conclusion, so an object
//! whose essential part does not fit is not kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Bytes kept of one object. Pods and Deployments of a real cluster keep 1 to 3 KiB; a ConfigMap may have
/// about 350 keys.
pub const OBJECT_BYTES_MAX: usize = 32 << 10;

/// Longest text: a registry's name and a repository (255), a tag (128) and a digest (71), with their separators.
const TEXT_BYTES_MAX: usize = 512;

/// Overhead of a text: the allocator's share.
const TEXT_COST: usize = 16;

/// Overhead of an entry of a map or a set: its slot in a node that is two thirds full.
const ENTRY_COST: usize = 48;

/// Containers of a pod. Most have one or two; a mesh and its helpers make ten.
pub(super) const CONTAINERS_MAX: usize = 64;

/// Elements of any other list; most lists exceed the budget sooner.
pub(super) const ELEMENTS_MAX: usize = 1000;

/// Conditions of a status: Kubernetes writes up to six, node problem detectors a dozen more.
pub(super) const CONDITIONS_MAX: usize = 32;

/// How much of an object is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Fit {
    /// Everything that kube9 reads of it.
    #[default]
    Whole,
    /// Details are missing.
    Cut,
    /// Only its name: the essential part is too large.
    TooLarge,
}

/// The budget of one object.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
    /// A text was shortened; nothing is missing.
    shortened: bool,
    /// Something did not fit.
    full: bool,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self {
            left: OBJECT_BYTES_MAX,
            shortened: false,
            full: false,
        }
    }

    /// Notes that a list ended early.
    pub(super) const fn ended_early(&mut self, cut: bool) {
        self.full |= cut;
    }

    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    /// Bytes that are used so far.
    pub(super) fn used(&self) -> u32 {
        u32::try_from(OBJECT_BYTES_MAX - self.left).unwrap_or(u32::MAX)
    }

    pub(super) const fn fit(&self) -> Fit {
        if self.full || self.shortened {
            Fit::Cut
        } else {
            Fit::Whole
        }
    }

    /// Takes bytes from the budget, if it has them.
    pub(super) const fn take(&mut self, bytes: usize) -> bool {
        if bytes > self.left {
            self.full = true;
            return false;
        }
        self.left -= bytes;
        true
    }

    /// A text; emptied if it does not fit.
    pub(super) fn text(&mut self, text: &mut Box<str>) {
        if text.is_empty() {
            return;
        }
        if text.len() > TEXT_BYTES_MAX {
            self.shortened = true;
            let end = text.floor_char_boundary(TEXT_BYTES_MAX - "…".len());
            *text = format!("{}…", &text[..end]).into();
        }
        if !self.take(text.len() + TEXT_COST) {
            *text = Box::default();
        }
    }

    /// Whether the budget has what `take` takes.
    fn whether(&mut self, take: impl FnOnce(&mut Self)) -> bool {
        let was_full = std::mem::take(&mut self.full);
        take(self);
        let fits = !self.full;
        self.full |= was_full;
        fits
    }

    /// The first elements of a list; `inner` takes what one of them holds.
    pub(super) fn list<T>(&mut self, list: &mut Vec<T>, inner: impl Fn(&mut Self, &mut T)) {
        let mut kept = 0;
        for one in list.iter_mut() {
            let fits = self.whether(|budget| {
                budget.take(size_of::<T>());
                inner(budget, one);
            });
            if !fits {
                break;
            }
            kept += 1;
        }
        list.truncate(kept);
        list.shrink_to_fit();
    }

    /// The first entries of a map.
    pub(super) fn map<V>(
        &mut self,
        map: &mut BTreeMap<Box<str>, V>,
        inner: impl Fn(&mut Self, &mut V),
    ) {
        let mut kept = BTreeMap::new();
        for (mut key, mut value) in std::mem::take(map) {
            let fits = self.whether(|budget| {
                budget.take(ENTRY_COST + size_of::<V>());
                budget.text(&mut key);
                inner(budget, &mut value);
            });
            if !fits {
                break;
            }
            kept.insert(key, value);
        }
        *map = kept;
    }

    /// Pairs of texts, as labels are.
    pub(super) fn pairs(&mut self, pairs: &mut BTreeMap<Box<str>, Box<str>>) {
        self.map(pairs, Self::text);
    }

    /// The first texts of a set.
    pub(super) fn set(&mut self, set: &mut BTreeSet<Box<str>>) {
        let mut kept = BTreeSet::new();
        for mut text in std::mem::take(set) {
            let fits = self.whether(|budget| {
                budget.take(ENTRY_COST);
                budget.text(&mut text);
            });
            if !fits {
                break;
            }
            kept.insert(text);
        }
        *set = kept;
    }
}

/// The first `N` elements of a list; the others are skipped unread.
#[derive(Debug)]
pub(super) struct Few<T, const N: usize> {
    pub(super) kept: Vec<T>,
    /// There were more.
    pub(super) cut: bool,
}

impl<T, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            cut: false,
        }
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Few<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoundedVisitor<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for BoundedVisitor<T, N> {
            type Value = Few<T, N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut few = Few::default();
                while few.kept.len() < N {
                    match list.next_element()? {
                        Some(one) => few.kept.push(one),
                        None => return Ok(few),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {
                    few.cut = true;
                }
                Ok(few)
            }
        }
        deserializer.deserialize_seq(BoundedVisitor(PhantomData))
    }
}

/// The first [`ELEMENTS_MAX`] entries of a map; the others are skipped unread.
#[derive(Debug)]
pub(super) struct FewPairs<V> {
    pub(super) kept: BTreeMap<Box<str>, V>,
    /// There were more.
    pub(super) cut: bool,
}

impl<V> Default for FewPairs<V> {
    fn default() -> Self {
        Self {
            kept: BTreeMap::new(),
            cut: false,
        }
    }
}

/// The value of a pair; its key may decide what is kept of it.
pub(super) trait PairValue<'de>: Sized {
    fn next<A: MapAccess<'de>>(map: &mut A, key: &str) -> Result<Self, A::Error>;
}

impl<'de> PairValue<'de> for Box<str> {
    fn next<A: MapAccess<'de>>(map: &mut A, _key: &str) -> Result<Self, A::Error> {
        map.next_value()
    }
}

impl<'de, V: PairValue<'de>> Deserialize<'de> for FewPairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoundedVisitor<V>(PhantomData<V>);
        impl<'de, V: PairValue<'de>> Visitor<'de> for BoundedVisitor<V> {
            type Value = FewPairs<V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut few = FewPairs::default();
                while few.kept.len() < ELEMENTS_MAX {
                    let Some(key) = map.next_key::<Box<str>>()? else {
                        return Ok(few);
                    };
                    let value = V::next(&mut map, &key)?;
                    few.kept.insert(key, value);
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    few.cut = true;
                }
                Ok(few)
            }
            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(FewPairs::default())
            }
        }
        deserializer.deserialize_map(BoundedVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use kube9_model::label::Kind;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::objects::Object;

    fn decoded(kind: Kind, object: &Value) -> Object {
        Object::decode(kind, &object.to_string()).unwrap()
    }

    fn texts(prefix: &str, n: usize, length: usize) -> impl Iterator<Item = String> {
        let filler = "x".repeat(length);
        (0..n).map(move |n| format!("{prefix}{n}{filler}"))
    }

    fn map(prefix: &str, n: usize, length: usize) -> Value {
        let pairs = texts(prefix, n, length).map(|key| (key, json!("v")));
        Value::Object(pairs.collect::<Map<_, _>>())
    }

    fn list(n: usize, of: impl Fn(usize) -> Value) -> Value {
        (0..n).map(of).collect()
    }

    /// Objects that the API server takes, each with another part that is too large, and how much of it is kept.
    fn large() -> Vec<(Kind, Value, Fit)> {
        let meta = |more: Value| {
            let mut meta =
                json!({"name": "n", "namespace": "s", "uid": "u", "resourceVersion": "1"});
            if let (Some(meta), Value::Object(more)) = (meta.as_object_mut(), more) {
                meta.extend(more);
            }
            meta
        };
        let with = |part: &str, spec: Value| json!({"metadata": meta(json!({})), part: spec});
        let of_container = |more: Value| {
            let mut container = json!({"name": "c", "image": "i"});
            if let (Some(container), Value::Object(more)) = (container.as_object_mut(), more) {
                container.extend(more);
            }
            with("spec", json!({"containers": [container]}))
        };
        let labels = json!({"metadata": meta(json!({"labels": map("l", 3000, 50)}))});
        let message = "m".repeat(32 << 10);
        let wordy = list(
            40,
            |n| json!({"type": format!("T{n}"), "status": "True", "message": message}),
        );
        let config_map = |n: usize| json!({"name": format!("v{n}"), "configMap": {"name": format!("m{n}{}", "x".repeat(200))}});
        let template =
            |containers: Value| json!({"template": {"spec": {"containers": containers}}});
        vec![
            (Kind::ConfigMap, with("data", map("k", 3500, 225)), Fit::Cut),
            (Kind::ConfigMap, with("data", map("k", 200, 20)), Fit::Whole),
            (Kind::ConfigMap, labels.clone(), Fit::TooLarge),
            (Kind::Service, labels.clone(), Fit::TooLarge),
            (
                Kind::Service,
                with("spec", json!({"selector": map("l", 900, 50)})),
                Fit::TooLarge,
            ),
            (
                Kind::Service,
                with(
                    "spec",
                    json!({"ports": list(4000, |n| json!({"port": n + 1, "name": format!("port-{n}"), "targetPort": "a"}))}),
                ),
                Fit::Cut,
            ),
            (Kind::Deployment, labels.clone(), Fit::TooLarge),
            (
                Kind::Deployment,
                with(
                    "spec",
                    template(list(
                        60,
                        |n| json!({"name": format!("c{n}"), "image": "i".repeat(50_000)}),
                    )),
                ),
                Fit::Cut,
            ),
            (
                Kind::Deployment,
                with(
                    "spec",
                    json!({"template": {"metadata": {"labels": map("l", 900, 50)}}}),
                ),
                Fit::TooLarge,
            ),
            (
                Kind::Deployment,
                with("status", json!({"conditions": wordy})),
                Fit::Whole,
            ),
            (Kind::Pod, labels.clone(), Fit::TooLarge),
            (
                Kind::Pod,
                with("spec", json!({"volumes": list(5000, config_map)})),
                Fit::Cut,
            ),
            (
                Kind::Pod,
                with(
                    "spec",
                    json!({"volumes": list(900, |n| json!({"hostPath": {"path": format!("/{n}{}", "x".repeat(300))}}))}),
                ),
                Fit::Cut,
            ),
            (
                Kind::Pod,
                with(
                    "spec",
                    json!({"containers": list(1000, |n| json!({"name": format!("c{n}"), "image": "i"}))}),
                ),
                Fit::TooLarge,
            ),
            (
                Kind::Pod,
                with(
                    "status",
                    json!({"containerStatuses": list(1000, |n| json!({"name": format!("c{n}")}))}),
                ),
                Fit::TooLarge,
            ),
            (
                Kind::Pod,
                of_container(
                    json!({"env": list(15_000, |n| json!({"name": format!("PASSWORD_{n}_{}", "X".repeat(60)), "value": "v"}))}),
                ),
                Fit::Cut,
            ),
            (
                Kind::Pod,
                of_container(json!({"image": "i".repeat(50_000)})),
                Fit::Cut,
            ),
            (
                Kind::Pod,
                of_container(
                    json!({"ports": list(5000, |n| json!({"containerPort": n + 1, "name": format!("p{n}")}))}),
                ),
                Fit::Cut,
            ),
            (
                Kind::Pod,
                of_container(
                    json!({"securityContext": {"capabilities": {"add": list(2000, |n| json!(format!("C{n}")))}}}),
                ),
                Fit::Cut,
            ),
            (
                Kind::Pod,
                with("status", json!({"message": message, "reason": message})),
                Fit::Cut,
            ),
            (
                Kind::Pod,
                json!({"metadata": meta(json!({"annotations": {"kube9.io/ignore": "ImageNotPinned,".repeat(80_000)}}))}),
                Fit::Whole,
            ),
            (
                Kind::Pod,
                json!({"metadata": meta(json!({"ownerReferences": list(5000, |n| json!({"kind": "X", "name": format!("o{n}")}))}))}),
                Fit::Whole,
            ),
            (Kind::Node, labels, Fit::Whole),
            (
                Kind::Node,
                with(
                    "spec",
                    json!({"taints": list(5000, |n| json!({"key": format!("k{n}"), "value": "v".repeat(60)}))}),
                ),
                Fit::Cut,
            ),
        ]
    }

    #[test]
    fn object_of_any_size_stays_within_its_bound() {
        for (kind, object, fit) in large() {
            let whole = object.to_string();
            let kept = decoded(kind, &object);
            let meta = kept.meta();
            let start = &whole[..whole.floor_char_boundary(200)];
            assert_eq!(meta.fit, fit, "{kind:?} {start}");
            assert_eq!((&*meta.namespace, &*meta.name), ("s", "n"), "{start}");
            let spec = match &kept {
                Object::Pod(pod) => pod.spec.held,
                _ => 0,
            };
            assert!((meta.held + spec) as usize <= OBJECT_BYTES_MAX, "{start}");
            // The estimate is at least the size of the object as JSON.
            let text = format!("{kept:?}").len();
            assert!(
                text <= 4 * OBJECT_BYTES_MAX,
                "{text} bytes: {kind:?} {start}"
            );
        }
    }

    #[test]
    fn object_cut_twice_is_equal() {
        for (kind, object, _) in large() {
            let text = |object: &Object| format!("{object:?}");
            let (once, again) = (decoded(kind, &object), decoded(kind, &object));
            assert_eq!(text(&once), text(&again));
        }
    }
}
