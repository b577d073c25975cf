//! The schema as text: data, no connection. docs/storage.md explains the file to someone with `sqlite3` and no kube9.
//!
//! ```text
//!   events (view, the contract's ten columns)
//!     └─ event_detail (view: + the raw columns that filters use)
//!          └─ event ─┬─ object ── scope             which object; a scope is a kind in a namespace
//!                    ├─ event_class               what few rows differ in: title, reason, component, container
//!                    ├─ message_template (+ args) the description
//!                    └─ node
//!   row_counts       rows per hour, per day and in total, by scope, type and severity: exact totals without a scan
//!   change_log       commit sequence that `events watch` follows
//!   watch_state      position of each watch
//!   dedup            one entry for each Event that the API server still holds
//!   watch_gap        when the objects of a watch were not observed
//!   dropped_range    what a full queue dropped
//!   tracked_kind ── tracked_object ── revision ── author    each state of each tracked object, and who changed it
//!   object_snapshot  what the next change of an object is compared with
//!   server_version   the versions of API servers that have answered
//!   finding          open findings
//!   eviction         how far the size limit has shortened the record, by tenant
//!   recorder_status  one row: version, heartbeat and health of the recorder
//! ```
//!
//! Invariants: ids of the interned tables are never reused (AUTOINCREMENT). No foreign keys: the reader uses LEFT JOIN,
//! retention deletes orphans. The view `event_detail` is the only place that expands a description.

use kube9_model::hash::stable_hash;

/// Version of the schema below. A file with another one is refused.
pub const VERSION: i64 = 1;

/// `schema_version.description` of a file that was made with [`create`].
pub const DESCRIPTION: &str = "interned layout, view events";

/// The columns of the relation `events`: of our view, and of the original operator's table.
pub const EVENT_COLUMNS: [&str; 10] = [
    "id",
    "event_type",
    "severity",
    "title",
    "description",
    "object_kind",
    "object_namespace",
    "object_name",
    "metadata",
    "created_at",
];

/// `PRAGMA application_id` of our files ("kub9"), so that another program's database is recognised and not touched.
pub const APPLICATION_ID: i32 = 0x6b75_6239;

/// The window into which repeats of one Event fold, from the row's `created_at`. Milliseconds.
/// `--since` looks this far back by key; rows with a longer span are in the partial index `idx_events_long`.
pub const FOLD_WINDOW_MS: i64 = 600_000;

/// `message_template.hash`: the low 32 bits of FNV-1a of the body. It finds a body without a second copy in an index, and
/// shows that a page of another table has not taken the place of this one.
pub fn template_hash(body: &str) -> i32 {
    stable_hash(body.as_bytes()) as i32
}

/// Lengths of a bucket of `row_counts`, in seconds.
pub mod bucket {
    /// One bucket for the whole record; it starts at 0.
    pub const ALL: i64 = 0;
    /// A day.
    pub const DAY: i64 = 86_400;
    /// An hour.
    pub const HOUR: i64 = 3_600;
}

/// Bytes of a page. With 4096 an empty database takes 160 KiB and a row of history as much; with 1024 it takes 54 KiB, a
/// row 2 % more, and scans take 10 to 15 % longer.
pub const PAGE_BYTES: i64 = 2048;

/// Creates everything in an empty database, as people read it.
const CREATE: &str = r"
CREATE TABLE schema_version (
    version     INTEGER PRIMARY KEY,
    applied_at  TEXT NOT NULL,
    description TEXT NOT NULL
);

-- A kind in a namespace ('' for cluster-scoped kinds).
CREATE TABLE scope (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind      TEXT NOT NULL,
    namespace TEXT NOT NULL,
    api_group TEXT NOT NULL DEFAULT '' -- of a custom resource: two kinds may have one name
);
-- Kinds are free text in an Event, so that there may be tens of thousands of scopes.
CREATE UNIQUE INDEX scope_name ON scope (kind, namespace, api_group);

CREATE TABLE object (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    scope INTEGER NOT NULL,         -- scope.id
    name  TEXT NOT NULL,
    owner INTEGER,                  -- object.id of the controller, where known
    UNIQUE (scope, name)
);

CREATE TABLE node (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
);

