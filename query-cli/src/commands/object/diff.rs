//! `object diff`: what differs between two times, two objects, or an object and a manifest.

use std::io::{Write, stderr};
use std::time::Duration;

use kube9_db::read::Reader;
use kube9_db::read::revision::StatesAt;
use kube9_model::change::body::Body;
use kube9_model::change::diff::{FieldChange, changes};
use kube9_model::change::stored::Stored;
use kube9_model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::{field_json, is_creation, manifest, object_json, past, states_at, undo};
use crate::args::{Format, ObjectDiffArgs};
use crate::commands::Context;
use crate::error::CliError;
use crate::output::{self, Stdout};
use crate::target::{self, Target};
use crate::text::{counted, safe};
use crate::time_arg::Now;
use crate::zone::Zone;

/// What cannot be compared is listed up to this number; a document has all.
const UNKNOWN_MAX: usize = 10;

pub(super) fn run(context: &Context, args: &ObjectDiffArgs) -> Result<(), CliError> {
    let now = context.now();
    let mode = Mode::of(args, &now)?;
    // Before the time limit begins: stdin may be a person.
    let manifests = match &args.file {
        Some(file) => manifest::read(file)?,
        None => Vec::new(),
    };
    let reader = context.open()?;
    let (namespace, zone) = (args.namespace.as_deref(), &now.zone);
    let mut out = Output::begin(context, &now);
    if let Mode::One(at) = mode {
        out.when = format!("at {}", now.zone.seconds(at));
    }
    match (mode, &args.objects[..]) {
        (Mode::Times(from, to), [object]) => {
            let target = target::find(&reader, object, namespace, zone)?;
            let to = Side::at((&reader, zone), &target, to, End::After)?;
            let from = match from {
                Some(from) => Side::at((&reader, zone), &target, from, End::Before)?,
                None => before((&reader, zone), &target, &to)?,
            };
            out.times(from.at, to.at);
            out.compare(&target, &from, &to)?;
        }
        (Mode::Times(from, to), _) => {
            let (Some(namespace), Some(from)) = (namespace, from) else {
                return Err(CliError::Usage(
                    "name an object, or a namespace and a time\n\
                     for example: object diff deploy/web, or object diff --object-namespace=shop --from=1h"
                        .to_owned(),
                ));
            };
            out.times(from, to);
            of_namespace(&reader, namespace, (from, to), &mut out)?;
        }
        (Mode::One(at), [one, other]) => {
            let one = target::find(&reader, one, namespace, zone)?;
            let other = target::find(&reader, other, namespace, zone)?;
            if one.kind.kind != other.kind.kind || one.kind.group != other.kind.group {
                return Err(CliError::Usage(format!(
                    "a {} cannot be compared with a {}",
                    one.kind.kind, other.kind.kind
                )));
            }
            let from = Side::at((&reader, zone), &one, at, End::After)?;
            let to = Side::at((&reader, zone), &other, at, End::After)?;
            out.compare_two((&one, &from), (&other, &to))?;
        }
        (Mode::One(at), named) => {
            let is_only = manifests.len() == 1;
            for manifest in manifests {
                let object = match named {
                    [named] => named.clone(),
                    _ => manifest.object.clone(),
                };
                let of_manifest = manifest.object.namespace.as_deref();
                let namespace = match object.namespace {
                    Some(_) => None,
                    None => namespace.or(of_manifest),
                };
                let compared = target::find(&reader, &object, namespace, zone).and_then(|target| {
                    let side = Side::at((&reader, zone), &target, at, End::After)?;
                    out.compare_manifest(&target, &side, manifest.value)
                });
                match compared {
                    // A chart has objects that are not recorded, such as Secrets.
                    Err(CliError::NoAnswer { message, .. }) if !is_only => {
                        out.unknown.push(message);
                    }
                    compared => compared?,
                }
            }
        }
    }
    out.finish()
}

/// What is compared.
enum Mode {
    /// An object, or those of a namespace, at two times; without the first: the state before.
    Times(Option<Timestamp>, Timestamp),
    /// Two objects, or an object and a manifest, at one time.
    One(Timestamp),
}

