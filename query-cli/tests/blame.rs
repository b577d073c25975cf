//! `object blame` and `object diff` against a simulated API server that knows who last set each field, and when.
//!
//! `KUBE9_EDITS` sets the number of edits, `KUBE9_SEED` the seed.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test, whose settings are environment variables"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube9_model::change::kinds::{ResourceId, TrackedKind};
use kube9_model::time::Timestamp;
use kube9_model::watch::RelistCause;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::TestDir;
use crate::support::objects::{Recorded, kind, minute};

const EDITS: u64 = 900;

/// Objects that are compared, at several times each.
const COMPARED: usize = 50;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % most
    }

    fn one<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len() as u64) as usize]
    }
}

/// A step to a field: of a map, or the element with this name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Field(String),
    Named(String),
}

/// The steps to a leaf.
type Location = Vec<Step>;

/// `spec/containers/[app]/image`
fn location(text: &str) -> Location {
    let step = |word: &str| match word.strip_prefix('[') {
        Some(name) => Step::Named(name.trim_end_matches(']').to_owned()),
        None => Step::Field(word.replace('|', "/")),
    };
    text.split('/').map(step).collect()
}

/// As the command prints it.
fn printed(location: &[Step]) -> String {
    let mut text = String::new();
    for step in location {
        match step {
            Step::Named(name) => text.push_str(&format!("[{name}]")),
            Step::Field(name) if name.contains(['.', '/']) => text.push_str(&format!("[{name:?}]")),
            Step::Field(name) if text.is_empty() => text.push_str(name),
            Step::Field(name) => text.push_str(&format!(".{name}")),
        }
    }
    text
}

/// Sets the value of a leaf of a manifest.
fn put(into: &mut Value, location: &[Step], value: &Value) {
    let Some((step, rest)) = location.split_first() else {
        *into = value.clone();
        return;
    };
    match step {
        Step::Field(name) => put(&mut into[name.as_str()], rest, value),
        Step::Named(name) => {
            if into.is_null() {
                *into = json!([]);
            }
            let elements = into.as_array_mut().unwrap();
            let known = elements.iter().position(|one| one["name"] == **name);
            let at = known.unwrap_or_else(|| {
                elements.push(json!({"name": name}));
                elements.len() - 1
            });
            put(&mut elements[at], rest, value);
        }
    }
}

/// The fields of an entry as `managedFields` has them.
fn fields_v1(locations: &BTreeSet<Location>) -> Value {
    let mut fields = json!({});
    for location in locations {
        let mut inner = &mut fields;
        for step in location {
            inner = match step {
                Step::Field(name) => &mut inner[format!("f:{name}")],
                Step::Named(name) => &mut inner[format!("k:{}", json!({"name": name}))],
            };
            if inner.is_null() {
                *inner = json!({});
            }
            if matches!(step, Step::Named(_)) {
                inner["."] = json!({});
            }
        }
    }
    fields
}

/// The API server's object.
#[derive(Debug, Clone)]
struct Object {
    kind: usize,
    name: String,
    uid: u64,
    created: Timestamp,
    leaves: BTreeMap<Location, Value>,
    entries: Vec<Entry>,
}

/// Of `managedFields`.
#[derive(Debug, Clone)]
struct Entry {
    writer: usize,
    at: Timestamp,
    locations: BTreeSet<Location>,
}

/// A manager and how it writes.
struct Writer {
    manager: &'static str,
    operation: &'static str,
    subresource: &'static str,
}

const WRITERS: [Writer; 6] = [
    Writer {
        manager: "helm",
        operation: "Update",
        subresource: "",
    },
    Writer {
        manager: "kubectl-edit",
        operation: "Update",
        subresource: "",
    },
    Writer {
        manager: "kubectl-client-side-apply",
        operation: "Update",
        subresource: "",
    },
    Writer {
        manager: "argocd-controller",
        operation: "Apply",
        subresource: "",
    },
    Writer {
        manager: "my operator, v2",
        operation: "Update",
        subresource: "",
    },
    AUTOSCALER,
];
const OPERATOR: usize = 4;
const SCALES: usize = 5;
const AUTOSCALER: Writer = Writer {
    manager: "kube-controller-manager",
    operation: "Update",
    subresource: "scale",
};

