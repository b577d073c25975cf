//! Options of a list or watch: query parameters, continue tokens and selectors.

use serde_json::{Value, json};

use super::kind::Kind;
use super::object::Object;
use super::status::Status;

/// The supported query parameters.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) watch: bool,
    pub(super) limit: usize,
    pub(super) continue_token: String,
    /// As sent; empty for none.
    pub(super) resource_version: String,
    pub(super) version_match: String,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) bookmarks: bool,
    pub(super) send_initial_events: Option<bool>,
    pub(super) selector: Selector,
}

impl Options {
    pub(super) fn parse(kind: Kind, query: &str) -> Result<Self, Status> {
        let mut options = Self::default();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode(value);
            match key {
                "watch" => options.watch = truth(&value),
                "limit" => options.limit = usize::try_from(integer(&value)?).unwrap_or(0),
                "continue" => options.continue_token = value,
                "resourceVersion" => options.resource_version = value,
                "resourceVersionMatch" => options.version_match = value,
                "timeoutSeconds" => options.timeout_seconds = u64::try_from(integer(&value)?).ok(),
                "allowWatchBookmarks" => options.bookmarks = truth(&value),
                "sendInitialEvents" => options.send_initial_events = Some(truth(&value)),
                "fieldSelector" => options.selector.fields = terms(&value),
                "labelSelector" => options.selector.labels = terms(&value),
                _ => {}
            }
        }
        options.selector.check(kind)?;
        Ok(options)
    }

    /// The resourceVersion as a number; 0 where none was sent.
    pub(super) fn version(&self) -> Result<u64, String> {
        match self.resource_version.as_str() {
            "" => Ok(0),
            text => text.parse().map_err(|_| {
                format!("resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax")
            }),
        }
    }
}

fn truth(value: &str) -> bool {
    !matches!(value, "0" | "false" | "False")
}

fn integer(value: &str) -> Result<i64, Status> {
    value.parse().map_err(|_| {
        Status::bad_request(format!(
            "strconv.ParseInt: parsing \"{value}\": invalid syntax"
        ))
    })
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut digit = || {
                    rest.next()
                        .and_then(|b| char::from(b).to_digit(16))
                        .unwrap_or(0)
                };
                let (high, low) = (digit(), digit());
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where a paged list continues. Opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// The revision of the list; `None`: whatever is current (the "inconsistent" token).
    pub(super) version: Option<u64>,
    /// Key of the last item delivered.
    pub(super) after: String,
    /// How many items are left, where known.
    pub(super) left: Option<usize>,
}

impl Token {
    pub(super) fn encode(&self) -> String {
        let json = json!({ "rv": self.version, "start": self.after, "left": self.left });
        json.to_string()
            .bytes()
            .map(|b| format!("{b:02x}"))
            .collect()
    }

    pub(super) fn decode(text: &str) -> Result<Self, Status> {
        let bad = || {
            Status::bad_request(
                "invalid continue token: continue key is not valid: it does not decode",
            )
        };
        let bytes: Option<Vec<u8>> = (0..text.len())
            .step_by(2)
            .map(|i| {
                text.get(i..i + 2)
                    .and_then(|d| u8::from_str_radix(d, 16).ok())
            })
            .collect();
        let value: Value = serde_json::from_slice(&bytes.ok_or_else(bad)?).map_err(|_| bad())?;
        Ok(Self {
            version: value["rv"].as_u64(),
            after: value["start"].as_str().ok_or_else(bad)?.to_owned(),
            left: value["left"].as_u64().and_then(|n| usize::try_from(n).ok()),
        })
    }
}

/// One term of a selector: key, whether it must be equal, value; no value asks for the key's presence.
type Term = (String, bool, Option<String>);

fn terms(text: &str) -> Vec<Term> {
    text.split(',')
        .filter(|t| !t.is_empty())
        .map(|term| {
            if let Some((key, value)) = term.split_once("!=") {
                (key.to_owned(), false, Some(value.to_owned()))
            } else if let Some((key, value)) = term.split_once('=') {
                (
                    key.to_owned(),
                    true,
                    Some(value.trim_start_matches('=').to_owned()),
                )
            } else if let Some(key) = term.strip_prefix('!') {
                (key.to_owned(), false, None)
            } else {
                (term.to_owned(), true, None)
            }
        })
        .collect()
}

/// Field and label selector; the set-based forms of labels (`in`, `notin`) are not read.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector {
    fields: Vec<Term>,
    labels: Vec<Term>,
}

impl Selector {
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.labels.is_empty()
    }

    fn check(&self, kind: Kind) -> Result<(), Status> {
        let known: &[&str] = match kind {
            Kind::Event => &[
                "involvedObject.kind",
                "involvedObject.namespace",
                "involvedObject.name",
                "involvedObject.uid",
                "involvedObject.apiVersion",
                "involvedObject.resourceVersion",
                "involvedObject.fieldPath",
                "reason",
                "reportingComponent",
                "source",
                "type",
                "metadata.name",
                "metadata.namespace",
            ],
            Kind::Pod => &[
                "metadata.name",
                "metadata.namespace",
                "spec.nodeName",
                "status.phase",
            ],
            _ => &["metadata.name", "metadata.namespace"],
        };
        match self
            .fields
            .iter()
            .find(|(key, ..)| !known.contains(&key.as_str()))
        {
            Some((key, ..)) => Err(Status::bad_request(match kind {
                Kind::Event | Kind::Pod | Kind::Node => format!("field label not supported: {key}"),
                _ => format!(
                    "\"{key}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                ),
            })),
            None => Ok(()),
        }
    }

    pub(super) fn admits(&self, object: &Object) -> bool {
        if self.is_empty() {
            return true;
        }
        let value = object.to_value();
        let field = |path: &str| {
            let path = if path == "source" {
                "source.component"
            } else {
                path
            };
            path.split('.')
                .fold(&value, |v, key| &v[key])
                .as_str()
                .unwrap_or("")
                .to_owned()
        };
        let labels = &value["metadata"]["labels"];
        self.fields.iter().all(|(key, equal, wanted)| {
            wanted
                .as_ref()
                .is_none_or(|wanted| (field(key) == *wanted) == *equal)
        }) && self.labels.iter().all(|(key, equal, wanted)| {
            let found = labels.get(key).and_then(Value::as_str);
            (found.is_some() && (wanted.is_none() || found == wanted.as_deref())) == *equal
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continue_tokens_round_trip_and_garbage_is_refused() {
        let token = Token {
            version: Some(7),
            after: "shop/ä\"1".to_owned(),
            left: Some(3),
        };
        assert_eq!(Token::decode(&token.encode()).unwrap(), token);
        assert_eq!(Token::decode("abc").unwrap_err().code, 400);
        assert_eq!(Token::decode("zz").unwrap_err().code, 400);
    }

    #[test]
    fn invalid_selectors_and_numbers_are_refused() {
        assert_eq!(
            Options::parse(Kind::Event, "fieldSelector=foo%3Dbar")
                .unwrap_err()
                .code,
            400
        );
        assert_eq!(
            Options::parse(Kind::Event, "limit=abc").unwrap_err().code,
            400
        );
        let options = Options::parse(
            Kind::Event,
            "watch=1&limit=5&fieldSelector=reason%3DBackOff",
        )
        .unwrap();
        assert!(options.watch && options.limit == 5 && !options.selector.is_empty());
    }
}
