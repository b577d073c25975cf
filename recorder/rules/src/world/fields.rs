//! Who wrote which field of tracked objects lately.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kube9_ingest::field_writes::is_deployer;
use kube9_ingest::maps::Map;
use kube9_model::commit_stats::FieldWrite;
use kube9_model::time::Timestamp;

use crate::ledger::Ledger;
use crate::subject::ObjectKey;

/// Writes of a field that are kept; those of one manager in a row are one.
pub const WRITES_MAX: usize = 5;

/// How long writes are kept. Within it, managers that overwrite each other are found.
pub const WRITES_KEPT: Duration = Duration::from_secs(1800);

/// Fields of an object, objects of a namespace, and objects in total. One too many is not followed.
const FIELDS_MAX: usize = 16;
const OBJECTS_OF_NAMESPACE_MAX: usize = 64;
const OBJECTS_MAX: usize = 2_000;

/// Bytes of an object besides its fields: its slots in two maps.
const OBJECT_COST: usize = 400;

/// A field of an object.
#[derive(Debug, Default)]
pub struct FieldHistory {
    /// The newest writes, the oldest first.
    pub writes: VecDeque<FieldWrite>,
    /// The write that took the field from the tool that deploys the object.
    pub outside: Outside,
    /// When a finding about it was restored: its writes are not known.
    pub restored: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub enum Outside {
    /// No such write is known, or the tool has written the field since.
    #[default]
    No,
    Since(Box<FieldWrite>),
    /// A finding says so that was open before the start; the value that the tool had written.
    Restored(Box<str>),
}

/// Who wrote. The subcommands of kubectl are one client.
pub fn client(write: &FieldWrite) -> &str {
    match &*write.manager {
        kubectl if kubectl.starts_with("kubectl") => "kubectl",
        manager => manager,
    }
}

impl FieldHistory {
    fn cost(&self) -> usize {
        let outside = match &self.outside {
            Outside::Since(write) => cost(write),
            Outside::Restored(from) => from.len(),
            Outside::No => 0,
        };
        size_of::<Self>() + outside + self.writes.iter().map(cost).sum::<usize>()
    }
}

fn cost(write: &FieldWrite) -> usize {
    let texts = [
        &write.path,
        &write.from,
        &write.to,
        &write.manager,
        &write.via,
        &write.former,
    ];
    size_of::<FieldWrite>() + 100 + texts.iter().map(|text| text.len()).sum::<usize>()
}

/// The fields of the objects.
#[derive(Debug, Default)]
pub struct Fields {
    objects: Map<ObjectKey, BTreeMap<Box<str>, FieldHistory>>,
    of_namespace: BTreeMap<Box<str>, usize>,
    swept: Timestamp,
}

impl Fields {
    /// The fields of an object; `None` if none is followed.
    pub fn of(&self, object: &ObjectKey) -> Option<&BTreeMap<Box<str>, FieldHistory>> {
        self.objects.get(object)
    }

    /// Adds a write. Returns whether the object is followed.
    pub(super) fn note(
        &mut self,
        ledger: &mut Ledger,
        object: &ObjectKey,
        write: FieldWrite,
    ) -> bool {
        self.sweep(ledger, write.at);
        let Some(field) = self.field(ledger, object, &write.path) else {
            return false;
        };
        let before = field.cost();
        if is_deployer(&write.manager) {
            field.outside = Outside::No;
        } else if !write.former.is_empty() {
            field.outside = Outside::Since(Box::new(write.clone()));
        } else {
            let from = match &field.outside {
                Outside::No => None,
                Outside::Since(taken) => Some(&taken.from),
                Outside::Restored(from) => Some(from),
            };
            if from == Some(&write.to) {
                field.outside = Outside::No;
            }
        }
        match field.writes.back_mut() {
            // It continues what it did.
            Some(last) if client(last) == client(&write) => {
                (last.to, last.at) = (write.to, write.at)
            }
            _ => field.writes.push_back(write),
        }
        if field.writes.len() > WRITES_MAX {
            field.writes.pop_front();
        }
        let after = field.cost();
        ledger.sub(&object.namespace, before);
        ledger.add(&object.namespace, after);
        true
    }

    /// Notes that a finding about the field is open, whose writes were before the start.
    pub(super) fn restore(
        &mut self,
        ledger: &mut Ledger,
        object: &ObjectKey,
        path: &str,
        from: Option<&str>,
        now: Timestamp,
    ) {
        let Some(field) = self.field(ledger, object, path) else {
            return;
        };
        field.restored = Some(now);
        if let Some(from) = from {
            field.outside = Outside::Restored(from.into());
            ledger.add(&object.namespace, from.len());
        }
    }

    fn field(
        &mut self,
        ledger: &mut Ledger,
        object: &ObjectKey,
        path: &str,
    ) -> Option<&mut FieldHistory> {
        if !self.objects.contains_key(object) {
            let here = self
                .of_namespace
                .get(&*object.namespace)
                .copied()
                .unwrap_or(0);
            if here >= OBJECTS_OF_NAMESPACE_MAX || self.objects.len() >= OBJECTS_MAX {
                return None;
            }
            *self
                .of_namespace
                .entry(object.namespace.as_str().into())
                .or_default() += 1;
            self.objects.insert(object.clone(), BTreeMap::new());
            ledger.add(&object.namespace, OBJECT_COST);
        }
        let fields = self.objects.get_mut(object)?;
        if !fields.contains_key(path) {
            if fields.len() >= FIELDS_MAX {
                return None;
            }
            let field = FieldHistory::default();
            ledger.add(&object.namespace, field.cost());
            fields.insert(path.into(), field);
        }
        fields.get_mut(path)
    }

    /// Removes an object. Returns whether it was followed.
    pub(super) fn remove(&mut self, ledger: &mut Ledger, object: &ObjectKey) -> bool {
        let Some(fields) = self.objects.remove(object) else {
            return false;
        };
        let fields: usize = fields.values().map(FieldHistory::cost).sum();
        ledger.sub(&object.namespace, OBJECT_COST + fields);
        if let Some(here) = self.of_namespace.get_mut(&*object.namespace) {
            *here -= 1;
            if *here == 0 {
                self.of_namespace.remove(&*object.namespace);
            }
        }
        true
    }

    /// Removes the objects of a namespace.
    pub(super) fn remove_namespace(&mut self, ledger: &mut Ledger, namespace: &str) {
        if self.of_namespace.contains_key(namespace) {
            let here = self.objects.keys().filter(|key| key.namespace == namespace);
            for object in here.cloned().collect::<Vec<_>>() {
                self.remove(ledger, &object);
            }
        }
    }

    /// Removes what is too old, once a minute.
    fn sweep(&mut self, ledger: &mut Ledger, now: Timestamp) {
        if now.since(self.swept) < Duration::from_secs(60) {
            return;
        }
        self.swept = now;
        let is_over = |field: &FieldHistory| {
            let last = field
                .writes
                .back()
                .map(|write| write.at)
                .max(field.restored);
            // Some time after the finding has closed.
            let is_old = last.is_none_or(|last| now.since(last) > WRITES_KEPT + WRITES_KEPT);
            is_old && matches!(field.outside, Outside::No)
        };
        let mut empty = Vec::new();
        for (object, fields) in &mut self.objects {
            fields.retain(|_, field| {
                let goes = is_over(field);
                if goes {
                    ledger.sub(&object.namespace, field.cost());
                }
                !goes
            });
            if fields.is_empty() {
                empty.push(object.clone());
            }
        }
        for object in empty {
            self.remove(ledger, &object);
        }
    }
}