-- What few rows differ in. '' where there is none.
CREATE TABLE event_class (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    reason    TEXT NOT NULL,
    title     TEXT NOT NULL,
    component TEXT NOT NULL,        -- reporting component
    container TEXT NOT NULL,
    kube_type TEXT NOT NULL,        -- Normal, Warning: the Event's own type
    UNIQUE (reason, title, component, container, kube_type)
);

-- Descriptions with the object's name (char 1), namespace (char 2) and up to five arguments (chars 3 to 7) taken out.
CREATE TABLE message_template (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    hash INTEGER NOT NULL,          -- low 32 bits of FNV-1a of body
    body TEXT NOT NULL
);
CREATE INDEX message_template_hash ON message_template (hash);

CREATE TABLE event (
    key             INTEGER PRIMARY KEY, -- second of created_at << 24 | order within it
    type            INTEGER NOT NULL,    -- 0 cluster 1 operator 2 insight 3 assessment 4 health 5 system 6 cluster: a change of a tracked object
    severity        INTEGER NOT NULL,    -- 0 info 1 warning 2 error 3 critical
    class           INTEGER NOT NULL,    -- event_class.id
    template        INTEGER NOT NULL,    -- message_template.id
    last_offset_ms  INTEGER NOT NULL,    -- last occurrence less created_at
    object          INTEGER,             -- object.id
    -- From here on the rarer the later: SQLite is built so that it stores no NULL at the end of a row.
    uid             BLOB,                -- of the Event: 16 bytes of a UUID, else text
    count           INTEGER,             -- the Event's own count when last seen
    occurrences     INTEGER,             -- how many of them this row stands for
    node            INTEGER,             -- node.id
    args            TEXT,                -- JSON array of the template's arguments
    first_offset_ms INTEGER,             -- first occurrence less created_at, where they differ
    extra           TEXT,                -- JSON object: further metadata
    -- Of a row imported from the original operator, whose metadata is `extra` unchanged; else NULL.
    imported_id     TEXT,                -- its id there
    imported_at     TEXT                 -- its created_at there
);
CREATE INDEX idx_events_object ON event (object) WHERE object IS NOT NULL;
CREATE INDEX idx_events_type ON event (type) WHERE type BETWEEN 1 AND 5;
CREATE INDEX idx_events_severity ON event (severity) WHERE severity >= 2;
-- The few rows that span more than the folding window (gaps, findings), with the end of each.
CREATE INDEX idx_events_long ON event (key, last_offset_ms) WHERE last_offset_ms > 600000;
CREATE UNIQUE INDEX idx_events_imported ON event (imported_id) WHERE imported_id IS NOT NULL;

-- Number of rows by created_at: a bucket is a day (86400), an hour (3600) or the whole record (0).
CREATE TABLE row_counts (
    bucket_seconds INTEGER NOT NULL,
    bucket_start   INTEGER NOT NULL, -- seconds since 1970
    scope          INTEGER NOT NULL, -- scope.id, 0 for rows without an object
    type           INTEGER NOT NULL,
    severity       INTEGER NOT NULL,
    rows           INTEGER NOT NULL,
    PRIMARY KEY (bucket_seconds, bucket_start, scope, type, severity)
) WITHOUT ROWID;

-- Inserted and updated rows in the order of their commit; trimmed to the newest ones.
CREATE TABLE change_log (
    seq   INTEGER PRIMARY KEY,
    event INTEGER NOT NULL           -- event.key
);

-- One row for each watch: a kind, in all namespaces ('') or one; each (cluster, kind, namespace) once.
CREATE TABLE watch_state (
    id              INTEGER PRIMARY KEY,
    cluster         TEXT NOT NULL,
    kind            TEXT NOT NULL,
    namespace       TEXT NOT NULL,
    position        TEXT,            -- resourceVersion up to which everything is committed
    confirmed_ms    INTEGER,         -- when the API server last confirmed that position is current
    relisting       INTEGER NOT NULL DEFAULT 0,
    list_generation INTEGER NOT NULL DEFAULT 0, -- number of the last list begun
    gap             INTEGER,         -- event.key of the open gap row
    gap_cause       TEXT
);