impl Mode {
    fn of(args: &ObjectDiffArgs, now: &Now) -> Result<Self, CliError> {
        let is_file = args.file.is_some();
        if args.objects.len() == 2 && is_file {
            return Err(CliError::Usage(
                "--file compares with one object, not two".to_owned(),
            ));
        }
        if args.objects.len() == 2 || is_file {
            if args.from.is_some() || args.to.is_some() {
                return Err(CliError::Usage(
                    "--from and --to compare one object with itself; use --at".to_owned(),
                ));
            }
            return Ok(Self::One(past("--at", args.at, now)?));
        }
        if args.at.is_some() {
            return Err(CliError::Usage(
                "--at is the time of two objects or a file; use --from and --to".to_owned(),
            ));
        }
        let to = past("--to", args.to, now)?;
        let from = args
            .from
            .map(|_| past("--from", args.from, now))
            .transpose()?;
        match from {
            Some(from) if from >= to => Err(CliError::Usage(format!(
                "--from ({}) must be before --to ({})",
                now.zone.rfc3339(from),
                now.zone.rfc3339(to)
            ))),
            from => Ok(Self::Times(from, to)),
        }
    }
}

/// Which of several possible states is compared: the first of the time before, the last of the time after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Before,
    After,
}

/// An object at a time.
struct Side {
    at: Timestamp,
    /// The state that is compared; `None`: the object did not exist.
    body: Option<Body<'static>>,
    /// Its revision; `None` before the object was created.
    revision: Option<i64>,
    /// All states that it may have been in, if that is not known.
    one_of: Vec<i64>,
    is_exact: bool,
}

impl Side {
    fn at(
        (reader, zone): (&Reader, &Zone),
        target: &Target,
        at: Timestamp,
        end: End,
    ) -> Result<Self, CliError> {
        if target.object.created.is_some_and(|created| at < created) {
            return Ok(Self {
                at,
                body: None,
                revision: None,
                one_of: Vec::new(),
                is_exact: true,
            });
        }
        Ok(Self::of(at, states_at(reader, target, at, zone)?, end))
    }

    fn of(at: Timestamp, mut found: StatesAt, end: End) -> Self {
        let numbers: Vec<i64> = found.states.iter().map(|state| state.number).collect();
        if end == End::Before {
            found.states.truncate(1);
        }
        let state = found.states.pop();
        Self {
            at,
            revision: state.as_ref().map(|state| state.number),
            body: state.and_then(|state| state.body),
            one_of: if numbers.len() > 1 {
                numbers
            } else {
                Vec::new()
            },
            is_exact: found.is_exact,
        }
    }

    fn json(&self) -> Value {
        let mut value = Map::new();
        value.insert("at".to_owned(), self.at.to_string().into());
        value.insert("revision".to_owned(), json!(self.revision));
        value.insert("exact".to_owned(), self.is_exact.into());
        if !self.one_of.is_empty() {
            value.insert("one_of".to_owned(), json!(self.one_of));
        }
        value.into()
    }
}

/// The state before that of a side.
fn before((reader, zone): (&Reader, &Zone), target: &Target, to: &Side) -> Result<Side, CliError> {
    let number = to.revision.unwrap_or(0) - 1;
    let only = || {
        CliError::no_answer(
            format!("only one state of {} is recorded", target.title()),
            "",
        )
    };
    if number < 1 {
        let first = reader.revision_head(target.object.id, 1)?;
        return match (first, target.object.created) {
            (Some(first), Some(created)) if is_creation(target, &first) => {
                let before = created.minus(Duration::from_millis(1));
                Side::at((reader, zone), target, before, End::Before)
            }
            _ => Err(only()),
        };
    }
    let head = reader.revision_head(target.object.id, number)?;
    let head = head.ok_or_else(only)?;
    let body = reader.revision(target.object.id, number)?;
    Ok(Side {
        at: head.at,
        body,
        revision: Some(number),
        one_of: Vec::new(),
        is_exact: true,
    })
}

/// All objects of a namespace at two times.
fn of_namespace(
    reader: &Reader,
    namespace: &str,
    (from, to): (Timestamp, Timestamp),
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let zone = &out.now.zone;
    let mut is_known = false;
    for kind in reader.recorded_kinds()? {
        if !kind.kind.namespaced {
            continue;
        }
        for object in reader.objects_of_kind(kind.id, namespace)? {
            is_known = true;
            let target = Target {
                kind: kind.kind.clone(),
                object,
            };
            let sides = Side::at((reader, zone), &target, from, End::Before).and_then(|before| {
                Ok((before, Side::at((reader, zone), &target, to, End::After)?))
            });
            match sides {
                Ok((from, to)) => out.compare(&target, &from, &to)?,
                Err(CliError::NoAnswer { message, .. }) => out.unknown.push(message),
                Err(error) => return Err(error),
            }
        }
    }
    if is_known {
        Ok(())
    } else {
        Err(CliError::no_answer(
            format!("no object of namespace {namespace} is in the record"),
            "",
        ))
    }
}

