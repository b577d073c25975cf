//! Erases what is recorded of an object, of some of its fields, or of the objects in a namespace, when an operator asks
//! for it.
//!
//! ```text
//!   kube9-recorder purge ── kube9.purge ──▶ writer (between batches) ── kube9.purged ──▶ kube9-recorder purge
//! ```
//!
//! Both are files in the data directory, because only the writer writes to the database. A request that no recorder has
//! answered stays, and the next one applies it.
//!
//! Invariant: a row records each purge. It is about no object, so that no purge erases it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kube9_model::Severity;
use kube9_model::change::erase::Eraser;
use kube9_model::change::kinds::{BUILT_IN, ResourceId, TrackedKind};
use kube9_model::change::path::Pattern;
use kube9_model::change::stored::Stored;
use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::apply::{Applier, apply_all};
use super::findings::FindingTable;
use super::report;
use super::statements::Counting as _;
use super::watches::WatchTable;

const REQUEST: &str = "kube9.purge";
const ANSWER: &str = "kube9.purged";

/// Longest request or answer, in bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// Objects or rows in one transaction: a few milliseconds.
const CHUNK: i64 = 256;

/// Revisions in one transaction; their bodies are up to 64 KiB.
const REVISIONS: i64 = 16;

/// What is erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeRequest {
    /// An object; the kind is a word such as `deployments`, `deploy` or `Rollout`.
    Object {
        kind: String,
        /// Empty for cluster-scoped objects.
        namespace: String,
        name: String,
    },
    /// Some fields of an object: their values, and the rows that show them.
    Fields {
        kind: String,
        /// Empty for cluster-scoped objects.
        namespace: String,
        name: String,
        /// The text of a pattern of paths.
        path: String,
    },
    /// All objects in a namespace.
    Namespace(String),
}

/// What was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Tracked objects.
    pub objects: u64,
    /// Their revisions.
    pub revisions: u64,
    /// Rows about them.
    pub rows: u64,
}

/// Asks the recorder of this directory.
///
/// # Errors
/// The file cannot be written; or another request waits.
pub fn request(directory: &Path, request: &PurgeRequest) -> io::Result<()> {
    let text = match request {
        PurgeRequest::Object {
            kind,
            namespace,
            name,
        } => json!({"kind": kind, "namespace": namespace, "name": name}),
        PurgeRequest::Fields {
            kind,
            namespace,
            name,
            path,
        } => json!({"kind": kind, "namespace": namespace, "name": name, "path": path}),
        PurgeRequest::Namespace(namespace) => json!({"namespace": namespace}),
    };
    if directory.join(REQUEST).exists() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "another purge waits for the recorder",
        ));
    }
    match fs::remove_file(directory.join(ANSWER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_new(&directory.join(REQUEST), &text)
}

/// The answer of the recorder, if there is one; `Err` if it refused the request.
///
/// # Errors
/// The file cannot be read or removed.
pub fn take_answer(directory: &Path) -> io::Result<Option<Result<Purged, String>>> {
    let path = directory.join(ANSWER);
    let Some(answer) = read(&path)? else {
        return Ok(None);
    };
    fs::remove_file(&path)?;
    if let Some(error) = answer["error"].as_str() {
        return Ok(Some(Err(error.to_owned())));
    }
    let count = |key: &str| answer[key].as_u64().unwrap_or_default();
    Ok(Some(Ok(Purged {
        objects: count("objects"),
        revisions: count("revisions"),
        rows: count("rows"),
    })))
}

/// Writes a file that does not exist; readers see all of it or nothing.
fn write_new(path: &Path, text: &Value) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(text.to_string().as_bytes())?;
    file.sync_all()?;
    // Unlike a rename, it replaces no file.
    let linked = fs::hard_link(&partial, path);
    fs::remove_file(&partial)?;
    linked
}

/// `None` if the file does not exist; null if it is not JSON of a purge.
fn read(path: &Path) -> io::Result<Option<Value>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return Ok(Some(Value::Null)),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let text = fs::read(path)?;
    Ok(Some(serde_json::from_slice(&text).unwrap_or_default()))
}