-- The intervals in which the objects of a watch were not observed. A state may be older than any row: they do not expire.
CREATE TABLE watch_gap (
    kind      TEXT NOT NULL,         -- of watch_state
    namespace TEXT NOT NULL,
    from_ms   INTEGER NOT NULL,
    to_ms     INTEGER,               -- NULL: it is open
    PRIMARY KEY (kind, namespace, from_ms)
) WITHOUT ROWID;

-- One entry for each Event that the API server still holds: makes it harmless to receive it again.
CREATE TABLE dedup (
    uid              BLOB PRIMARY KEY,
    watch            INTEGER NOT NULL, -- watch_state.id
    resource_version NOT NULL,         -- last one stored: integer where it is one
    count            INTEGER NOT NULL,
    event            INTEGER NOT NULL, -- event.key of its newest row
    list_generation  INTEGER NOT NULL  -- of the last list that held it
) WITHOUT ROWID;

-- Items that a full queue dropped and that no list has recovered yet.
CREATE TABLE dropped_range (
    id              INTEGER PRIMARY KEY,
    watch           INTEGER NOT NULL, -- watch_state.id
    since_ms        INTEGER NOT NULL,
    cause           TEXT NOT NULL,
    items           INTEGER NOT NULL,
    list_generation INTEGER NOT NULL DEFAULT 0, -- the last list begun before the drop; a later one recovers the items
    known_items     TEXT NOT NULL     -- JSON array of [uid, resourceVersion], bounded
);

-- The kinds whose objects are tracked.
CREATE TABLE tracked_kind (
    id         INTEGER PRIMARY KEY,
    api_group  TEXT NOT NULL,        -- '' for the core group
    kind       TEXT NOT NULL,
    version    TEXT NOT NULL,        -- that is read
    resource   TEXT NOT NULL,        -- the plural in lower case
    namespaced INTEGER NOT NULL,
    UNIQUE (api_group, kind)
);

-- The tracked objects, by name: an object that is created again continues the revisions of the one before.
CREATE TABLE tracked_object (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    kind             INTEGER NOT NULL, -- tracked_kind.id
    namespace        TEXT NOT NULL,  -- '' for cluster-scoped kinds
    name             TEXT NOT NULL,
    uid              BLOB NOT NULL,  -- 16 bytes of a UUID, else text
    resource_version NOT NULL,       -- of its last event: integer where it is one
    revision         INTEGER NOT NULL, -- number of its newest revision
    form             INTEGER NOT NULL, -- bodies of different forms cannot be compared
    seen_ms          INTEGER NOT NULL, -- when its last event was received
    chain_steps      INTEGER NOT NULL, -- patches directly below the newest body
    chain_bytes      INTEGER NOT NULL, -- their bytes
    stamps           BLOB,           -- 10 bytes for each of its managedFields entries
    owner            TEXT,           -- Kind/name/uid of its controller, if that is tracked too
    deletion_ms      INTEGER,        -- when its deletion was requested
    scaled_down_ms   INTEGER,        -- when its replicas were last reduced
    template_ms      INTEGER,        -- when its template of pods last changed
    disruption       TEXT,           -- why a pod is being deleted, by its condition
    siblings         INTEGER,        -- other pods of its controller, when the deletion of a pod was requested
    finished_ms      INTEGER,        -- when a Job finished
    is_failed        INTEGER,        -- whether it failed
    created_ms       INTEGER,        -- creationTimestamp of the first object of this name that is recorded
    deleted_ms       INTEGER,        -- NULL while it exists, or may exist
    unread_ms        INTEGER,        -- its state after that is unknown: its last event could not be read
    unwatched_ms     INTEGER,        -- what became of it after that is unknown: its kind or namespace is not watched any more
    UNIQUE (kind, namespace, name)
);
CREATE INDEX tracked_object_deleted ON tracked_object (deleted_ms) WHERE deleted_ms IS NOT NULL;

