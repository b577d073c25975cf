//! `object get`: an object as it was.

use std::io::Write;

use kube9_db::read::Reader;
use kube9_db::read::revision::{State, StatesAt};
use kube9_model::change::body::Body;
use serde_json::{Map, Value, json};

use super::{as_in_the_api, deleted, past, states_at, until};
use crate::args::{Format, ObjectGetArgs};
use crate::commands::Context;
use crate::error::CliError;
use crate::output::{self, Stdout};
use crate::target::{self, Target};
use crate::text::{counted, safe};
use crate::time_arg::Now;

/// Hidden fields that are named.
const HIDDEN_MAX: usize = 100;

pub(super) fn run(context: &Context, args: &ObjectGetArgs) -> Result<(), CliError> {
    let now = context.now();
    let at = past("--at", args.at, &now)?;
    let reader = context.open()?;
    let target = target::of_args(&reader, &args.target, &now.zone)?;
    let found = states_at(&reader, &target, at, &now.zone)?;
    if let [only] = &found.states[..]
        && found.is_exact
        && only.body.is_none()
    {
        return Err(deleted(&reader, &target, only, &now.zone)?);
    }
    let mut documents = Vec::new();
    for state in &found.states {
        documents.push(Document::new(&reader, &target, state, &found, &now)?);
    }
    let mut out = Stdout::lock();
    match context.format {
        Format::Json => {
            let mut values: Vec<Value> = documents.iter().map(|one| one.value.clone()).collect();
            if values.len() == 1 {
                output::write_json(&mut out, &values.remove(0))?;
            } else {
                let list = json!({
                    "apiVersion": API_VERSION,
                    "kind": "KubeObjectRevisionList",
                    "items": values,
                });
                output::write_json(&mut out, &list)?;
            }
        }
        _ => {
            if documents.len() > 1 {
                writeln!(
                    out,
                    "# The object was in one of these {} states.",
                    documents.len()
                )?;
            }
            for (n, document) in documents.iter().enumerate() {
                if n > 0 {
                    writeln!(out, "---")?;
                }
                for line in &document.comments {
                    writeln!(out, "# {}", safe(line))?;
                }
                output::write_yaml(&mut out, &document.value)?;
            }
        }
    }
    out.finish()
}

/// No API server has this group.
const API_VERSION: &str = "kube9.io/v1";

/// A state as it is printed.
struct Document {
    comments: Vec<String>,
    value: Value,
}

impl Document {
    fn new(
        reader: &Reader,
        target: &Target,
        state: &State,
        found: &StatesAt,
        now: &Now,
    ) -> Result<Self, CliError> {
        let head = reader.revision_head(target.object.id, state.number)?;
        let next = until(reader, target, state.number)?;
        let author = head.as_ref().and_then(|head| head.author.as_deref());
        let zone = &now.zone;
        let mut comments = vec![format!("{}, revision {}", target.title(), state.number)];
        let begin = match state.from {
            Some(from) => format!(
                "between {} and {}",
                zone.seconds(from),
                zone.seconds(state.at)
            ),
            None => zone.seconds(state.at),
        };
        let end = match &next {
            None => "now".to_owned(),
            Some(next) => match next.from {
                Some(from) => {
                    format!(
                        "between {} and {}",
                        zone.seconds(from),
                        zone.seconds(next.at)
                    )
                }
                None => zone.seconds(next.at),
            },
        };
        comments.push(format!("In force from {begin} to {end} ({}).", zone.name()));
        comments.push(match author {
            Some(author) => format!("Written by {author}."),
            None if state.body.is_none() => "The object did not exist.".to_owned(),
            None => "Who wrote it is not known.".to_owned(),
        });
        if state.left_out > 0 {
            comments.push(format!(
                "Before it came into force, {} had no revision.",
                counted(u64::from(state.left_out), "state")
            ));
        }
        if !found.is_exact && found.states.len() == 1 {
            comments.push(
                "The object may also have been in another state, which is not recorded.".to_owned(),
            );
        }
        let hidden: Vec<String> = state
            .body
            .as_ref()
            .map(Body::hidden_fields)
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect();
        if !hidden.is_empty() {
            comments.push(format!(
                "Hidden or too large: {}. Equal marks of a field stand for equal values.",
                named(&hidden)
            ));
        }
        if state.body.is_some() {
            comments.push(
                "Not recorded: managedFields, most of status, and what the API server fills in."
                    .to_owned(),
            );
        }
        let is_whole = found.is_exact && hidden.is_empty();
        let object = state.body.as_ref().map(|body| as_in_the_api(target, body));
        let value = match object {
            Some(object) if is_whole => object.into(),
            object => {
                let mut revision = Map::new();
                revision.insert("apiVersion".to_owned(), target.kind.api_version().into());
                revision.insert("kind".to_owned(), (*target.kind.kind).into());
                revision.insert("number".to_owned(), state.number.into());
                if let Some(from) = state.from {
                    revision.insert("from".to_owned(), from.to_string().into());
                }
                revision.insert("at".to_owned(), state.at.to_string().into());
                if let Some(next) = &next {
                    revision.insert("until".to_owned(), next.at.to_string().into());
                }
                revision.insert("author".to_owned(), author.map_or(Value::Null, Value::from));
                revision.insert("exact".to_owned(), found.is_exact.into());
                revision.insert("exists".to_owned(), object.is_some().into());
                if state.left_out > 0 {
                    revision.insert("statesLeftOut".to_owned(), state.left_out.into());
                }
                if !hidden.is_empty() {
                    let shown: Vec<&String> = hidden.iter().take(HIDDEN_MAX).collect();
                    revision.insert("hidden".to_owned(), json!(shown));
                    if hidden.len() > HIDDEN_MAX {
                        let left = hidden.len() - HIDDEN_MAX;
                        revision.insert("hiddenLeftOut".to_owned(), left.into());
                    }
                }
                let mut value = Map::new();
                value.insert("apiVersion".to_owned(), API_VERSION.into());
                value.insert("kind".to_owned(), "KubeObjectRevision".into());
                let mut object = object.unwrap_or_else(|| as_in_the_api(target, &Body::default()));
                if let Some(metadata) = object.shift_remove("metadata") {
                    value.insert("metadata".to_owned(), metadata);
                }
                value.insert("revision".to_owned(), revision.into());
                for (key, field) in object {
                    // The kind of a custom resource may have any fields but these.
                    if !matches!(&*key, "apiVersion" | "kind" | "revision") {
                        value.insert(key, field);
                    }
                }
                value.into()
            }
        };
        Ok(Self { comments, value })
    }
}

/// `a, b and 5 more`
fn named(names: &[String]) -> String {
    const NAMED_MAX: usize = 5;
    let shown = names[..names.len().min(NAMED_MAX)].join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