impl PurgeRequest {
    /// The request that waits in the directory; `Err` if it is none.
    pub(super) fn waiting(directory: &Path) -> io::Result<Option<Result<Self, String>>> {
        let Some(request) = read(&directory.join(REQUEST))? else {
            return Ok(None);
        };
        let text = |key: &str| request[key].as_str().map(str::to_owned);
        let words = (text("kind"), text("namespace"), text("name"), text("path"));
        let parsed = match words {
            (Some(kind), Some(namespace), Some(name), None) if !name.is_empty() => {
                Some(Self::Object {
                    kind,
                    namespace,
                    name,
                })
            }
            (Some(kind), Some(namespace), Some(name), Some(path)) if !name.is_empty() => {
                Some(Self::Fields {
                    kind,
                    namespace,
                    name,
                    path,
                })
            }
            (None, Some(namespace), None, None) if !namespace.is_empty() => {
                Some(Self::Namespace(namespace))
            }
            _ => None,
        };
        Ok(Some(
            parsed.ok_or_else(|| "the request is damaged".to_owned()),
        ))
    }

    /// For people: `Deployment web in namespace shop`.
    fn subject(&self) -> String {
        match self {
            Self::Object {
                kind,
                namespace,
                name,
            } if namespace.is_empty() => format!("{kind} {name}"),
            Self::Object {
                kind,
                namespace,
                name,
            } => format!("{kind} {name} in namespace {namespace}"),
            Self::Fields {
                kind,
                namespace,
                name,
                path,
            } => {
                let object = Self::Object {
                    kind: kind.clone(),
                    namespace: namespace.clone(),
                    name: name.clone(),
                };
                format!("{path} of {}", object.subject())
            }
            Self::Namespace(namespace) => format!("the objects in namespace {namespace}"),
        }
    }

    fn namespace(&self) -> &str {
        match self {
            Self::Object { namespace, .. }
            | Self::Fields { namespace, .. }
            | Self::Namespace(namespace) => namespace,
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Object { name, .. } | Self::Fields { name, .. } => Some(name),
            Self::Namespace(_) => None,
        }
    }
}

/// Answers the request in the directory.
pub(super) fn answer(directory: &Path, done: &Result<Purged, String>) -> io::Result<()> {
    let text = match done {
        Ok(purged) => {
            json!({"objects": purged.objects, "revisions": purged.revisions, "rows": purged.rows})
        }
        Err(error) => json!({"error": error}),
    };
    let path: PathBuf = directory.join(ANSWER);
    match write_new(&path, &text) {
        // Of a request whose sender has given up.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => result?,
    }
    fs::remove_file(directory.join(REQUEST))
}

/// Kinds of a purge: CamelCase, and the ids of the tracked ones; `None`: all.
type Kinds = Option<(String, Vec<i64>)>;

/// Erases what is recorded, in short transactions; `between` runs after each of them.
pub(super) fn purge(
    conn: &mut Connection,
    applier: &mut Applier,
    request: &PurgeRequest,
    at: Timestamp,
    mut between: impl FnMut(),
) -> rusqlite::Result<Result<Purged, String>> {
    // What is deleted must not stay in free pages. Retention deletes the texts of the rows afterwards, so it stays on.
    conn.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    let (request, kinds) = match resolve(conn, request)? {
        Ok(resolved) => resolved,
        Err(error) => return Ok(Err(error)),
    };
    let eraser = match &request {
        PurgeRequest::Fields { path, .. } => match Pattern::parse(path) {
            Ok(pattern) => Some(Eraser::new(pattern)),
            Err(error) => return Ok(Err(error.to_string())),
        },
        _ => None,
    };
    let mut purged = Purged::default();
    let mut after = 0;
    loop {
        let objects = tracked_objects(conn, &request, &kinds, after)?;
        let Some((last, _)) = objects.last() else {
            break;
        };
        after = *last;
        if let Some(eraser) = &eraser {
            for (id, _) in &objects {
                purged.objects += 1;
                purged.revisions += erase_fields(conn, applier, *id, eraser, &mut between)?;
            }
            continue;
        }
        apply_all(conn, applier, |tx, _| {
            for (id, is_deleted) in &objects {
                purged.objects += 1;
                purged.revisions += erase_revisions(tx, *id, *is_deleted)?;
            }
            Ok(())
        })?;
        between();
    }
    let mut after = 0;
    loop {
        let mut rows = rows(conn, &request, &kinds, after)?;
        rows.dedup_by_key(|row| row.key);
        let Some(last) = rows.last() else {
            break;
        };
        after = last.key;
        let rows: Vec<PurgedRow> = match &eraser {
            Some(eraser) => rows
                .into_iter()
                .filter(|row| row.shows(eraser, &request))
                .collect(),
            None => rows,
        };
        apply_all(conn, applier, |tx, applier| {
            let (gaps, findings) = (WatchTable::gap_rows(tx)?, FindingTable::of(tx));
            for row in &rows {
                if gaps.contains(&row.key) || findings.has_row(row.key)? {
                    continue;
                }
                tx.counted("DELETE FROM event WHERE key = ?1")?
                    .execute([row.key])?;
                let key = EventKey::from_i64(row.key);
                let counts = &mut applier.rows;
                counts.count(key, row.scope, row.type_code, row.severity, -1);
                purged.rows += 1;
            }
            Ok(())
        })?;
        between();
    }
    apply_all(conn, applier, |tx, applier| {
        erase_snapshots(tx, &request)?;
        let subject = request.subject();
        let Purged {
            revisions, rows, ..
        } = purged;
        let row = report::record(
            "RecordPurged",
            "Record purged",
            Severity::Warning,
            format!(
                "What was recorded of {subject} was erased because an operator asked for it: {rows} rows and {revisions} \
                 past states."
            ),
            Map::from_iter([
                ("subject".to_owned(), json!(subject)),
                ("rows".to_owned(), json!(rows)),
                ("revisions".to_owned(), json!(revisions)),
            ]),
            at,
        );
        report::insert(tx, applier, &row)
    })?;
    // It remembers rows of frequent changes, which do not exist any more.
    applier.tracked.rolled_back();
    Ok(Ok(purged))
}