/// A value that a field had from a time on, and who set it; `None`: it had none.
#[derive(Debug, Clone)]
struct Set {
    at: Timestamp,
    /// `None`: before the record.
    writer: Option<usize>,
    value: Option<Value>,
    /// The recorder saw the object while the field had this value.
    is_received: bool,
}

/// The simulated API server, and a recorder that watches it.
struct World {
    dir: TestDir,
    record: Recorded,
    kinds: [TrackedKind; 3],
    /// Of each kind.
    locations: [Vec<Location>; 3],
    objects: BTreeMap<String, Object>,
    /// What each field of each object was, in order.
    truth: BTreeMap<(String, Location), Vec<Set>>,
    /// From when to when each object existed.
    lives: BTreeMap<String, Vec<(Timestamp, Option<Timestamp>)>>,
    uid: u64,
    is_watching: bool,
    /// Edits that follow quickly, of the first objects.
    burst: u64,
    /// Changes that the recorder has not seen.
    unseen: Vec<String>,
    begins: Timestamp,
}

fn locations() -> [Vec<Location>; 3] {
    let mut deployment = vec![
        "spec/replicas".to_owned(),
        "spec/paused".to_owned(),
        "metadata/labels/app".to_owned(),
        "metadata/annotations/example.com|note".to_owned(),
    ];
    for container in ["app", "proxy"] {
        let at = |field: &str| format!("spec/template/spec/containers/[{container}]/{field}");
        deployment.extend([at("name"), at("image"), at("args"), at("imagePullPolicy")]);
        for name in ["MODE", "LEVEL"] {
            deployment.extend([
                at(&format!("env/[{name}]/name")),
                at(&format!("env/[{name}]/value")),
            ]);
        }
    }
    let config_map = [
        "data/a",
        "data/b.properties",
        "data/c",
        "metadata/labels/app",
        "metadata/labels/tier",
    ];
    let thing = [
        "spec/size",
        "spec/nested/one",
        "spec/nested/two",
        "spec/list",
        "spec/parts/[x]/name",
        "spec/parts/[x]/n",
    ];
    let all = |texts: &[&str]| texts.iter().map(|text| location(text)).collect();
    let deployment: Vec<&str> = deployment.iter().map(String::as_str).collect();
    [all(&deployment), all(&config_map), all(&thing)]
}

impl World {
    /// Some objects are older than the record.
    fn new(rng: &mut Rng, names: u64) -> Self {
        let dir = TestDir::new();
        let begins = minute(0);
        let record = Recorded::create(dir.path(), begins);
        let id = "example.com/v1/things".parse::<ResourceId>().unwrap();
        let kinds = [
            kind("deploy"),
            kind("cm"),
            TrackedKind::custom(&id, "Thing", true),
        ];
        let mut world = Self {
            dir,
            record,
            kinds,
            locations: locations(),
            objects: BTreeMap::new(),
            truth: BTreeMap::new(),
            lives: BTreeMap::new(),
            uid: 0,
            is_watching: true,
            burst: 0,
            unseen: Vec::new(),
            begins,
        };
        world.record.now = begins.minus(Duration::from_secs(86_400));
        for number in (0..names).step_by(3) {
            world.create(rng, number);
        }
        for set in world.truth.values_mut().flatten() {
            set.writer = None;
        }
        world.record.now = begins;
        world.list(RelistCause::FirstStart);
        world
    }

    fn name(number: u64) -> String {
        format!("web-{number}")
    }

