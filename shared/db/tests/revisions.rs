//! Each state of an object that the change history keeps is rebuilt as it was: in Rust, and with nothing but SQLite.

#![expect(clippy::unwrap_used, reason = "functions of tests")]

use std::collections::BTreeMap;
use std::hash::RandomState;

use kube9_ingest::body::{MarkKey, Object};
use kube9_model::change::body::Body;
use kube9_model::change::kinds::{BUILT_IN, TrackedKind};
use kube9_model::change::patch::{self, Chain, Kept, STEPS_MAX};
use kube9_model::change::stored::Stored;
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value, json};

/// The revisions of all objects; `id` is the object's number << 24 | the revision's.
const TABLE: &str =
    "CREATE TABLE revision (id INTEGER PRIMARY KEY, is_patch INTEGER NOT NULL, body TEXT NOT NULL)";

/// The body of a revision: from the next whole one, each patch makes the one before.
const REBUILD: &str = "
WITH RECURSIVE rebuilt(id, body) AS (
  SELECT id, body FROM revision
  WHERE id = (SELECT min(id) FROM revision
              WHERE id >= ?1 AND id < ((?1 >> 24) + 1) << 24 AND NOT is_patch)
  UNION ALL
  SELECT older.id, json_patch(rebuilt.body, older.body)
  FROM rebuilt JOIN revision AS older
    ON older.id = (SELECT max(id) FROM revision WHERE id < rebuilt.id)
  WHERE rebuilt.id > ?1
)
SELECT body FROM rebuilt WHERE id = ?1";

/// SplitMix64, so that a seed gives the same edits everywhere.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    fn key(&mut self) -> &'static str {
        self.of(&[
            "a", "b", "c", "name", "id", "type", "ports", "list", "", "~", "~~", "~a", "size",
            "null", "a.b/c", "\"", "\\", "\\u0061", "\u{1}", "\u{7f}", "é", "\u{2028}", "😀", " ",
            "0", "-1", "$", "$.a", "[0]", "#", "'",
        ])
    }

    fn scalar(&mut self) -> Value {
        match self.below(12) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(-7),
            3 => json!(1.5),
            4 => json!(1e300),
            5 => json!(u64::MAX),
            6 => json!(-0.0),
            7 => json!(""),
            8 => json!(self.key()),
            _ => json!(self.below(1000)),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth > 4 { 1 } else { 6 }) {
            1 => {
                let count = self.below(5);
                (0..count).map(|_| self.value(depth + 1)).collect()
            }
            // A list that mostly has identities.
            2 | 3 => {
                let field = self.of(&["name", "id", "type"]);
                let count = self.below(6);
                let element = |rng: &mut Self| {
                    let mut element = rng.map(depth + 2);
                    if rng.below(12) > 0 {
                        let name = rng.of(&["x", "y", "z", "~", "~x", "", "é\"", "8080"]);
                        element.insert(field.to_owned(), json!(name));
                    }
                    Value::Object(element)
                };
                (0..count).map(|_| element(self)).collect()
            }
            4 => Value::Object(self.map(depth + 1)),
            _ => self.scalar(),
        }
    }

    fn map(&mut self, depth: usize) -> Map<String, Value> {
        let count = self.below(5);
        (0..count)
            .map(|_| (self.key().to_owned(), self.value(depth + 1)))
            .collect()
    }

    /// Changes one value somewhere inside.
    fn edit(&mut self, value: &mut Value, depth: usize) {
        let stops = depth > 0 && self.below(3) == 0;
        match value {
            Value::Object(fields) if !stops => match self.below(6) {
                0 => _ = fields.insert(self.key().to_owned(), self.value(depth)),
                1 if !fields.is_empty() => {
                    let key = fields.keys().nth(self.below(fields.len())).unwrap().clone();
                    fields.remove(&key);
                }
                _ if fields.is_empty() => {
                    _ = fields.insert(self.key().to_owned(), self.value(depth))
                }
                _ => {
                    let at = self.below(fields.len());
                    self.edit(fields.values_mut().nth(at).unwrap(), depth + 1);
                }
            },
            Value::Array(elements) if !stops && !elements.is_empty() => {
                let (at, other) = (self.below(elements.len()), self.below(elements.len()));
                match self.below(6) {
                    // The list in another order.
                    0 => elements.swap(at, other),
                    1 => elements.rotate_left(at),
                    // A repeated key.
                    2 if elements.len() < 12 => elements.insert(other, elements[at].clone()),
                    3 => _ = elements.remove(at),
                    _ => self.edit(&mut elements[at], depth + 1),
                }
            }
            other => *other = self.value(depth),
        }
    }
}

