//! Converts one row of the original operator. Pure.

use std::borrow::Cow;
use std::time::Duration;

use kube9_db::schema::EVENT_COLUMNS;
use kube9_ingest::sanitize::{Sanitized, clean_text, sanitize};
use kube9_model::record::{Occurred, Record};
use kube9_model::time::Timestamp;
use kube9_model::{EventType, ObjectRef, Severity};
use rusqlite::types::ValueRef;
use serde_json::{Map, Value};

use super::Skipped;
use crate::config::RetentionConfig;
use crate::rows::Imported;

/// Longest id: event ids have 26 characters; ids with a longer random part are accepted.
const ID_BYTES_MAX: usize = 64;

/// Longest `created_at`: RFC 3339 with nanoseconds and an offset has 35 characters.
const TIME_BYTES_MAX: usize = 40;

/// How far `created_at` may lie in the future: clock skew, not another day.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// A row as it was read; texts in the order of [`EVENT_COLUMNS`].
pub struct Foreign<'a> {
    fits: bool,
    texts: [Option<Cow<'a, str>>; EVENT_COLUMNS.len()],
    /// A value was not text.
    odd: bool,
}

/// A row that can be stored.
#[derive(Debug)]
pub struct Ready {
    pub row: Sanitized,
    /// When it was created.
    pub created: Timestamp,
    /// Its last occurrence.
    pub last: Timestamp,
    pub imported: Imported,
    /// A text was changed.
    pub changed: bool,
}

impl<'a> Foreign<'a> {
    /// Reads a row of the import's SELECT: whether it fits, then the columns.
    ///
    /// # Errors
    /// SQLite failed.
    pub fn read(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let mut foreign = Self {
            fits: row.get(0)?,
            texts: Default::default(),
            odd: false,
        };
        for (at, text) in foreign.texts.iter_mut().enumerate() {
            let value = row.get_ref(at + 1)?;
            *text = match value {
                ValueRef::Null => None,
                ValueRef::Integer(number) => Some(number.to_string().into()),
                ValueRef::Real(number) => Some(number.to_string().into()),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                    Some(String::from_utf8_lossy(bytes))
                }
            };
            foreign.odd |= match value {
                ValueRef::Null => false,
                ValueRef::Text(bytes) => std::str::from_utf8(bytes).is_err(),
                _ => true,
            };
        }
        Ok(foreign)
    }

    /// Its id, which may be invalid.
    pub fn id(&self) -> Option<&str> {
        self.texts[0].as_deref()
    }

    /// Bytes of its texts, which bound the time to sanitize them.
    pub fn bytes(&self) -> usize {
        self.texts.iter().flatten().map(|text| text.len()).sum()
    }

    /// Converts the row.
    ///
    /// # Errors
    /// It must be skipped.
    pub fn ready(self, keep: &RetentionConfig, now: Timestamp) -> Result<Ready, Skipped> {
        if !self.fits {
            return Err(Skipped::TooLong);
        }
        let odd = self.odd;
        let [
            id,
            event_type,
            severity,
            title,
            description,
            kind,
            namespace,
            name,
            metadata,
            created_at,
        ] = self.texts.map(|text| text.map(Cow::into_owned));
        let id = id.filter(|id| is_id(id)).ok_or(Skipped::Id)?;
        let created_at = created_at
            .filter(|text| text.len() <= TIME_BYTES_MAX)
            .ok_or(Skipped::Time)?;
        let created = Timestamp::parse(&created_at).map_err(|_| Skipped::Time)?;
        if created > now.plus(AHEAD_MAX) {
            return Err(Skipped::Future);
        }
        let event_type = word(EventType::ALL, |one| one.as_str(), event_type.as_deref())
            .ok_or(Skipped::EventType)?;
        let severity = word(Severity::ALL, |one| one.as_str(), severity.as_deref())
            .ok_or(Skipped::Severity)?;
        let extra = object_of(metadata.as_deref());
        let last = last(&extra, created, now);
        let kept = match severity {
            Severity::Info | Severity::Warning => keep.info_warning,
            Severity::Error | Severity::Critical => keep.error_critical,
        };
        if last < now.minus(kept) {
            return Err(Skipped::Old);
        }
        let of = |key: &str| extra.get(key).and_then(Value::as_str).map(str::to_owned);
        let record = Record {
            event_type,
            severity,
            title: title.unwrap_or_default(),
            description: description.unwrap_or_default(),
            object: (kind.is_some() || namespace.is_some() || name.is_some()).then(|| ObjectRef {
                kind: kind.unwrap_or_default(),
                namespace: namespace.unwrap_or_default(),
                name: name.unwrap_or_default(),
            }),
            api_group: String::new(),
            owner: None,
            reason: of("reason").unwrap_or_default(),
            component: String::new(),
            container: of("container").unwrap_or_default(),
            kube_type: String::new(),
            node: of("node"),
            occurred: Occurred::At(created),
            extra,
        };
        let row = sanitize(record.clone());
        let extra = &row.record().extra;
        let is_utc = is_utc(&created_at, created);
        let imported = Imported {
            id,
            created_at: if is_utc {
                created_at
            } else {
                created.to_string()
            },
            metadata: (metadata.is_some() || !extra.is_empty())
                .then(|| Value::Object(extra.clone()).to_string()),
        };
        Ok(Ready {
            changed: odd || !is_utc || imported.metadata != metadata || *row.record() != record,
            row,
            created,
            last,
            imported,
        })
    }
}

/// An id is printed unchanged, so it must contain only id characters and must not look like a secret.
fn is_id(id: &str) -> bool {
    id.len() <= ID_BYTES_MAX
        && id.strip_prefix("evt_").is_some_and(|rest| !rest.is_empty())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        && clean_text(id, ID_BYTES_MAX) == id
}

/// Whether a time has the form of all other times, with any fraction of a second, so that it sorts as text.
fn is_utc(text: &str, time: Timestamp) -> bool {
    let printed = time.to_string();
    let seconds = printed.get(.."YYYY-MM-DDTHH:MM:SS".len());
    let fraction = seconds
        .and_then(|seconds| text.strip_prefix(seconds))
        .and_then(|rest| rest.strip_suffix('Z'));
    fraction.is_some_and(|fraction| {
        fraction.is_empty()
            || fraction.strip_prefix('.').is_some_and(|digits| {
                !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
            })
    })
}

fn word<T: Copy>(all: &[T], name: fn(T) -> &'static str, given: Option<&str>) -> Option<T> {
    all.iter().copied().find(|one| Some(name(*one)) == given)
}

/// The metadata. If it is not an object, its text is kept.
fn object_of(metadata: Option<&str>) -> Map<String, Value> {
    let Some(text) = metadata else {
        return Map::new();
    };
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => map,
        _ => Map::from_iter([("metadata".to_owned(), Value::String(text.to_owned()))]),
    }
}

/// The last occurrence in the metadata. An implausible one is ignored: a row in the future would never expire.
fn last(extra: &Map<String, Value>, created: Timestamp, now: Timestamp) -> Timestamp {
    extra
        .get("last_timestamp")
        .and_then(Value::as_str)
        .and_then(|text| Timestamp::parse(text).ok())
        .filter(|last| (created..=now).contains(last))
        .unwrap_or(created)
}
