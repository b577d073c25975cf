//! `object diff --format=kubectl-patch`: the commands that take a difference back.

use kube9_model::change::body::Body;
use kube9_model::change::json_patch::json_patch;
use kube9_model::time::Timestamp;
use serde_json::Value;

use super::as_in_the_api;
use crate::output;
use crate::target::Target;
use crate::text::safe;
use crate::zone::Zone;

/// Fields that are named.
const LEFT_OUT_MAX: usize = 20;

/// The commands that make the object from what it became to what it was; comments say what they leave out.
pub(super) fn commands(
    target: &Target,
    (before, from): (Option<&Body>, Timestamp),
    (after, to): (Option<&Body>, Timestamp),
    zone: &Zone,
) -> Vec<String> {
    let object = &target.object;
    let group = if target.kind.group.is_empty() {
        String::new()
    } else {
        format!(".{}", target.kind.group)
    };
    let mut named = format!("{}{group} {}", target.kind.resource, quoted(&object.name));
    if !object.namespace.is_empty() {
        named.push_str(&format!(" --namespace={}", quoted(&object.namespace)));
    }
    let title = safe(&target.title());
    let mut lines = vec![format!(
        "# {title}: from its state at {} back to that at {}",
        zone.rfc3339(to),
        zone.rfc3339(from)
    )];
    match (before, after) {
        (None, None) => lines.push("# It existed at neither time.".to_owned()),
        (None, Some(_)) => lines.push(format!("kubectl delete {named}")),
        (Some(before), None) => {
            let hidden = before.hidden_fields();
            if !hidden.is_empty() {
                lines.push(format!(
                    "# Left out, because the values are not recorded: the object itself, for {}",
                    listed(hidden.iter().map(ToString::to_string))
                ));
                return lines;
            }
            match output::to_line(&Value::from(as_in_the_api(target, before))) {
                Ok(json) => lines.push(format!(
                    "printf %s {} | kubectl create --filename=-",
                    quoted(&json)
                )),
                Err(_) => lines.push("# Left out: the object cannot be printed.".to_owned()),
            }
        }
        (Some(before), Some(after)) => {
            let patch = json_patch(target.kind.rules, after, before);
            if !patch.left_out.is_empty() {
                lines.push(format!(
                    "# Left out, because the values are hidden or set by the cluster: {}",
                    listed(patch.left_out.iter().map(ToString::to_string))
                ));
            }
            match output::to_line(&Value::from(patch.operations.clone())) {
                _ if patch.operations.is_empty() => {
                    lines.push("# No field to take back.".to_owned());
                }
                Ok(json) => lines.push(format!(
                    "kubectl patch {named} --type=json --patch={}",
                    quoted(&json)
                )),
                Err(_) => lines.push("# Left out: the patch cannot be printed.".to_owned()),
            }
        }
    }
    lines
}

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(LEFT_OUT_MAX);
    let names: Vec<String> = names.take(LEFT_OUT_MAX).map(|name| safe(&name)).collect();
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// A word of a shell. Text from the cluster must not become a command.
fn quoted(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    if !text.is_empty() && text.bytes().all(is_plain) && !text.starts_with('-') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_one_word_of_a_shell() {
        for (text, word) in [
            ("web", "web"),
            ("", "''"),
            ("system:node", "'system:node'"),
            ("a b; rm -rf /", "'a b; rm -rf /'"),
            ("it's", r"'it'\''s'"),
            ("-o", "'-o'"),
            ("$(x)`y`\n", "'$(x)`y`\n'"),
        ] {
            assert_eq!(quoted(text), word);
        }
    }
}