    fn set(
        &mut self,
        object: &mut Object,
        writer: usize,
        location: &Location,
        value: Option<Value>,
    ) {
        let now = self.record.now;
        for entry in &mut object.entries {
            entry.locations.remove(location);
        }
        match &value {
            Some(value) => {
                object.leaves.insert(location.clone(), value.clone());
                let known = object
                    .entries
                    .iter()
                    .position(|entry| entry.writer == writer);
                let entry = known.unwrap_or_else(|| {
                    object.entries.push(Entry {
                        writer,
                        at: now,
                        locations: BTreeSet::new(),
                    });
                    object.entries.len() - 1
                });
                object.entries[entry].at = now;
                object.entries[entry].locations.insert(location.clone());
            }
            None => {
                object.leaves.remove(location);
            }
        }
        object.entries.retain(|entry| !entry.locations.is_empty());
        let set = Set {
            at: now,
            writer: Some(writer),
            value,
            is_received: false,
        };
        self.truth
            .entry((object.name.clone(), location.clone()))
            .or_default()
            .push(set);
    }

    fn create(&mut self, rng: &mut Rng, number: u64) {
        self.uid += 1;
        let mut object = Object {
            kind: (number % 3) as usize,
            name: Self::name(number),
            uid: self.uid,
            created: self.record.now,
            leaves: BTreeMap::new(),
            entries: Vec::new(),
        };
        let writer = rng.below(SCALES as u64) as usize;
        for location in self.locations[object.kind].clone() {
            if is_name(&location) || rng.below(3) > 0 {
                let value = value_of(rng, &location);
                self.set(&mut object, writer, &location, Some(value));
            }
        }
        let life = (object.created, None);
        self.lives
            .entry(object.name.clone())
            .or_default()
            .push(life);
        self.objects.insert(object.name.clone(), object);
    }

    fn delete(&mut self, name: &str) -> Object {
        let object = self.objects.remove(name).unwrap();
        let now = self.record.now;
        for location in object.leaves.keys() {
            let set = Set {
                at: now,
                writer: None,
                value: None,
                is_received: false,
            };
            self.truth
                .get_mut(&(name.to_owned(), location.clone()))
                .unwrap()
                .push(set);
        }
        self.lives.get_mut(name).unwrap().last_mut().unwrap().1 = Some(now);
        object
    }

    /// A write of one manager; `false` if it changes nothing.
    fn write(&mut self, rng: &mut Rng, name: &str) -> bool {
        let mut object = self.objects[name].clone();
        let mut writer = match rng.below(8) {
            // In a burst, few write most, and the same few fields.
            0..7 if self.burst > 0 => [OPERATOR, SCALES][rng.below(2) as usize],
            _ => rng.below(WRITERS.len() as u64) as usize,
        };
        if writer == SCALES && object.kind > 0 {
            writer = 0;
        }
        let locations = match writer {
            SCALES => vec![location("spec/replicas")],
            OPERATOR if self.burst > 0 => vec![self.locations[object.kind][3].clone()],
            _ => {
                let free: Vec<Location> = self.locations[object.kind]
                    .iter()
                    .filter(|location| !is_name(location))
                    .cloned()
                    .collect();
                (0..=rng.below(3))
                    .map(|_| rng.one(&free).clone())
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect()
            }
        };
        let mut is_changed = false;
        for location in locations {
            let known = object.leaves.get(&location).cloned();
            let value = match known {
                Some(_) if writer != SCALES && rng.below(6) == 0 => None,
                _ => Some(value_of(rng, &location)),
            };
            if value != known {
                self.set(&mut object, writer, &location, value);
                is_changed = true;
            } else if WRITERS[writer].operation == "Apply" && known.is_some() {
                // It is a further owner, and set nothing.
                let entry = object
                    .entries
                    .iter_mut()
                    .find(|entry| entry.writer == writer);
                if let Some(entry) = entry
                    && entry.locations.insert(location)
                {
                    entry.at = self.record.now;
                    is_changed = true;
                }
            }
        }
        self.objects.insert(name.to_owned(), object);
        is_changed
    }

    fn manifest(&self, object: &Object) -> Value {
        let entries: Vec<Value> = object
            .entries
            .iter()
            .map(|entry| {
                let writer = &WRITERS[entry.writer];
                let at = entry.at.to_string();
                json!({"manager": writer.manager, "operation": writer.operation, "subresource": writer.subresource,
                       "apiVersion": self.kinds[object.kind].api_version(), "time": format!("{}Z", &at[..19]),
                       "fieldsType": "FieldsV1", "fieldsV1": fields_v1(&entry.locations)})
            })
            .collect();
        let mut manifest = json!({"metadata": {
            "name": object.name, "namespace": "shop", "uid": format!("uid-{}", object.uid),
            "creationTimestamp": object.created.to_string(), "managedFields": entries,
        }});
        for (location, value) in &object.leaves {
            put(&mut manifest, location, value);
        }
        manifest
    }

