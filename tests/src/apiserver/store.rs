//! The server's data: every version of every object since the last compaction, as etcd keeps them.
//!
//! One resourceVersion counter for all kinds. Each kind has its keys with their versions (a list reads at any revision
//! since the compaction), and the ordered log of its changes (a watch resumes at any revision since the compaction). An
//! object is serialised once, when it is written; lists and watches share those bytes.
//!

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::kind::Kind;
use super::object::{Object, key, server_fields};
use super::status::Status;
use super::table::{Action, Change, Table};
use super::truth::Truth;

#[derive(Debug)]
struct Data {
    version: u64,
    compacted: u64,
    /// Cached kinds cannot be watched from below this revision, where their caches start.
    cache_floor: u64,
    tables: [Table; Kind::ALL.len()],
    event_ttl: Duration,
    /// When Events expire; entries of an older version of an Event are ignored.
    expiries: BinaryHeap<Reverse<(Instant, u64, Arc<str>)>>,
    truth: Truth,
}

/// A slice of a kind's keys at one revision.
#[derive(Debug)]
pub(super) struct Page {
    /// The revision it was read at.
    pub(super) version: u64,
    pub(super) items: Vec<Arc<Object>>,
    /// Key of the last item, if more follow.
    pub(super) last_key: Option<Arc<str>>,
    /// Number of remaining items, if any.
    pub(super) remaining: usize,
}

/// Why a page cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The revision is compacted.
    Compacted,
    /// The revision is in the future; this is the current one.
    Future(u64),
}

/// Why a watch cannot resume at a revision.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooOld {
    /// The oldest revision at which it could resume.
    pub(super) oldest: u64,
}

/// The data of a simulated API server. Clones share state.
#[derive(Debug, Clone)]
pub struct Store {
    data: Arc<Mutex<Data>>,
    /// Signalled after every write, to wake watches.
    pub(super) written: Arc<watch::Sender<u64>>,
}

impl Store {
    /// An empty store. A real cluster has a few hundred revisions before its first client connects.
    pub(super) fn new(event_ttl: Duration) -> Self {
        let data = Data {
            version: 400,
            compacted: 0,
            cache_floor: 0,
            tables: std::array::from_fn(|_| Table::default()),
            event_ttl,
            expiries: BinaryHeap::new(),
            truth: Truth::default(),
        };
        Self {
            data: Arc::new(Mutex::new(data)),
            written: Arc::new(watch::Sender::new(0)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        // A panic of another thread that held the lock already fails its test; the data is still usable.
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest resourceVersion.
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// The resourceVersion of the newest change of a kind, including deletions; 0 if there is none.
    pub fn newest(&self, kind: Kind) -> u64 {
        let data = self.lock();
        let newest = data.tables[kind.index()].log.back();
        newest.map_or(0, |change| change.version)
    }

    /// All accepted writes of Events, including deleted ones.
    pub fn truth(&self) -> Truth {
        self.lock().truth.clone()
    }

    /// Number of Events ever accepted.
    pub fn truth_len(&self) -> usize {
        self.lock().truth.events.len()
    }

    /// Number of objects of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.lock().tables[kind.index()].live
    }

    /// The object with that name; namespace empty for cluster-scoped kinds.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.lock().tables[kind.index()]
            .current(&key(namespace, name))
            .cloned()
    }

    /// All objects of a kind, in the order of a list.
    pub fn all(&self, kind: Kind) -> Vec<Arc<Object>> {
        let data = self.lock();
        data.tables[kind.index()]
            .chains
            .values()
            .filter_map(|c| c.last()?.1.clone())
            .collect()
    }

    /// Stores a new object.
    ///
    /// The server's own fields are filled in: uid and creationTimestamp where absent, resourceVersion always.
    ///
    /// # Errors
    /// `AlreadyExists`, or `Invalid` without a name.
    pub fn create(&self, kind: Kind, object: Value) -> Result<Arc<Object>, Status> {
        self.write(kind, object, |current, name| match current {
            Some(_) => Err(Status::already_exists(kind, name)),
            None => Ok(()),
        })
    }

    /// Creates or replaces the object with its name.
    ///
    /// # Errors
    /// `Invalid` without a name; `Conflict` when it carries a resourceVersion that is not the current one.
    pub fn apply(&self, kind: Kind, object: Value) -> Result<Arc<Object>, Status> {
        let wanted = object["metadata"]["resourceVersion"]
            .as_str()
            .map(str::to_owned);
        self.write(kind, object, |current, name| {
            match (current, wanted.as_deref()) {
                (Some(current), Some(wanted)) if wanted != current.version.to_string() => {
                    Err(Status::conflict(kind, name))
                }
                _ => Ok(()),
            }
        })
    }

    /// Changes the object with that name by a function.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn modify(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Arc<Object>, Status> {
        let mut data = self.lock();
        let Some(current) = data.tables[kind.index()]
            .current(&key(namespace, name))
            .cloned()
        else {
            return Err(Status::not_found(kind, name));
        };
        let mut value = current.to_value();
        change(&mut value);
        let Value::Object(value) = value else {
            return Err(Status::bad_request("the change left no object"));
        };
        Ok(self.commit(&mut data, kind, value, Some(&current)))
    }

