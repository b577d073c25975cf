//! A manifest that is compared with a recorded object.

use std::io::Read;
use std::path::Path;

use kube9_model::change::body::{Body, List, SPECIAL, Shape, is_complete, null};
use kube9_model::change::rules::Rules;
use kube9_model::change::stored::{Fields, Stored};
use serde_json::Value;

use crate::args::ObjectArg;
use crate::error::CliError;

/// Longest manifest that is read.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Objects of a manifest.
const DOCUMENTS_MAX: usize = 1_000;

/// A part of a manifest that is one object.
pub(super) struct Manifest {
    pub(super) object: ObjectArg,
    pub(super) value: Value,
}

/// Reads the objects of a file; `-` is stdin.
pub(super) fn read(file: &Path) -> Result<Vec<Manifest>, CliError> {
    let name = if file == Path::new("-") {
        "stdin".to_owned()
    } else {
        file.display().to_string()
    };
    let failed = |why: String| CliError::no_answer(format!("cannot read {name}: {why}"), "");
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(MANIFEST_BYTES_MAX + 1)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(file)
            .and_then(|open| open.take(MANIFEST_BYTES_MAX + 1).read_to_string(&mut text))
    };
    read.map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(failed(format!(
            "it is larger than {MANIFEST_BYTES_MAX} bytes"
        )));
    }
    let documents: Vec<Value> =
        serde_yaml::from_multiple(&text).map_err(|error| failed(error.to_string()))?;
    let mut found = Vec::new();
    for document in documents {
        // `kubectl get -o yaml` prints lists.
        match document {
            Value::Null => {}
            Value::Object(mut list) if list.get("items").is_some_and(Value::is_array) => {
                if let Some(Value::Array(items)) = list.shift_remove("items") {
                    found.extend(items);
                }
            }
            other => found.push(other),
        }
    }
    if found.is_empty() || found.len() > DOCUMENTS_MAX {
        return Err(failed(format!(
            "it has {} objects; 1 to {DOCUMENTS_MAX} are compared",
            found.len()
        )));
    }
    found
        .into_iter()
        .map(|value| {
            manifest(value).ok_or_else(|| {
                failed("an object has no apiVersion, kind or metadata.name".to_owned())
            })
        })
        .collect()
}

fn manifest(value: Value) -> Option<Manifest> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (api_version, kind) = (text(value.get("apiVersion")?)?, text(value.get("kind")?)?);
    let metadata = value.get("metadata")?;
    let kind = match api_version.rsplit_once('/') {
        Some((group, _)) => format!("{kind}.{group}"),
        // The core group: no kind of another group is meant.
        None => format!("{kind}."),
    };
    Some(Manifest {
        object: ObjectArg {
            kind,
            name: text(metadata.get("name")?)?,
            namespace: metadata.get("namespace").and_then(text),
        },
        value,
    })
}

/// What a manifest and a recorded object have in common.
pub(super) struct Compared {
    pub(super) recorded: Body<'static>,
    pub(super) manifest: Body<'static>,
    /// Fields that cannot be compared, because the recorded values are hidden.
    pub(super) hidden: usize,
}

/// Leaves out what only the recorded object has: defaults, or the work of others. What the API server writes in another
/// form is written as it writes it.
pub(super) fn compared(
    rules: &Rules,
    recorded: &Body<'_>,
    mut manifest: Value,
) -> Result<Compared, CliError> {
    if let Some(object) = manifest.as_object_mut() {
        for key in ["apiVersion", "kind", "status"] {
            object.shift_remove(key);
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|key, _| matches!(key.as_str(), "labels" | "annotations"));
        }
    }
    let manifest = Body::of_manifest(rules, &manifest)
        .map_err(|error| CliError::no_answer(format!("cannot compare the file: {error}"), ""))?;
    let mut hidden = 0;
    let aligned = aligned(recorded.stored(), manifest.stored(), "", &mut hidden);
    let body = |value: Stored<'_>| match value {
        Stored::Map(fields) => Body::from_stored(fields.into_owned()),
        _ => Body::default(),
    };
    Ok(Compared {
        recorded: body(aligned.recorded),
        manifest: body(aligned.manifest),
        hidden,
    })
}