    fn received(&mut self, name: &str) {
        for ((of, _), sets) in &mut self.truth {
            if of == name
                && let Some(last) = sets.last_mut()
            {
                last.is_received = true;
            }
        }
    }

    fn list(&mut self, cause: RelistCause) {
        for (number, kind) in self.kinds.clone().iter().enumerate() {
            let of_kind = self.objects.values().filter(|object| object.kind == number);
            let manifests: Vec<Value> = of_kind.map(|object| self.manifest(object)).collect();
            self.record.relist(kind, cause, &manifests);
        }
        for name in self.lives.keys().cloned().collect::<Vec<_>>() {
            self.received(&name);
        }
    }

    fn edit(&mut self, rng: &mut Rng, names: u64) {
        let number = match self.burst {
            0 => rng.below(names),
            _ => rng.below(3),
        };
        let name = Self::name(number);
        let deleted = match self.objects.contains_key(&name) {
            false => {
                self.create(rng, number);
                None
            }
            true if rng.below(25) == 0 => Some(self.delete(&name)),
            true if self.write(rng, &name) => None,
            true => return,
        };
        if !self.is_watching {
            self.unseen.push(name);
            return;
        }
        match deleted {
            Some(object) => {
                let (kind, manifest) = (self.kinds[object.kind].clone(), self.manifest(&object));
                self.record.delete(&kind, manifest);
            }
            None => {
                let object = &self.objects[&name];
                let (kind, manifest) = (self.kinds[object.kind].clone(), self.manifest(object));
                self.record.apply(&kind, manifest, "");
            }
        }
        self.received(&name);
    }

    /// What a field was at a time, and everything before.
    fn sets(&self, name: &str, location: &Location, at: Timestamp) -> &[Set] {
        let sets = &self.truth[&(name.to_owned(), location.clone())];
        &sets[..sets.partition_point(|set| set.at <= at)]
    }

    /// The fields of an object at a time; `None` if it did not exist.
    fn leaves(&self, name: &str, at: Timestamp) -> Option<BTreeMap<Location, Value>> {
        let is_alive = |(from, until): &(Timestamp, Option<Timestamp>)| {
            *from <= at && until.is_none_or(|until| at < until)
        };
        self.lives.get(name)?.iter().find(|life| is_alive(life))?;
        let locations = self
            .truth
            .keys()
            .filter(|(of, _)| of == name)
            .map(|(_, location)| location);
        let found = locations.filter_map(|location| {
            let value = self.sets(name, location, at).last()?.value.clone()?;
            Some((location.clone(), value))
        });
        Some(found.collect())
    }

    fn object(&self, name: &str) -> String {
        let number: usize = name.trim_start_matches("web-").parse().unwrap();
        let kind = ["deploy", "cm", "things.example.com"][number % 3];
        format!("{kind}/{name}")
    }
}

/// Identities are not edited.
fn is_name(location: &Location) -> bool {
    location.last() == Some(&Step::Field("name".to_owned()))
}

fn value_of(rng: &mut Rng, location: &Location) -> Value {
    let Some(last) = location.last() else {
        return Value::Null;
    };
    match last {
        Step::Field(name) => match name.as_str() {
            "name" => match &location[location.len() - 2] {
                Step::Named(name) => json!(name),
                Step::Field(_) => Value::Null,
            },
            "replicas" | "size" | "n" => json!(rng.below(4)),
            "paused" => json!(rng.below(2) == 0),
            "args" | "list" => json!([rng.below(3).to_string()]),
            "imagePullPolicy" => json!(["Always", "Never"][rng.below(2) as usize]),
            _ => json!(format!("v{}", rng.below(4))),
        },
        Step::Named(_) => Value::Null,
    }
}