    /// Changes how every object of a kind reads, at any version: a later API server has other defaults for what is stored.
    pub fn read_as(&self, kind: Kind, change: impl Fn(&mut Value)) {
        let mut data = self.lock();
        let again = |object: &Arc<Object>| {
            let mut value = object.to_value();
            change(&mut value);
            match value {
                Value::Object(map) => Arc::new(Object::encode(kind, map, object.version)),
                _ => Arc::clone(object),
            }
        };
        let table = &mut data.tables[kind.index()];
        for (_, object) in table.chains.values_mut().flatten() {
            *object = object.as_ref().map(again);
        }
        for change in &mut table.log {
            change.object = again(&change.object);
        }
    }

    /// Removes the object with that name and returns it.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn delete(&self, kind: Kind, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        let mut data = self.lock();
        self.remove(&mut data, kind, &key(namespace, name))
            .ok_or_else(|| Status::not_found(kind, name))
    }

    /// Stores bytes that are not a valid object of their kind, as a broken admission webhook or old etcd data can.
    ///
    /// `after_head` is what follows kind and apiVersion, up to and with the closing brace; `{version}` in it becomes
    /// the resourceVersion.
    pub fn poison(&self, kind: Kind, namespace: &str, name: &str, after_head: &[u8]) -> u64 {
        let mut data = self.lock();
        data.version += 1;
        let version = data.version;
        let mut body = kind.head().as_bytes().to_vec();
        let mark = b"{version}";
        match after_head.windows(mark.len()).position(|w| w == mark) {
            Some(at) => {
                body.extend_from_slice(&after_head[..at]);
                body.extend_from_slice(version.to_string().as_bytes());
                body.extend_from_slice(&after_head[at + mark.len()..]);
            }
            None => body.extend_from_slice(after_head),
        }
        let object = Object {
            kind,
            version,
            uid: Arc::from(""),
            namespace: Arc::from(namespace),
            name: Arc::from(name),
            metadata: 0..0,
            body: Bytes::from(body),
        };
        let table = &mut data.tables[kind.index()];
        let action = if table.current(&object.key()).is_some() {
            Action::Modified
        } else {
            Action::Added
        };
        table.push(Arc::from(object.key()), action, Arc::new(object));
        drop(data);
        self.written.send_replace(version);
        version
    }

    /// Compacts up to and including `version`, as etcd does; returns the compacted revision.
    pub fn compact(&self, version: u64) -> u64 {
        let mut data = self.lock();
        let to = version.min(data.version).max(data.compacted);
        data.compacted = to;
        for table in &mut data.tables {
            table.compact(to);
        }
        drop(data);
        // Wakes watches that are behind.
        self.written.send_replace(to);
        to
    }

    /// Restores an earlier revision, as a restore of etcd from a backup does.
    ///
    /// Later revisions are undone, and their numbers are reused for other changes.
    ///
    /// # Panics
    /// If that revision is compacted.
    pub fn restore(&self, version: u64) {
        let mut data = self.lock();
        assert!(
            version >= data.compacted && version <= data.version,
            "no backup of {version}"
        );
        for table in &mut data.tables {
            table.roll_back(version);
        }
        data.version = version;
        data.cache_floor = version;
        data.truth.roll_back(version);
        drop(data);
        self.written.send_replace(version);
    }

    /// Sets the TTL of Events written from now on.
    pub fn set_event_ttl(&self, ttl: Duration) {
        self.lock().event_ttl = ttl;
    }

    /// Deletes expired Events; `everything`: all of them.
    pub(super) fn delete_expired(&self, now: Instant, everything: bool) -> usize {
        let mut expired = 0;
        let mut data = self.lock();
        while let Some(Reverse((at, ..))) = data.expiries.peek() {
            if *at > now && !everything {
                break;
            }
            let Some(Reverse((_, version, key))) = data.expiries.pop() else {
                break;
            };
            let current = data.tables[Kind::Event.index()]
                .current(&key)
                .map(|o| o.version);
            if current == Some(version) {
                self.remove(&mut data, Kind::Event, &key);
                expired += 1;
            }
        }
        expired
    }

    /// Resets the watch caches to the current revision, as after a restart.
    pub(super) fn forget_caches(&self) {
        let mut data = self.lock();
        data.cache_floor = data.version;
    }

    /// Reads up to `limit` items (0: all) after a key, at a revision (`None`: the current one).
    ///
    /// `left` is the number of remaining items if the caller knows it; otherwise they are counted.
    pub(super) fn page(
        &self,
        kind: Kind,
        namespace: &str,
        at: Option<u64>,
        after: Option<&str>,
        limit: usize,
        left: Option<usize>,
    ) -> Result<Page, Unreadable> {
        let data = self.lock();
        let version = at.unwrap_or(data.version);
        if version < data.compacted {
            return Err(Unreadable::Compacted);
        }
        if version > data.version {
            return Err(Unreadable::Future(data.version));
        }
        let prefix = if namespace.is_empty() {
            String::new()
        } else {
            format!("{namespace}/")
        };
        let from = match after {
            // The first key that sorts after this one.
            Some(key) => format!("{key}\0"),
            None => prefix.clone(),
        };
        let limit = if limit == 0 { usize::MAX } else { limit };
        let table = &data.tables[kind.index()];
        let whole = at.is_none() && after.is_none() && namespace.is_empty();
        let left = left.or(whole.then_some(table.live));
        let mut page = Page {
            version,
            items: Vec::new(),
            last_key: None,
            remaining: 0,
        };
        let mut last = None;
        for (key, chain) in table
            .chains
            .range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded))
        {
            if !key.starts_with(&prefix) {
                break;
            }
            let seen = chain.partition_point(|(v, _)| *v <= version);
            let Some(object) = seen.checked_sub(1).and_then(|i| chain[i].1.as_ref()) else {
                continue;
            };
            if page.items.len() < limit {
                page.items.push(Arc::clone(object));
                last = Some(key);
            } else if let Some(left) = left {
                page.remaining = left.saturating_sub(page.items.len());
                break;
            } else {
                page.remaining += 1;
            }
        }
        if page.remaining > 0 {
            page.last_key = last.cloned();
        }
        Ok(page)
    }

    /// The next changes of a kind after a revision, at most `limit`, and the current revision.
    pub(super) fn changes(
        &self,
        kind: Kind,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<Change>, u64), TooOld> {
        let data = self.lock();
        let oldest = if kind.cached() {
            data.cache_floor.max(data.compacted)
        } else {
            // etcd refuses a watch from before the compacted revision.
            data.compacted.saturating_sub(1)
        };
        if after < oldest {
            return Err(TooOld { oldest });
        }
        let log = &data.tables[kind.index()].log;
        let start = log.partition_point(|c| c.version <= after);
        Ok((
            log.range(start..).take(limit).cloned().collect(),
            data.version,
        ))
    }

    fn write(
        &self,
        kind: Kind,
        object: Value,
        allow: impl FnOnce(Option<&Arc<Object>>, &str) -> Result<(), Status>,
    ) -> Result<Arc<Object>, Status> {
        let Value::Object(value) = object else {
            return Err(Status::bad_request(
                "the object provided is not a JSON object",
            ));
        };
        let metadata = value.get("metadata");
        let text = |key: &str| {
            metadata
                .and_then(|m| m.get(key))
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_owned()
        };
        let (name, namespace) = (text("name"), text("namespace"));
        if name.is_empty() {
            let why = "Required value: name or generateName is required";
            return Err(Status::invalid(
                kind,
                "",
                "metadata.name",
                why,
                "FieldValueRequired",
            ));
        }
        let mut data = self.lock();
        let current = data.tables[kind.index()]
            .current(&key(&namespace, &name))
            .cloned();
        allow(current.as_ref(), &name)?;
        Ok(self.commit(&mut data, kind, value, current.as_ref()))
    }

    fn commit(
        &self,
        data: &mut Data,
        kind: Kind,
        mut value: Map<String, Value>,
        current: Option<&Arc<Object>>,
    ) -> Arc<Object> {
        let version = data.version + 1;
        let metadata = value.shift_remove("metadata").unwrap_or_default();
        let metadata = server_fields(metadata, current, version);
        value.insert("metadata".to_owned(), Value::Object(metadata));
        if let Some(current) = current
            && Object::encode(kind, value.clone(), current.version).body == current.body
        {
            // As on a real server, a write without a change creates no revision.
            return Arc::clone(current);
        }
        data.version = version;
        if kind == Kind::Event {
            data.truth.accepted(&value, version);
        }
        let object = Arc::new(Object::encode(kind, value, version));
        let key: Arc<str> = Arc::from(object.key());
        if kind == Kind::Event {
            let expires = Instant::now() + data.event_ttl;
            data.expiries
                .push(Reverse((expires, version, Arc::clone(&key))));
        }
        let action = if current.is_some() {
            Action::Modified
        } else {
            Action::Added
        };
        data.tables[kind.index()].push(key, action, Arc::clone(&object));
        self.written.send_replace(version);
        object
    }

    fn remove(&self, data: &mut Data, kind: Kind, key: &str) -> Option<Arc<Object>> {
        let current = data.tables[kind.index()].current(key)?.clone();
        data.version += 1;
        let version = data.version;
        let object = Arc::new(current.at_version(version));
        if kind == Kind::Event {
            data.truth.deleted(&object.uid, version);
        }
        data.tables[kind.index()].push(Arc::from(key), Action::Deleted, Arc::clone(&object));
        self.written.send_replace(version);
        Some(object)
    }
}