struct Aligned<'a> {
    recorded: Stored<'a>,
    manifest: Stored<'a>,
}

/// `name` is that of the field which holds the values.
fn aligned<'a>(
    recorded: &'a Stored<'a>,
    manifest: &'a Stored<'a>,
    name: &str,
    hidden: &mut usize,
) -> Aligned<'a> {
    let both = |recorded: Stored<'a>, manifest: Stored<'a>| Aligned { recorded, manifest };
    let equal = || both(recorded.clone(), recorded.clone());
    match (Shape::of(recorded), Shape::of(manifest)) {
        (Shape::Map(old), Shape::Map(new)) => {
            let (mut left, mut right) = (Vec::new(), Vec::new());
            for (key, value) in new.iter() {
                if *value == null() {
                    continue;
                }
                match old.get(key) {
                    Some(known) => {
                        let inner = match name {
                            quantities if QUANTITIES.contains(&quantities) => quantities,
                            keys if USER_KEYS.contains(&keys) => "",
                            _ => key,
                        };
                        let aligned = aligned(known, value, inner, hidden);
                        left.push((key.into(), aligned.recorded));
                        right.push((key.into(), aligned.manifest));
                    }
                    // The API server omits it, except from a map whose keys the user chooses.
                    None if is_zero(value) && !USER_KEYS.contains(&name) => {}
                    None => right.push((key.into(), value.clone())),
                }
            }
            both(
                Stored::Map(Fields::new(left)),
                Stored::Map(Fields::new(right)),
            )
        }
        (Shape::List(old), Shape::List(new)) => lists(old, new, hidden),
        (Shape::Hidden { .. }, _) | (Shape::Scalar(_), Shape::Scalar(_))
            if !is_complete(recorded) =>
        {
            *hidden += 1;
            equal()
        }
        // YAML reads 1 and true where the API server has "1" and "true".
        (Shape::Scalar(old), Shape::Scalar(new)) => {
            let (old, new) = (as_text(old), as_text(new));
            let is_same_quantity = || {
                QUANTITIES.contains(&name)
                    && quantity(&old).is_some_and(|old| quantity(&new) == Some(old))
            };
            if old == new || is_same_quantity() {
                equal()
            } else {
                both(recorded.clone(), manifest.clone())
            }
        }
        _ => both(recorded.clone(), manifest.clone()),
    }
}

/// The elements of the manifest under the keys of the recorded ones that they are.
fn lists<'a>(old: List<'a>, new: List<'a>, hidden: &mut usize) -> Aligned<'a> {
    let keys = |list: List<'a>| -> Vec<Option<&'a str>> {
        match list {
            List::Array(elements) => vec![None; elements.len()],
            List::Keyed { order, .. } => order.iter().map(Stored::as_text).collect(),
        }
    };
    let (old_keys, new_keys) = (keys(old), keys(new));
    let (old_elements, new_elements) = (old.elements(), new.elements());
    let is_keyed = matches!((old, new), (List::Keyed { .. }, List::Keyed { .. }));
    let is_by_place = old.len() == new.len() && (!is_keyed || old.len() == 1);
    let mut found: Vec<Option<usize>> = vec![None; new.len()];
    if is_by_place {
        found = (0..new.len()).map(Some).collect();
    } else {
        for (n, key) in new_keys.iter().enumerate() {
            found[n] = key.and_then(|key| old_keys.iter().position(|old| *old == Some(key)));
        }
        // A part of an identity may be a default: the protocol of a port.
        for n in 0..new.len() {
            if found[n].is_none() {
                found[n] = (0..old.len()).find(|at| {
                    let aligned = aligned(old_elements[*at], new_elements[n], "", &mut 0);
                    !found.contains(&Some(*at)) && aligned.recorded == aligned.manifest
                });
            }
        }
    }
    let mut left: Vec<Stored<'a>> = old_elements.iter().map(|one| (*one).clone()).collect();
    let mut right = Vec::with_capacity(new.len());
    let mut right_keys = Vec::with_capacity(new.len());
    for (n, element) in new_elements.into_iter().enumerate() {
        match found[n] {
            Some(at) => {
                let aligned = aligned(old_elements[at], element, "", hidden);
                left[at] = aligned.recorded;
                right.push(aligned.manifest);
                right_keys.push(old_keys[at]);
            }
            None => {
                right.push(element.clone());
                right_keys.push(new_keys[n]);
            }
        }
    }
    Aligned {
        recorded: list(&old_keys, left),
        manifest: list(&right_keys, right),
    }
}