/// The request with the name of its kind, and the kind.
fn resolve(
    conn: &Connection,
    request: &PurgeRequest,
) -> rusqlite::Result<Result<(PurgeRequest, Kinds), String>> {
    let (PurgeRequest::Object { kind, .. } | PurgeRequest::Fields { kind, .. }) = request else {
        return Ok(Ok((request.clone(), None)));
    };
    let known: Vec<(i64, TrackedKind)> = conn
        .counted("SELECT id, api_group, kind, version, resource, namespaced FROM tracked_kind")?
        .query_map([], |row| {
            let id = ResourceId {
                group: row.get(1)?,
                version: row.get(3)?,
                resource: row.get(4)?,
            };
            let camel: String = row.get(2)?;
            let custom = TrackedKind::custom(&id, &camel, row.get(5)?);
            let built_in = BUILT_IN
                .iter()
                .find(|kind| kind.group == custom.group && kind.kind == custom.kind);
            Ok((row.get(0)?, built_in.cloned().unwrap_or(custom)))
        })?
        .collect::<Result<_, _>>()?;
    let mut named = known.iter().filter(|(_, one)| one.is_named(kind));
    let mut camel = match (named.next(), named.next()) {
        (Some((_, one)), None) => Some(one.kind.to_string()),
        (Some(_), Some(_)) => {
            return Ok(Err(format!(
                "kind {kind:?} is ambiguous: add its group, such as {kind}.GROUP"
            )));
        }
        (None, _) => None,
    };
    if camel.is_none() {
        // Events are about kinds that are not tracked too.
        let mut of_rows = conn.counted("SELECT kind FROM scope WHERE lower(kind) = lower(?1)")?;
        let mut found = of_rows.query([kind])?;
        if let Some(row) = found.next()? {
            camel = Some(row.get(0)?);
        }
    }
    let Some(camel) = camel else {
        return Ok(Err(format!("kind {kind:?} is not in the record")));
    };
    let ids = known
        .iter()
        .filter(|(_, one)| one.is_named(kind))
        .map(|(id, _)| *id)
        .collect();
    let mut request = request.clone();
    if let PurgeRequest::Object { kind, .. } | PurgeRequest::Fields { kind, .. } = &mut request {
        kind.clone_from(&camel);
    }
    Ok(Ok((request, Some((camel, ids)))))
}

