//! `object get|history|diff|blame`: the recorded states of objects.

mod blame;
mod diff;
mod get;
mod history;
mod manifest;
mod undo;
mod yaml_lines;

use kube9_db::read::revision::{State, StatesAt};
use kube9_db::read::{Reader, RevisionHead};
use kube9_model::change::body::Body;
use kube9_model::change::diff::FieldChange;
use kube9_model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::Context;
use crate::args::ObjectCommand;
use crate::error::CliError;
use crate::target::Target;
use crate::time_arg::{Now, TimeArg};
use crate::zone::Zone;

pub(super) fn run(context: &Context, command: &ObjectCommand) -> Result<(), CliError> {
    match command {
        ObjectCommand::Get(args) => get::run(context, args),
        ObjectCommand::History(args) => history::run(context, args),
        ObjectCommand::Diff(args) => diff::run(context, args),
        ObjectCommand::Blame(args) => blame::run(context, args),
    }
}

/// A time of the past, as an option names it.
pub(in crate::commands) fn past(
    option: &str,
    arg: Option<TimeArg>,
    now: &Now,
) -> Result<Timestamp, CliError> {
    let at = arg.map_or(now.time, |arg| arg.resolve(now));
    if at > now.time {
        return Err(CliError::Usage(format!(
            "{option} ({}) is in the future\nit is {} now",
            now.zone.rfc3339(at),
            now.zone.rfc3339(now.time)
        )));
    }
    Ok(at)
}

/// Fails if the object did not exist at a time, or if that is not known.
pub(in crate::commands) fn exists(
    reader: &Reader,
    target: &Target,
    at: Timestamp,
    zone: &Zone,
) -> Result<(), CliError> {
    let found = states_at(reader, target, at, zone)?;
    match &found.states[..] {
        [only] if found.is_exact && only.body.is_none() => {
            Err(deleted(reader, target, only, zone)?)
        }
        _ => Ok(()),
    }
}

/// The states that an object may have had at a time.
///
/// Fails if the record does not reach that time.
fn states_at(
    reader: &Reader,
    target: &Target,
    at: Timestamp,
    zone: &Zone,
) -> Result<StatesAt, CliError> {
    let object = &target.object;
    let what = target.title();
    if let Some(unwatched) = object.unwatched.filter(|unwatched| *unwatched < at) {
        let unwatched = zone.rfc3339(unwatched);
        return Err(CliError::no_answer(
            format!(
                "{what} is not known after {unwatched}: its kind or namespace is not watched any more"
            ),
            format!("to see its last known state, use --at={unwatched}"),
        ));
    }
    let found = reader.states_at(object.id, at)?;
    if found.states.is_empty() {
        let since = reader.oldest_revision(object.id)?;
        let since = since.as_ref().map(|head| zone.rfc3339(earliest(head)));
        return Err(match (since, object.created) {
            (_, Some(created)) if at < created => CliError::no_answer(
                format!(
                    "{what} did not exist at {}: it was created at {}",
                    zone.rfc3339(at),
                    zone.rfc3339(created)
                ),
                "",
            ),
            (Some(since), Some(created)) => CliError::no_answer(
                format!(
                    "{what} is not known before {since}; it has existed since {}",
                    zone.rfc3339(created)
                ),
                format!("to see its first known state, use --at={since}"),
            ),
            (Some(since), None) => {
                CliError::no_answer(format!("{what} is not known before {since}"), "")
            }
            (None, _) => {
                CliError::no_answer(format!("no state of {what} is recorded any more"), "")
            }
        });
    }
    Ok(found)
}

/// Whether a revision is the creation of the object, and not merely the first state that was seen of it.
fn is_creation(target: &Target, head: &RevisionHead) -> bool {
    // The row of a creation is that of the first revision; objects that a controller makes have none.
    head.number == 1 && (head.event.is_some() || target.object.created == Some(head.at))
}

fn earliest(head: &RevisionHead) -> Timestamp {
    head.from.unwrap_or(head.at)
}

/// The error for an object that did not exist at a time: when it was deleted and why.
fn deleted(
    reader: &Reader,
    target: &Target,
    state: &State,
    zone: &Zone,
) -> Result<CliError, CliError> {
    let head = reader.revision_head(target.object.id, state.number)?;
    let cause = head
        .as_ref()
        .and_then(|head| head.cause.as_deref())
        .unwrap_or("request");
    let why = match cause {
        "request" => "by a request; the API server does not say whose".to_owned(),
        cause => format!("because of: {cause}"),
    };
    let when = match state.from {
        Some(from) => {
            format!(
                "between {} and {}",
                zone.rfc3339(from),
                zone.rfc3339(state.at)
            )
        }
        None => format!("at {}", zone.rfc3339(state.at)),
    };
    let before = state.from.unwrap_or(state.at);
    let before = before.minus(std::time::Duration::from_millis(1));
    Ok(CliError::no_answer(
        format!("{} was deleted {when}, {why}", target.title()),
        format!("to see its last state, use --at={}", zone.rfc3339(before)),
    ))
}

/// Until when a state was in force: the time of the next one.
fn until(reader: &Reader, target: &Target, number: i64) -> Result<Option<RevisionHead>, CliError> {
    if number >= target.object.revision {
        return Ok(None);
    }
    Ok(reader.revision_head(target.object.id, number + 1)?)
}

/// The object as the API has it.
fn as_in_the_api(target: &Target, body: &Body) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), target.kind.api_version().into());
    object.insert("kind".to_owned(), (*target.kind.kind).into());
    let Value::Object(mut fields) = body.plain() else {
        return object;
    };
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), target.object.name.clone().into());
    if !target.object.namespace.is_empty() {
        metadata.insert(
            "namespace".to_owned(),
            target.object.namespace.clone().into(),
        );
    }
    if let Some(Value::Object(known)) = fields.shift_remove("metadata") {
        metadata.extend(known);
    }
    object.insert("metadata".to_owned(), metadata.into());
    object.extend(fields);
    object
}

/// A changed field in a document; values are whole.
fn field_json(change: &FieldChange<'_>) -> Value {
    let mut field = Map::new();
    field.insert("path".to_owned(), change.path.to_string().into());
    field.insert("op".to_owned(), change.op.as_str().into());
    for (name, value) in [("from", change.from), ("to", change.to)] {
        if let Some(value) = value {
            field.insert(name.to_owned(), kube9_model::change::body::plain(value));
        }
    }
    if change.silent {
        field.insert("silent".to_owned(), true.into());
    }
    field.into()
}

/// The object in a document.
fn object_json(target: &Target) -> Value {
    json!({
        "api_version": target.kind.api_version(),
        "kind": target.kind.kind,
        "namespace": if target.object.namespace.is_empty() { Value::Null } else { target.object.namespace.clone().into() },
        "name": target.object.name,
    })
}