/// Prints the differences of one object after another.
struct Output<'c> {
    context: &'c Context,
    now: &'c Now,
    out: Stdout,
    /// Objects that were compared, and that differ.
    compared: usize,
    differ: usize,
    /// The times that are compared.
    when: String,
    unknown: Vec<String>,
}

impl<'c> Output<'c> {
    fn begin(context: &'c Context, now: &'c Now) -> Self {
        Self {
            context,
            now,
            out: Stdout::lock(),
            compared: 0,
            differ: 0,
            when: String::new(),
            unknown: Vec::new(),
        }
    }

    fn times(&mut self, from: Timestamp, to: Timestamp) {
        let zone = &self.now.zone;
        self.when = format!("from {} to {}", zone.seconds(from), zone.seconds(to));
    }

    fn compare(&mut self, target: &Target, from: &Side, to: &Side) -> Result<(), CliError> {
        let fields = match (&from.body, &to.body) {
            _ if from.revision == to.revision && from.is_exact && to.is_exact => Vec::new(),
            (Some(before), Some(after)) => changes(target.kind.rules, before, after, false),
            _ => Vec::new(),
        };
        if let Some(side) = [from, to].into_iter().find(|side| !side.is_exact) {
            self.unknown.push(format!(
                "{} at {} is not known exactly",
                target.title(),
                self.now.zone.rfc3339(side.at)
            ));
        }
        let op = match (&from.body, &to.body) {
            (None, Some(_)) => "created",
            (Some(_), None) => "deleted",
            (None, None) => "absent",
            (Some(_), Some(_)) if fields.is_empty() => "equal",
            (Some(_), Some(_)) => "changed",
        };
        if self.context.format == Format::KubectlPatch {
            self.compared += 1;
            if matches!(op, "absent" | "equal") {
                return Ok(());
            }
            self.differ += 1;
            for side in [from, to].into_iter().filter(|side| !side.is_exact) {
                writeln!(
                    self.out,
                    "# {} at {} is not known exactly",
                    safe(&target.title()),
                    self.now.zone.rfc3339(side.at)
                )?;
            }
            let (before, after) = ((from.body.as_ref(), from.at), (to.body.as_ref(), to.at));
            for line in undo::commands(target, before, after, &self.now.zone) {
                writeln!(self.out, "{line}")?;
            }
            return Ok(());
        }
        let sides = (from.json(), to.json());
        self.print(target, op, &fields, sides, None)
    }

    fn compare_two(
        &mut self,
        (one, from): (&Target, &Side),
        (other, to): (&Target, &Side),
    ) -> Result<(), CliError> {
        self.not_as_patch("two objects")?;
        for (target, side) in [(one, from), (other, to)] {
            if side.body.is_none() {
                return Err(CliError::no_answer(
                    format!(
                        "{} did not exist at {}",
                        target.title(),
                        self.now.zone.rfc3339(side.at)
                    ),
                    "",
                ));
            }
        }
        let (Some(before), Some(after)) = (&from.body, &to.body) else {
            return Ok(());
        };
        let fields = changes(one.kind.rules, before, after, false);
        let op = if fields.is_empty() {
            "equal"
        } else {
            "changed"
        };
        self.print(
            one,
            op,
            &fields,
            (from.json(), to.json()),
            Some(object_json(other)),
        )
    }

    fn compare_manifest(
        &mut self,
        target: &Target,
        side: &Side,
        manifest: Value,
    ) -> Result<(), CliError> {
        self.not_as_patch("a file")?;
        let Some(recorded) = &side.body else {
            return Err(CliError::no_answer(
                format!(
                    "{} did not exist at {}",
                    target.title(),
                    self.now.zone.rfc3339(side.at)
                ),
                "",
            ));
        };
        let compared = manifest::compared(target.kind.rules, recorded, manifest)?;
        let hidden = compared.hidden;
        let fields = changes(
            target.kind.rules,
            &compared.recorded,
            &compared.manifest,
            false,
        );
        if hidden > 0 {
            self.unknown.push(format!(
                "{}: {} of the file cannot be compared, because the recorded values are hidden",
                target.title(),
                counted(hidden as u64, "field")
            ));
        }
        let op = if fields.is_empty() {
            "equal"
        } else {
            "changed"
        };
        self.print(
            target,
            op,
            &fields,
            (side.json(), json!({"file": true})),
            None,
        )
    }

    fn not_as_patch(&self, what: &str) -> Result<(), CliError> {
        if self.context.format == Format::KubectlPatch {
            return Err(CliError::Usage(format!(
                "--format=kubectl-patch takes back a change of one object; it does not compare {what}"
            )));
        }
        Ok(())
    }