/// The next objects, and whether each is deleted.
fn tracked_objects(
    conn: &Connection,
    request: &PurgeRequest,
    kinds: &Kinds,
    after: i64,
) -> rusqlite::Result<Vec<(i64, bool)>> {
    let found: Vec<(i64, i64, bool)> = conn
        .counted(
            "SELECT id, kind, deleted_ms IS NOT NULL FROM tracked_object \
             WHERE id > ?1 AND namespace = ?2 AND (?3 IS NULL OR name = ?3) ORDER BY id LIMIT ?4",
        )?
        .query_map((after, request.namespace(), request.name(), CHUNK), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    let is_meant = |kind: i64| kinds.as_ref().is_none_or(|(_, ids)| ids.contains(&kind));
    Ok(found
        .into_iter()
        .filter(|(_, kind, _)| is_meant(*kind))
        .map(|(id, _, is_deleted)| (id, is_deleted))
        .collect())
}

/// An object that exists stays known, so that its next change does not look like its creation. Its body then is a new base.
fn erase_revisions(conn: &Connection, object: i64, is_deleted: bool) -> rusqlite::Result<u64> {
    let deleted = conn
        .counted("DELETE FROM revision WHERE id BETWEEN ?1 << 24 AND ?1 << 24 | 16777215")?
        .execute([object])?;
    let of_object = if is_deleted {
        "DELETE FROM tracked_object WHERE id = ?1"
    } else {
        "UPDATE tracked_object SET form = 0, stamps = NULL, owner = NULL, disruption = NULL, chain_steps = 0, \
         chain_bytes = 0 WHERE id = ?1"
    };
    conn.counted(of_object)?.execute([object])?;
    Ok(deleted as u64)
}

/// Erases fields in the revisions of an object, in short transactions. Returns how many had them.
fn erase_fields(
    conn: &mut Connection,
    applier: &mut Applier,
    object: i64,
    eraser: &Eraser,
    mut between: impl FnMut(),
) -> rusqlite::Result<u64> {
    let (mut after, end) = ((object << 24) - 1, object << 24 | 0x00ff_ffff);
    let mut erased = 0;
    // Whether the newest body has one of them.
    let mut is_in_newest = false;
    loop {
        let revisions: Vec<(i64, String)> = conn
            .counted(
                "SELECT id, body FROM revision WHERE id > ?1 AND id <= ?2 AND body IS NOT NULL ORDER BY id LIMIT ?3",
            )?
            .query_map((after, end, REVISIONS), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let Some((last, _)) = revisions.last() else {
            break;
        };
        after = *last;
        apply_all(conn, applier, |tx, _| {
            for (id, text) in &revisions {
                // A damaged body is not a body: nothing reads values from it, and it is overwritten whole.
                let changed = match Stored::parse(text) {
                    Ok(mut body) => eraser.erase(&mut body).then(|| body.to_text()),
                    Err(_) => Some("{}".to_owned()),
                };
                is_in_newest = changed.is_some();
                if let Some(text) = changed {
                    tx.counted("UPDATE revision SET body = ?2 WHERE id = ?1")?
                        .execute((id, text))?;
                    erased += 1;
                }
            }
            Ok(())
        })?;
        between();
    }
    if is_in_newest {
        // It may still be in the cluster: its next state is a new base, since a row would show the value again.
        apply_all(conn, applier, |tx, _| {
            tx.counted("UPDATE tracked_object SET form = 0 WHERE id = ?1")?
                .execute([object])?;
            Ok(())
        })?;
    }
    Ok(erased)
}

struct PurgedRow {
    key: i64,
    type_code: i64,
    severity: Severity,
    scope: i64,
    extra: Option<String>,
    is_about_it: bool,
}

impl PurgedRow {
    /// Whether it shows a value that is erased.
    fn shows(&self, eraser: &Eraser, request: &PurgeRequest) -> bool {
        let extra: Value = match &self.extra {
            Some(text) => serde_json::from_str(text).unwrap_or_default(),
            None => return false,
        };
        let text = |key: &str| extra[key].as_str();
        let fields = extra["fields"].as_array().into_iter().flatten();
        let mut fields = fields.filter(|_| self.is_about_it);
        let in_fields = fields.any(|field| {
            let path = field["path"].as_str().unwrap_or_default();
            eraser.is_shown(path, &[field.get("from"), field.get("to")])
        });
        // Findings about one field of the object, or about another object that fails since it changed.
        let named = format!(
            "{}/{}",
            request.namespace(),
            request.name().unwrap_or_default()
        );
        let names_it = text("changed_object").is_some_and(|object| object.ends_with(&named));
        let is_field = |key: &str, is_meant: bool| {
            is_meant && text(key).is_some_and(|path| eraser.is_shown(path, &[]))
        };
        in_fields || is_field("path", self.is_about_it) || is_field("changed_field", names_it)
    }
}

/// The next rows about the objects; for fields, also findings that may name them.
fn rows(
    conn: &Connection,
    request: &PurgeRequest,
    kinds: &Kinds,
    after: i64,
) -> rusqlite::Result<Vec<PurgedRow>> {
    let kind = kinds.as_ref().map(|(kind, _)| kind.as_str());
    let with_findings = matches!(request, PurgeRequest::Fields { .. });
    conn.counted(
        "SELECT e.key, e.type, e.severity, s.id, e.extra, 1 FROM scope s JOIN object o ON o.scope = s.id \
         JOIN event e ON e.object = o.id WHERE s.namespace = ?1 AND (?2 IS NULL OR s.kind = ?2) \
         AND (?3 IS NULL OR o.name = ?3) AND e.key > ?4 \
         UNION ALL \
         SELECT e.key, e.type, e.severity, ifnull(o.scope, 0), e.extra, 0 FROM event e LEFT JOIN object o ON o.id = e.object \
          WHERE ?6 AND e.type BETWEEN 1 AND 5 AND e.key > ?4 AND e.extra ->> 'changed_field' IS NOT NULL \
          ORDER BY 1, 6 DESC LIMIT ?5",
    )?
    .query_map(
        (
            request.namespace(),
            kind,
            request.name(),
            after,
            CHUNK,
            with_findings,
        ),
        |row| {
            let (type_code, severity): (i64, i64) = (row.get(1)?, row.get(2)?);
            Ok(PurgedRow {
                key: row.get(0)?,
                type_code,
                severity: Severity::from_code(severity)
                    .ok_or(rusqlite::Error::IntegralValueOutOfRange(2, severity))?,
                scope: row.get(3)?,
                extra: row.get(4)?,
                is_about_it: row.get(5)?,
            })
        },
    )?
    .collect()
}

/// Snapshots keep only the uid, by which an object is known.
fn erase_snapshots(conn: &Connection, request: &PurgeRequest) -> rusqlite::Result<()> {
    let namespace = request.namespace();
    let (from, end) = match request.name() {
        Some(name) => {
            let name = format!("{namespace}/{name}");
            (name.clone(), format!("{name}\0"))
        }
        None => (format!("{namespace}/"), format!("{namespace}0")), // `0` follows `/`
    };
    conn.counted(
        "UPDATE object_snapshot SET snapshot = \
         json_object('uid', ifnull(iif(json_valid(snapshot), snapshot ->> 'uid', ''), '')) \
         WHERE name >= ?1 AND name < ?2",
    )?
    .execute((from, end))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn object() -> PurgeRequest {
        PurgeRequest::Object {
            kind: "deploy".to_owned(),
            namespace: String::new(),
            name: "web".to_owned(),
        }
    }

    #[test]
    fn request_is_read_as_it_was_made_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        assert!(PurgeRequest::waiting(directory).unwrap().is_none());
        let fields = PurgeRequest::Fields {
            kind: "cm".to_owned(),
            namespace: "shop".to_owned(),
            name: "app".to_owned(),
            path: "data[\"a.b\"]".to_owned(),
        };
        for one in [object(), fields, PurgeRequest::Namespace("shop".to_owned())] {
            request(directory, &one).unwrap();
            let mode = fs::metadata(directory.join(REQUEST)).unwrap().permissions();
            assert_eq!(mode.mode() & 0o777, 0o600);
            assert_eq!(PurgeRequest::waiting(directory).unwrap(), Some(Ok(one)));
            let error = request(directory, &object()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert!(take_answer(directory).unwrap().is_none());
            let purged = Purged {
                objects: 1,
                revisions: 2,
                rows: 3,
            };
            answer(directory, &Ok(purged)).unwrap();
            assert_eq!(take_answer(directory).unwrap(), Some(Ok(purged)));
            assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
        }
    }

    #[test]
    fn damaged_request_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{{\"namespace\": \"{}\"}}", "x".repeat(5000));
        for text in [
            "",
            "{}",
            "[]",
            "{\"namespace\": \"\"}",
            "{\"name\": \"web\", \"namespace\": \"shop\"}",
            &long,
        ] {
            fs::write(folder.path().join(REQUEST), text).unwrap();
            let refused = PurgeRequest::waiting(folder.path()).unwrap().unwrap();
            let error = refused.clone().unwrap_err();
            answer(folder.path(), &refused.map(|_| Purged::default())).unwrap();
            assert_eq!(take_answer(folder.path()).unwrap(), Some(Err(error)));
        }
    }
}