/// Lines and pairs that were compared.
#[derive(Debug, Default)]
struct Compared {
    lines: u64,
    /// The last write, its author and its time.
    exact: u64,
    /// The last write, by an author that is not known.
    unknown: u64,
    /// An earlier write of the same value: no recorded state shows that it was another meanwhile.
    earlier: u64,
    older: u64,
    /// The state at that time is not known exactly.
    not_exact: u64,
    deleted: u64,
}

/// The times between which several states share a revision, and the number of the revision.
fn thinned(conn: &Connection, name: &str) -> Vec<(i64, i64)> {
    let mut found = conn
        .prepare(
            "SELECT r.from_ms, r.at_ms FROM revision r JOIN tracked_object o ON o.id = r.id >> 24 \
             WHERE o.name = ?1 AND r.left_out > 0",
        )
        .unwrap();
    let rows = found
        .query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    rows.map(Result::unwrap).collect()
}

impl World {
    fn compare_blame(&self, name: &str, at: Timestamp, compared: &mut Compared) {
        let command = format!(
            "object blame {}/shop --at={at} --format=json",
            self.object(name)
        );
        let output = self.dir.run(&command);
        let Some(leaves) = self.leaves(name, at) else {
            assert_eq!(output.code, Some(1), "{command}: {output:?}");
            compared.deleted += 1;
            return;
        };
        assert_eq!(output.code, Some(0), "{command}: {output:?}");
        let document: Value = serde_json::from_str(&output.stdout).unwrap();
        if document["exact"] != true {
            compared.not_exact += 1;
            return;
        }
        let lines = document["lines"].as_array().unwrap();
        let named: BTreeSet<&str> = lines
            .iter()
            .filter_map(|line| line["path"].as_str())
            .collect();
        let by_path: BTreeMap<String, &Location> = leaves
            .keys()
            .map(|location| (printed(location), location))
            .collect();
        let all: BTreeSet<&str> = by_path.keys().map(String::as_str).collect();
        assert_eq!(named, all, "{command}");
        let thinned = thinned(&self.record.conn, name);
        for (n, line) in lines.iter().enumerate() {
            match line["path"].as_str() {
                Some(path) => {
                    compared.lines += 1;
                    let sets = self.sets(name, by_path[path], at);
                    self.compare_line(line, sets, &thinned, compared, &command);
                }
                None => compare_part(lines, n, &command),
            }
        }
    }

    /// A line of one field.
    fn compare_line(
        &self,
        line: &Value,
        sets: &[Set],
        thinned: &[(i64, i64)],
        compared: &mut Compared,
        command: &str,
    ) {
        let last = sets.len() - 1;
        let is_hidden = |set: &Set| {
            let at = set.at.millis();
            !set.is_received || thinned.iter().any(|(from, to)| (*from..*to).contains(&at))
        };
        // The last write, and earlier ones of the same value if no recorded state shows another one between.
        let mut candidates = Vec::new();
        for (n, set) in sets.iter().enumerate().rev() {
            if set.value == sets[last].value {
                candidates.push(n);
            } else if !is_hidden(set) {
                break;
            }
        }
        let time = |key: &str| {
            line[key]
                .as_str()
                .map(|text| Timestamp::parse(text).unwrap())
        };
        let (by, at) = (&line["by"], time("at"));
        let from = time("from").or(at);
        let found = candidates.iter().copied().find(|n| {
            let set = &sets[*n];
            match (set.writer, at, from) {
                (None, None, None) => time("before") == Some(self.begins) && by.is_null(),
                (Some(writer), Some(at), Some(from)) => {
                    let is_time = from <= set.at && set.at <= at;
                    is_time && (by.is_null() || *by == json!([WRITERS[writer].manager]))
                }
                _ => false,
            }
        });
        let Some(found) = found else {
            panic!(
                "{command}: {line}\n{:#?}",
                &sets[sets.len().saturating_sub(5)..]
            );
        };
        // What the watch showed as it happened has an author and a time.
        let is_certain = line["from"].is_null();
        assert!(
            !by.is_null() || !is_certain || at.is_none(),
            "{command}: {line}"
        );
        match () {
            () if at.is_none() => compared.older += 1,
            () if found != last => compared.earlier += 1,
            () if by.is_null() => compared.unknown += 1,
            () => compared.exact += 1,
        }
    }