    fn print(
        &mut self,
        target: &Target,
        op: &str,
        fields: &[FieldChange<'_>],
        (from, to): (Value, Value),
        with: Option<Value>,
    ) -> Result<(), CliError> {
        self.compared += 1;
        if matches!(op, "equal" | "absent") {
            return Ok(());
        }
        self.differ += 1;
        match self.context.format {
            Format::Json | Format::Yaml => {
                let mut entry = Map::new();
                entry.insert("object".to_owned(), object_json(target));
                if let Some(with) = with {
                    entry.insert("with".to_owned(), with);
                }
                entry.insert("op".to_owned(), op.into());
                entry.insert("from".to_owned(), from);
                entry.insert("to".to_owned(), to);
                let fields: Vec<Value> = fields.iter().map(field_json).collect();
                entry.insert("fields".to_owned(), fields.into());
                // One object at a time: those of a namespace do not fit into memory together.
                let line = output::to_line(&Value::from(entry)).map_err(std::io::Error::from)?;
                let (first, indent) = if self.context.format == Format::Json {
                    ("{\n  \"objects\": [\n    ", "    ")
                } else {
                    ("objects:\n- ", "- ")
                };
                let between = match (self.differ, self.context.format) {
                    (1, _) => first.to_owned(),
                    (_, Format::Json) => format!(",\n{indent}"),
                    _ => format!("\n{indent}"),
                };
                write!(self.out, "{between}{line}")?;
            }
            _ => {
                let (bold, reset) = self.context.terminal.bold();
                // Which side is which: the first is left of the arrow.
                let other = match (&with, to.get("file")) {
                    (Some(with), _) => {
                        let word = |key: &str| with[key].as_str().unwrap_or_default();
                        let name = target::title(&target.kind, word("namespace"), word("name"));
                        format!(" → {name}")
                    }
                    (None, Some(_)) => " → file".to_owned(),
                    (None, None) => String::new(),
                };
                let op = if other.is_empty() { op } else { "differs" };
                writeln!(
                    self.out,
                    "{bold}{}{}{reset}: {op}",
                    safe(&target.title()),
                    safe(&other)
                )?;
                for field in fields {
                    writeln!(self.out, "{}", line(field))?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), CliError> {
        let (compared, unknown) = (self.compared, &self.unknown);
        match self.context.format {
            Format::Json => {
                let head = if self.differ == 0 {
                    "{\n  \"objects\": ["
                } else {
                    "\n  "
                };
                let unknown = output::to_line(unknown).map_err(std::io::Error::from)?;
                writeln!(
                    self.out,
                    "{head}],\n  \"compared\": {compared},\n  \"unknown\": {unknown}\n}}"
                )?;
            }
            Format::Yaml => {
                let head = if self.differ == 0 { "objects: []" } else { "" };
                let unknown = output::to_line(unknown).map_err(std::io::Error::from)?;
                writeln!(self.out, "{head}\ncompared: {compared}\nunknown: {unknown}")?;
            }
            _ => {
                self.out.flush()?;
                let mut stderr = stderr().lock();
                let differ = counted(self.differ as u64, "object");
                // Ignores a closed stderr.
                let _ = writeln!(
                    stderr,
                    "{differ} of {compared} {} {} ({})",
                    if self.differ == 1 {
                        "differs"
                    } else {
                        "differ"
                    },
                    self.when,
                    self.now.zone.name()
                );
                for line in unknown.iter().take(UNKNOWN_MAX) {
                    let _ = writeln!(stderr, "note: {}", safe(line));
                }
                if unknown.len() > UNKNOWN_MAX {
                    let more = unknown.len() - UNKNOWN_MAX;
                    let _ = writeln!(stderr, "note: {more} more");
                }
            }
        }
        self.out.finish()
    }
}

/// `~ spec.replicas: 2 → 5`
fn line(field: &FieldChange<'_>) -> String {
    let value = |stored: Option<&Stored<'_>>| {
        stored.map(|stored| {
            let value = kube9_model::change::body::plain(stored);
            output::to_line(&value).unwrap_or_default()
        })
    };
    let path = safe(&field.path.to_string());
    match (value(field.from), value(field.to)) {
        (Some(from), Some(to)) => format!("  ~ {path}: {from} → {to}"),
        (None, Some(to)) => format!("  + {path}: {to}"),
        (Some(from), None) => format!("  - {path}: {from}"),
        (None, None) => format!("  ~ {path}"),
    }
}