/// A list; one with identities if all elements have one.
fn list<'a>(keys: &[Option<&'a str>], elements: Vec<Stored<'a>>) -> Stored<'a> {
    let Some(keys) = keys.iter().copied().collect::<Option<Vec<&str>>>() else {
        return Stored::List(elements);
    };
    if keys.is_empty() {
        return Stored::List(elements);
    }
    let order = keys.iter().map(|key| Stored::Text((*key).into())).collect();
    let mut fields: Vec<_> = keys.into_iter().map(Into::into).zip(elements).collect();
    fields.push((SPECIAL.into(), Stored::List(order)));
    Stored::Map(Fields::new(fields))
}

/// Fields that hold quantities, or maps of them: the API server writes `0.5` as `500m`.
const QUANTITIES: [&str; 15] = [
    "limits",
    "requests",
    "hard",
    "capacity",
    "default",
    "defaultRequest",
    "min",
    "max",
    "maxLimitRequestRatio",
    "podFixed",
    "sizeLimit",
    "storage",
    "averageValue",
    "value",
    "divisor",
];

/// Maps whose keys the user chooses.
const USER_KEYS: [&str; 7] = [
    "labels",
    "annotations",
    "matchLabels",
    "nodeSelector",
    "selector",
    "data",
    "binaryData",
];

/// What a field has that is not set.
fn is_zero(value: &Stored) -> bool {
    match Shape::of(value) {
        Shape::Scalar(Stored::Bool(is_set)) => !is_set,
        Shape::Scalar(Stored::Text(text)) => text.is_empty(),
        Shape::Scalar(Stored::Number(number)) => number.as_i64() == Some(0),
        Shape::Scalar(_) | Shape::Hidden { .. } => false,
        Shape::Map(fields) => fields.is_empty(),
        Shape::List(list) => list.is_empty(),
        Shape::Null => true,
    }
}

/// A quantity in billionths; `None` if the text is not one, or has more digits than a quantity keeps.
fn quantity(text: &str) -> Option<i128> {
    const SUFFIXES: [(&str, i128); 15] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("Ei", 1 << 60),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000),
        ("m", -1_000),
        ("u", -1_000_000),
        ("n", -1_000_000_000),
    ];
    let found = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)));
    let (number, mut factor) = found.unwrap_or((text, 1));
    let (number, exponent) = match number.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let (sign, whole) = match whole.strip_prefix('-') {
        Some(whole) => (-1, whole),
        None => (1, whole.strip_prefix('+').unwrap_or(whole)),
    };
    let digits = format!("{whole}{part}");
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let mut value: i128 = digits
        .parse()
        .ok()
        .filter(|_| is_number && digits.len() <= 18)?;
    let mut tens = 9 + exponent - i32::try_from(part.len()).ok()?;
    if factor < 0 {
        tens -= (-factor).ilog10() as i32;
        factor = 1;
    }
    value = value.checked_mul(factor)?;
    let power = 10_i128.checked_pow(tens.unsigned_abs())?;
    if tens >= 0 {
        value = value.checked_mul(power)?;
    } else if value % power == 0 {
        value /= power;
    } else {
        return None;
    }
    Some(sign * value)
}

fn as_text(scalar: &Stored) -> String {
    match scalar {
        Stored::Text(text) => text.to_string(),
        other => other.to_text(),
    }
}

#[cfg(test)]
mod tests {
    use kube9_model::change::diff::changes;
    use kube9_model::change::kinds::rules_of;
    use serde_json::json;

    use super::*;

    /// The paths in which a manifest differs from what the API server made of it, and fields that cannot be compared.
    fn differ(kind: (&str, &str), recorded: &Value, manifest: Value) -> Vec<String> {
        let rules = rules_of(kind.0, kind.1);
        let recorded = Body::of_manifest(rules, recorded).unwrap();
        let compared = compared(rules, &recorded, manifest).unwrap();
        assert_eq!(compared.hidden, 0);
        changes(rules, &compared.recorded, &compared.manifest, false)
            .iter()
            .map(|field| field.path.to_string())
            .collect()
    }