    /// The fields that differ, applied to the earlier state, make the later one; the commands make the earlier one again.
    fn compare_diff(&self, name: &str, from: Timestamp, to: Timestamp) -> bool {
        let (Some(before), Some(after)) = (self.leaves(name, from), self.leaves(name, to)) else {
            return false;
        };
        let command = format!(
            "object diff {}/shop --from={from} --to={to}",
            self.object(name)
        );
        let document = self.dir.run(&format!("{command} --format=json")).json();
        let plain = |leaves: &BTreeMap<Location, Value>| -> BTreeMap<String, Value> {
            let shown = leaves.iter().filter(|(location, _)| !is_marked(location));
            shown
                .map(|(location, value)| (printed(location), value.clone()))
                .collect()
        };
        let (mut state, later) = (plain(&before), plain(&after));
        let Some(object) = document["objects"].get(0) else {
            assert_eq!(before, after, "{command}: {document}");
            return true;
        };
        if object["from"]["one_of"].is_array() || object["to"]["one_of"].is_array() {
            return false;
        }
        for field in object["fields"].as_array().unwrap() {
            let path = field["path"].as_str().unwrap();
            let is_of = |known: &str| {
                known
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            state.retain(|known, _| !is_of(known));
            if let Some(value) = field.get("to") {
                flatten(path, value, &mut state);
            }
        }
        state.retain(|path, _| later.contains_key(path) || !is_marked_text(path));
        assert_eq!(state, later, "{command}: {document:#}");

        let script = self
            .dir
            .run(&format!("{command} --format=kubectl-patch"))
            .stdout;
        let patch = script
            .lines()
            .find_map(|line| line.strip_prefix("kubectl patch"));
        let operations = patch.map_or(json!([]), |line| {
            let (_, patch) = line.split_once(" --patch='").unwrap();
            serde_json::from_str(patch.strip_suffix('\'').unwrap()).unwrap()
        });
        let mut manifest = json!({"metadata": {}});
        after
            .iter()
            .for_each(|(location, value)| put(&mut manifest, location, value));
        for operation in operations.as_array().unwrap() {
            patched(&mut manifest, operation);
        }
        let mut earlier = BTreeMap::new();
        for (key, value) in manifest.as_object().unwrap() {
            flatten(key, value, &mut earlier);
        }
        earlier.retain(|path, _| !is_marked_text(path));
        assert_eq!(earlier, plain(&before), "{command}: {script}");
        true
    }
}

/// A line of several fields is as old as the oldest of them.
fn compare_part(lines: &[Value], n: usize, command: &str) {
    let depth = |line: &Value| {
        let text = line["line"].as_str().unwrap();
        let indent = text.len() - text.trim_start().len();
        indent + usize::from(text.trim_start().starts_with("- "))
    };
    let own = depth(&lines[n]);
    let inner = lines[n + 1..].iter().take_while(|line| depth(line) > own);
    let oldest = inner
        .filter(|line| line["path"].is_string())
        .map(|line| line["revision"].as_i64().unwrap_or(0))
        .min();
    assert_eq!(
        Some(lines[n]["revision"].as_i64().unwrap_or(0)),
        oldest,
        "{command}: {}",
        lines[n]
    );
}

/// Its value is hidden.
fn is_marked(location: &[Step]) -> bool {
    is_marked_text(&printed(location))
}

fn is_marked_text(path: &str) -> bool {
    path.starts_with("data") || path.contains(".env[") && path.ends_with(".value")
}

/// The fields of a value, by their paths.
fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = if key.contains(['.', '/']) {
                    format!("[{key:?}]")
                } else {
                    format!(".{key}")
                };
                flatten(&format!("{path}{key}"), value, into);
            }
        }
        Value::Array(elements) if elements.iter().all(|one| one["name"].is_string()) => {
            for element in elements {
                flatten(
                    &format!("{path}[{}]", element["name"].as_str().unwrap()),
                    element,
                    into,
                );
            }
        }
        value => _ = into.insert(path.to_owned(), value.clone()),
    }
}

