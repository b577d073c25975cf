//! The keys under which the store interns the names of a row, in one allocation. Built on the producer's thread, because
//! the single writer must keep up with all producers, and scattered memory is slow to read from another core.

use kube9_model::ObjectRef;
use kube9_model::record::Record;

/// Separates the parts of a key; sanitized text has no control characters.
const SEPARATOR: char = '\0';

/// The keys of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternKeys {
    text: Box<str>,
    /// Offset of the owner's key.
    owner: u32,
    /// Offset of the reason's key.
    reason: u32,
}

impl InternKeys {
    pub(super) fn of(record: &Record) -> Self {
        let words = [
            &record.reason,
            &record.title,
            &record.component,
            &record.container,
            &record.kube_type,
        ];
        // Exact: shrinking the text would allocate again.
        let objects = record.object.iter().chain(&record.owner);
        let bytes = objects
            .map(|o| o.kind.len() + o.namespace.len() + o.name.len() + 4)
            .sum::<usize>()
            + record.object.as_ref().map_or(0, |_| record.api_group.len())
            + words.iter().map(|word| word.len() + 1).sum::<usize>();
        let mut text = String::with_capacity(bytes);
        let object = |text: &mut String, object: &Option<ObjectRef>, group: &str| {
            if let Some(object) = object {
                push_parts(
                    text,
                    &[&object.kind, group, &object.namespace, &object.name],
                );
            }
            u32::try_from(text.len()).expect("sanitized names are bounded")
        };
        let owner = object(&mut text, &record.object, &record.api_group);
        let reason = object(&mut text, &record.owner, "");
        push_parts(&mut text, &words.map(String::as_str));
        Self {
            text: text.into(),
            owner,
            reason,
        }
    }

    /// Kind, group, namespace and name of the object; empty without one.
    pub fn object(&self) -> &str {
        &self.text[..self.owner as usize]
    }

    /// Kind, group, namespace and name of the owner; empty without one.
    pub fn owner(&self) -> &str {
        &self.text[self.owner as usize..self.reason as usize]
    }

    /// Reason, title, component, container and type.
    pub fn reason(&self) -> &str {
        &self.text[self.reason as usize..]
    }

    /// Heap memory, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.text.len()
    }
}

/// Appends parts so that different parts never give the same key.
pub fn push_parts(text: &mut String, parts: &[&str]) {
    for part in parts {
        text.push_str(part);
        text.push(SEPARATOR);
    }
}