    fn container(fields: &Value) -> Value {
        let mut container = json!({"name": "app", "image": "a:1"});
        for (key, value) in fields.as_object().unwrap() {
            container[key] = value.clone();
        }
        json!({"spec": {"template": {"spec": {"containers": [container]}}}})
    }

    #[test]
    fn manifest_of_what_the_api_server_made_of_it_is_equal() {
        for (recorded, manifest) in [
            (
                json!({"ports": [{"containerPort": 80, "protocol": "TCP"}]}),
                json!({"ports": [{"containerPort": 80}]}),
            ),
            (
                json!({"ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]}),
                json!({"ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]}),
            ),
            (
                json!({"resources": {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "2"}}}),
                json!({"resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}, "requests": {"cpu": "2000m"}}}),
            ),
            (
                json!({"env": [{"name": "EMPTY"}]}),
                json!({"env": [{"name": "EMPTY", "value": ""}], "args": [], "stdin": false, "tty": null}),
            ),
            (
                json!({"livenessProbe": {"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "periodSeconds": 10}}),
                json!({"livenessProbe": {"httpGet": {"path": "/", "port": 80}}}),
            ),
        ] {
            let (recorded, manifest) = (container(&recorded), container(&manifest));
            let differ = differ(("apps", "Deployment"), &recorded, manifest.clone());
            assert_eq!(differ, [""; 0], "{manifest}");
        }
        let policy = |port: Value| json!({"spec": {"ingress": [{"ports": [port]}]}});
        let recorded = policy(json!({"port": 80, "protocol": "TCP"}));
        let kind = ("networking.k8s.io", "NetworkPolicy");
        assert_eq!(
            differ(kind, &recorded, policy(json!({"port": 80}))),
            [""; 0]
        );
        assert_eq!(
            differ(kind, &recorded, policy(json!({"port": 81}))).len(),
            1
        );
    }

    #[test]
    fn manifest_that_differs_is_not_equal() {
        for (recorded, manifest, paths) in [
            (
                json!({"ports": [{"containerPort": 80, "protocol": "TCP"}]}),
                json!({"ports": [{"containerPort": 81}]}),
                ["ports[80/TCP].containerPort"],
            ),
            (
                json!({"resources": {"limits": {"cpu": "500m"}}}),
                json!({"resources": {"limits": {"cpu": "5"}}}),
                ["resources.limits.cpu"],
            ),
            (
                json!({"args": ["0.5"]}),
                json!({"args": ["500m"]}),
                ["args"],
            ),
            (
                json!({"ports": [{"containerPort": 80, "protocol": "TCP"}]}),
                json!({"ports": [{"containerPort": 80}, {"containerPort": 81}]}),
                ["ports[81/]"],
            ),
            (json!({}), json!({"stdin": true}), ["stdin"]),
        ] {
            let (recorded, manifest) = (container(&recorded), container(&manifest));
            let paths = paths.map(|path| format!("spec.template.spec.containers[app].{path}"));
            assert_eq!(differ(("apps", "Deployment"), &recorded, manifest), paths);
        }
        let recorded = json!({"data": {"a": "1"}});
        let manifest = json!({"data": {"a": "1", "b": ""}});
        assert_eq!(differ(("", "ConfigMap"), &recorded, manifest), ["data.b"]);
    }

    #[test]
    fn quantities_are_compared_by_value() {
        for (one, other, is_same) in [
            ("0.5", "500m", true),
            ("1024Mi", "1Gi", true),
            ("1e3", "1k", true),
            ("1E", "1000P", true),
            ("100m", "0.1", true),
            ("-1", "-1000m", true),
            (".5", "500m", true),
            ("1Gi", "1G", false),
            ("1", "1m", false),
        ] {
            let (one, other) = (quantity(one).unwrap(), quantity(other).unwrap());
            assert_eq!(one == other, is_same);
        }
        for text in [
            "",
            "m",
            "x",
            "1x",
            "1.2.3",
            "--1",
            "1e",
            "Ki",
            "9999999999999999999999",
            "1e99",
        ] {
            assert_eq!(quantity(text), None, "{text}");
        }
    }
}