/// Applies an operation of RFC 6902.
fn patched(object: &mut Value, operation: &Value) {
    let path = operation["path"].as_str().unwrap();
    let (parent, last) = path.rsplit_once('/').unwrap();
    let last = last.replace("~1", "/").replace("~0", "~");
    let value = &operation["value"];
    if operation["op"] == "test" {
        assert_eq!(object.pointer(path), Some(value), "{operation}");
        return;
    }
    match (
        object.pointer_mut(parent).unwrap(),
        operation["op"].as_str().unwrap(),
    ) {
        (Value::Object(map), "add") => _ = map.insert(last, value.clone()),
        (Value::Object(map), "replace") => *map.get_mut(&last).unwrap() = value.clone(),
        (Value::Object(map), "remove") => _ = map.shift_remove(&last).unwrap(),
        (Value::Array(list), "add") if last == "-" => list.push(value.clone()),
        (Value::Array(list), "add") => list.insert(last.parse().unwrap(), value.clone()),
        (Value::Array(list), "replace") => list[last.parse::<usize>().unwrap()] = value.clone(),
        (Value::Array(list), "remove") => _ = list.remove(last.parse().unwrap()),
        (location, op) => panic!("{op} of {location}"),
    }
}

#[test]
fn blame_and_diff_are_those_of_the_server_after_random_edits() {
    let edits = setting("KUBE9_EDITS", EDITS);
    let mut rng = Rng(setting("KUBE9_SEED", 22));
    let names = (edits / 15).clamp(COMPARED as u64, 200);
    let mut world = World::new(&mut rng, names);
    let mut times = Vec::new();
    for _ in 0..edits {
        world.burst = match world.burst {
            0 if rng.below(100) == 0 => 60,
            left => left.saturating_sub(1),
        };
        let longest = if world.burst > 0 { 8 } else { 40 };
        let pause = Duration::from_secs(1 + rng.below(longest));
        world.record.now = world.record.now.plus(pause);
        world.edit(&mut rng, names);
        match (world.is_watching, rng.below(60)) {
            (true, 0) => {
                for kind in &world.kinds {
                    world.record.confirm(kind);
                }
                world.is_watching = false;
            }
            (false, 0..8) => {
                world.record.now = world.record.now.plus(Duration::from_secs(60));
                world.list(RelistCause::Expired);
                world.unseen.clear();
                world.is_watching = true;
            }
            _ => {}
        }
        if world.is_watching {
            times.push(world.record.now);
        }
    }
    world.record.now = world.record.now.plus(Duration::from_secs(60));
    world.list(RelistCause::Expired);
    let end = world.record.now;
    let mut compared = Compared::default();
    let (mut pairs, mut existing) = (0, 0);
    for number in 0..COMPARED as u64 {
        let name = World::name(number);
        if !world.lives.contains_key(&name) {
            continue;
        }
        existing += 1;
        let middle = *rng.one(&times);
        let early = *rng.one(&times);
        for at in [end, middle, early] {
            if at >= world.lives[&name][0].0 {
                world.compare_blame(&name, at, &mut compared);
            }
        }
        let (from, to) = (early.min(middle), early.max(middle));
        pairs += u64::from(from < to && world.compare_diff(&name, from, to));
        pairs += u64::from(world.compare_diff(&name, middle, end));
    }
    println!("{edits} edits of {names} objects: {existing} objects, {pairs} pairs, {compared:?}");
    assert!(existing * 10 >= COMPARED * 9, "{existing}");
    assert!(pairs >= COMPARED as u64, "{pairs}");
    // An object that was created while the recorder did not watch, and states that share a revision, have no author.
    assert!(
        compared.older > 0 && compared.unknown * 8 < compared.lines,
        "{compared:?}"
    );
    assert!(
        (compared.exact + compared.older) * 8 > compared.lines * 7,
        "{compared:?}"
    );
}