-- Who changed objects. Clients choose their names: a few thousand are stored here, and more of them with their revisions.
CREATE TABLE author (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- The states of the tracked objects. The newest body of an object is whole; an older one may be the merge patch
-- (RFC 7396) that makes it of the next newer one.
CREATE TABLE revision (
    id               INTEGER PRIMARY KEY, -- tracked_object.id << 24 | number
    is_patch         INTEGER NOT NULL,
    body             TEXT,           -- JSON; NULL: the object was deleted
    at_ms            INTEGER NOT NULL, -- in force from then on, until that of the next one
    resource_version NOT NULL,
    event            INTEGER,        -- event.key of its row
    author,                          -- managers, as they called themselves: author.id, or the name itself
    cause            TEXT,           -- of a deletion; `defaulted`: the API server shows fields that were not written
    from_ms          INTEGER,        -- it came into force at some time between this and at_ms
    left_out         INTEGER         -- states between from_ms and at_ms that have no revisions
);

-- What the next change of a watched object is compared with: one entry for each object that exists.
CREATE TABLE object_snapshot (
    watch    INTEGER NOT NULL,       -- watch_state.id
    name     TEXT NOT NULL,          -- namespace/name
    snapshot TEXT NOT NULL,          -- JSON
    PRIMARY KEY (watch, name)
) WITHOUT ROWID;

-- The versions of API servers that have answered. The newest is that of the cluster: while it is upgraded, old and new ones
-- answer in turn.
CREATE TABLE server_version (
    id      INTEGER PRIMARY KEY,
    cluster TEXT NOT NULL,
    version TEXT NOT NULL            -- gitVersion; a few for each cluster, each once
);

-- Open findings. Their rows are kept regardless of age.
CREATE TABLE finding (
    fingerprint TEXT PRIMARY KEY,    -- rule, object, part of it
    event       INTEGER NOT NULL,    -- event.key of the row that opened it
    state       TEXT NOT NULL        -- JSON: state of the analysis
) WITHOUT ROWID;
CREATE INDEX finding_event ON finding (event);

CREATE TABLE recorder_status (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    version        TEXT NOT NULL,
    started_ms     INTEGER NOT NULL,
    heartbeat_ms   INTEGER NOT NULL,
    stopped_ms     INTEGER,          -- NULL while running
    last_commit_ms INTEGER,          -- last commit that held a row, as of the heartbeat
    lag_ms         INTEGER,          -- occurrence to commit, of the newest Event of the last commit that held one
    queue_rows     INTEGER NOT NULL,
    dropped        INTEGER NOT NULL, -- since the start
    detail         TEXT NOT NULL     -- JSON: checks by name, limits
);

-- Rows that the size limit deleted early. An entry is deleted once its rows would have expired by age.
CREATE TABLE eviction (
    tenant    INTEGER NOT NULL,      -- 0 kube9's own rows, 1 objects without a namespace, 2 those of a namespace
    namespace TEXT NOT NULL,
    severity  INTEGER NOT NULL,
    rows      INTEGER NOT NULL,      -- deleted since this entry was made
    until     INTEGER NOT NULL,      -- second of created_at of the newest of them
    PRIMARY KEY (tenant, namespace, severity)
) WITHOUT ROWID;

CREATE VIEW event_detail AS
SELECT e.key,
       ifnull(e.imported_id,
              printf('evt_%s_%06x', strftime('%Y%m%d_%H%M%S', e.key >> 24, 'unixepoch'), e.key & 16777215)) AS id,
       CASE e.type WHEN 0 THEN 'cluster' WHEN 6 THEN 'cluster' WHEN 1 THEN 'operator' WHEN 2 THEN 'insight'
                   WHEN 3 THEN 'assessment' WHEN 4 THEN 'health' ELSE 'system' END AS event_type,
       CASE e.severity WHEN 0 THEN 'info' WHEN 1 THEN 'warning' WHEN 2 THEN 'error' ELSE 'critical' END AS severity,
       r.title,
       CASE WHEN e.imported_id IS NOT NULL AND t.body = '' THEN NULL
            WHEN e.args IS NULL
            THEN replace(replace(t.body, char(1), ifnull(o.name, '')), char(2), ifnull(s.namespace, ''))
            ELSE replace(replace(replace(replace(replace(
                 replace(replace(t.body, char(1), ifnull(o.name, '')), char(2), ifnull(s.namespace, '')),
                 char(3), ifnull(json_extract(e.args, '$[0]'), '')),
                 char(4), ifnull(json_extract(e.args, '$[1]'), '')),
                 char(5), ifnull(json_extract(e.args, '$[2]'), '')),
                 char(6), ifnull(json_extract(e.args, '$[3]'), '')),
                 char(7), ifnull(json_extract(e.args, '$[4]'), ''))
       END AS description,
       CASE WHEN e.imported_id IS NULL THEN s.kind ELSE nullif(s.kind, '') END AS object_kind,
       nullif(s.namespace, '') AS object_namespace,
       CASE WHEN e.imported_id IS NULL THEN o.name ELSE nullif(o.name, '') END AS object_name,
       CASE WHEN e.imported_id IS NOT NULL THEN e.extra ELSE json_patch(json_patch('{}', json_object( -- a patch drops the keys whose value is null
           'reason', nullif(r.reason, ''),
           'count', e.count,
           'first_timestamp', strftime('%Y-%m-%dT%H:%M:%fZ', (e.key >> 24) + ifnull(e.first_offset_ms, 0) / 1000.0, 'unixepoch'),
           'last_timestamp', strftime('%Y-%m-%dT%H:%M:%fZ', (e.key >> 24) + e.last_offset_ms / 1000.0, 'unixepoch'),
           'uid', CASE typeof(e.uid) WHEN 'blob' THEN lower(
               substr(hex(e.uid), 1, 8) || '-' || substr(hex(e.uid), 9, 4) || '-' || substr(hex(e.uid), 13, 4) || '-' ||
               substr(hex(e.uid), 17, 4) || '-' || substr(hex(e.uid), 21)) ELSE e.uid END,
           'occurrences', e.occurrences,
           'type', nullif(r.kube_type, ''),
           'reporting_component', nullif(r.component, ''),
           'container', nullif(r.container, ''),
           'node', n.name,
           'owner', os.kind || '/' || oo.name)), ifnull(e.extra, '{}')) END AS metadata,
       ifnull(e.imported_at, strftime('%Y-%m-%dT%H:%M:%S.000Z', e.key >> 24, 'unixepoch')) AS created_at
  FROM event e
  LEFT JOIN event_class r ON r.id = e.class
  LEFT JOIN message_template t ON t.id = e.template
  LEFT JOIN object o ON o.id = e.object
  LEFT JOIN scope s ON s.id = o.scope
  LEFT JOIN node n ON n.id = e.node
  LEFT JOIN object oo ON oo.id = o.owner
  LEFT JOIN scope os ON os.id = oo.scope;

CREATE VIEW events AS
SELECT id, event_type, severity, title, description, object_kind, object_namespace, object_name, metadata, created_at
  FROM event_detail;
";

/// [`CREATE`] without the spaces that align it: SQLite stores the text of each statement.
pub fn create() -> String {
    let mut text = String::with_capacity(CREATE.len());
    for line in CREATE.lines() {
        text.extend(line.split_ascii_whitespace().flat_map(|word| [word, " "]));
        text.push('\n');
    }
    text
}

/// Finds the counters that differ from the rows, and rows whose type says wrongly whether they are about a change. In a sound
/// file it returns no row.
pub const ROW_COUNTS_MISMATCH: &str = r"
WITH real AS (
    SELECT (e.key >> 24) AS second, ifnull(o.scope, 0) AS scope, e.severity,
           CASE WHEN e.type NOT IN (0, 6) OR e.imported_id IS NOT NULL THEN e.type
                WHEN r.component = 'kube9' AND e.extra ->> 'op' IS NOT NULL THEN 6 ELSE 0 END AS type
      FROM event e LEFT JOIN object o ON o.id = e.object LEFT JOIN event_class r ON r.id = e.class
), counted AS (
    SELECT 0 AS bucket_seconds, 0 AS bucket_start, scope, type, severity, count(*) AS rows FROM real GROUP BY 3, 4, 5
    UNION ALL
    SELECT 3600, second / 3600 * 3600, scope, type, severity, count(*) FROM real GROUP BY 2, 3, 4, 5
    UNION ALL
    SELECT 86400, second / 86400 * 86400, scope, type, severity, count(*) FROM real GROUP BY 2, 3, 4, 5
)
SELECT t.bucket_seconds, t.bucket_start, t.scope, t.type, t.severity, t.rows, c.rows
  FROM row_counts t FULL JOIN counted c USING (bucket_seconds, bucket_start, scope, type, severity)
 WHERE t.rows IS NOT c.rows
";