fn custom() -> TrackedKind {
    TrackedKind::custom(&"x.io/v1/things".parse().unwrap(), "Thing", true)
}

fn body(kind: &TrackedKind, object: &Value) -> Body<'static> {
    let text = object.to_string();
    let object = Object::scan(kind, &text, &RandomState::new(), |_| false).unwrap();
    let body = object.body(&MarkKey::new(&[1; 32]));
    body.unwrap().into_owned()
}

/// The revisions of one object, written as a recorder would.
struct History<'c> {
    db: &'c Connection,
    /// Id of the newest.
    newest: i64,
    body: Option<Body<'static>>,
    chain: Chain,
}

impl<'c> History<'c> {
    fn new(db: &'c Connection, object: i64) -> Self {
        Self {
            db,
            newest: object << 24,
            body: None,
            chain: Chain::default(),
        }
    }

    fn push(&mut self, body: Body<'static>) {
        let text = body.to_text();
        if let Some(older) = &self.body {
            let older_text = older.to_text();
            let kept = self
                .chain
                .push((older, older_text.len()), (&body, text.len()));
            if let Kept::Patch(patch) = kept {
                self.db
                    .prepare_cached("UPDATE revision SET is_patch = 1, body = ?2 WHERE id = ?1")
                    .unwrap()
                    .execute((self.newest, patch))
                    .unwrap();
            }
            self.newest += 1;
        }
        self.db
            .prepare_cached("INSERT INTO revision VALUES (?1, 0, ?2)")
            .unwrap()
            .execute((self.newest, text))
            .unwrap();
        self.body = Some(body);
    }
}

fn rebuilt_by_sqlite(db: &Connection, id: i64) -> Option<Body<'static>> {
    let mut statement = db.prepare_cached(REBUILD).unwrap();
    let text: Option<String> = statement
        .query_row([id], |row| row.get(0))
        .optional()
        .unwrap();
    text.map(|text| Body::parse(&text).unwrap().into_owned())
}

/// All bodies of an object, by the Rust functions.
fn rebuilt_in_rust(db: &Connection, object: i64) -> BTreeMap<i64, Body<'static>> {
    let mut statement = db
        .prepare_cached(
            "SELECT id, is_patch, body FROM revision WHERE id >> 24 = ?1 ORDER BY id DESC",
        )
        .unwrap();
    let mut rows = statement.query([object]).unwrap();
    let (mut all, mut body, mut steps) = (BTreeMap::new(), Body::default(), 0);
    while let Some(row) = rows.next().unwrap() {
        let text: String = row.get(2).unwrap();
        if row.get(1).unwrap() {
            let patch: Stored<'_> = serde_json::from_str(&text).unwrap();
            patch::apply(&mut body, patch.into_owned());
            steps += 1;
            assert!(steps <= STEPS_MAX);
        } else {
            body = Body::parse(&text).unwrap().into_owned();
            steps = 0;
        }
        all.insert(row.get(0).unwrap(), body.clone());
    }
    all
}

