//! The names of a row as the store looks them up: the parts of each put together, all in one piece of memory. Done on the
//! producer's thread, since the one writer has to keep up with all of them, and what lies apart is slow to reach from
//! another core.

use kube9_model::ObjectRef;
use kube9_model::record::Record;

/// Stands between the parts of a name; sanitized text has no control characters.
const BETWEEN: char = '\0';

/// The names of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    text: Box<str>,
    /// Where the owner's begins.
    owner: u32,
    /// Where the reason's begins.
    reason: u32,
}

impl Names {
    pub(super) fn of(record: &Record) -> Self {
        let words = [
            &record.reason,
            &record.title,
            &record.component,
            &record.container,
            &record.kube_type,
        ];
        let mut text = String::with_capacity(256);
        let object = |text: &mut String, object: &Option<ObjectRef>| {
            if let Some(object) = object {
                join(text, &[&object.kind, &object.namespace, &object.name]);
            }
            u32::try_from(text.len()).expect("sanitized names are bounded")
        };
        let owner = object(&mut text, &record.object);
        let reason = object(&mut text, &record.owner);
        join(&mut text, &words.map(String::as_str));
        Self {
            text: text.into(),
            owner,
            reason,
        }
    }

    /// Kind, namespace and name of the object; empty without one.
    pub fn object(&self) -> &str {
        &self.text[..self.owner as usize]
    }

    /// The same of its owner.
    pub fn owner(&self) -> &str {
        &self.text[self.owner as usize..self.reason as usize]
    }

    /// Reason, title, component, container and type.
    pub fn reason(&self) -> &str {
        &self.text[self.reason as usize..]
    }

    /// Memory beside its own, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.text.len()
    }
}

/// Puts parts together so that different ones never look alike.
pub fn join(text: &mut String, parts: &[&str]) {
    for part in parts {
        text.push_str(part);
        text.push(BETWEEN);
    }
}