#[test]
fn every_state_is_rebuilt_as_it_was() {
    const OBJECTS: i64 = 200;
    const EDITS: usize = 50;
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(TABLE).unwrap();
    let kind = custom();
    for object in 0..OBJECTS {
        let mut rng = Rng(object as u64);
        let mut spec = Value::Object(rng.map(0));
        let mut history = History::new(&db, object);
        let mut states = BTreeMap::new();
        for _ in 0..=EDITS {
            let raw = json!({"apiVersion": "x.io/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec});
            history.push(body(&kind, &raw));
            // The truth is what the API server had, not what kube9 made of it.
            states.insert(history.newest, json!({"spec": spec}));
            rng.edit(&mut spec, 0);
        }
        let in_rust = rebuilt_in_rust(&db, object);
        assert_eq!(in_rust.len(), states.len());
        for (id, truth) in &states {
            assert_eq!(
                &in_rust[id].plain(),
                truth,
                "in Rust: object {object}, {id}"
            );
            let by_sqlite = rebuilt_by_sqlite(&db, *id).unwrap();
            assert_eq!(
                &by_sqlite.plain(),
                truth,
                "by SQLite: object {object}, {id}"
            );
            assert_eq!(by_sqlite, in_rust[id]);
        }
    }
    let count = "SELECT count(*) FROM revision WHERE is_patch";
    let patches: i64 = db.query_row(count, [], |row| row.get(0)).unwrap();
    assert!(
        patches > OBJECTS * EDITS as i64 / 2,
        "only {patches} patches"
    );
    assert!(rebuilt_by_sqlite(&db, OBJECTS << 24).is_none());
}

/// Of ten edits, seven scale, two roll out an image, and one changes a variable and the checksum of the configuration.
fn deployment(edit: usize) -> Value {
    let (tens, rest) = (edit / 10, edit % 10);
    let rollouts = 2 * tens + usize::from(rest >= 3) + usize::from(rest >= 7);
    let settings = tens + usize::from(rest >= 9);
    let scales = edit - rollouts - settings;
    let env: Vec<Value> = (0..12)
        .map(|n| {
            let changes = if n == 3 { settings } else { 0 };
            json!({"name": format!("SETTING_{n}"), "value": format!("value {n} {changes}")})
        })
        .collect();
    json!({
        "metadata": {
            "name": "web", "namespace": "shop",
            "labels": {"app.kubernetes.io/name": "web", "app.kubernetes.io/version": format!("1.{rollouts}")},
            "annotations": {"checksum/config": format!("{settings:064x}")},
        },
        "spec": {
            "replicas": 3 + scales % 2,
            "template": {"spec": {
                "volumes": [{"name": "config", "configMap": {"name": "web", "defaultMode": 420}}],
                "containers": [{
                    "name": "web", "image": format!("registry.example.com/shop/web:1.{rollouts}"), "env": env,
                    "args": ["--listen=:8080", "--log-level=info"],
                    "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
                    "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10},
                }],
            }},
        },
    })
}

#[test]
fn revisions_after_the_first_are_small() {
    const EDITS: usize = 500;
    /// The id, the header of the record and the columns beside the body.
    const ROW_BYTES: usize = 16;
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(TABLE).unwrap();
    let kind = TrackedKind::find(BUILT_IN.iter(), "deploy").unwrap();
    let mut history = History::new(&db, 1);
    for edit in 0..=EDITS {
        history.push(body(kind, &deployment(edit)));
    }
    let sum = "SELECT sum(length(CAST(body AS BLOB))) FROM revision WHERE id < ?1";
    let bytes: i64 = db
        .query_row(sum, [history.newest], |row| row.get(0))
        .unwrap();
    let mean = bytes as usize / EDITS + ROW_BYTES;
    assert!(mean <= 160, "{mean} bytes a revision");
    assert!(mean > ROW_BYTES + 20, "{mean} bytes a revision");
    for id in [1 << 24, history.newest / 2 + (1 << 23), history.newest] {
        let edit = (id & 0xff_ffff) as usize;
        assert_eq!(
            rebuilt_by_sqlite(&db, id).unwrap(),
            body(kind, &deployment(edit))
        );
    }
}
