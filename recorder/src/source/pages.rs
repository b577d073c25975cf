//! List pages and watch lines, decoded as far as the protocol needs: items stay raw until they are taken.

use std::time::Duration;

use kube9_shared::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::api::{Api, ApiError, Shape, Status};
use crate::metrics::Kind;
use crate::pipeline::identity::Version;

/// Bound of one page's body. A page is held whole while it is decoded; 500 Events are about 0.5 MB.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// Bound of a page of one object, which cannot be made smaller: an object is at most 1.5 MiB in etcd, escaping at most
/// doubles it.
const SINGLE_BYTES_MAX: usize = 4 << 20;

/// One page of a list.
#[derive(Debug)]
pub struct ListPage {
    /// resourceVersion of the list; the same on all its pages.
    pub version: String,
    /// The server's time of the answer.
    pub server_time: Option<Timestamp>,
    /// By resourceVersion, lowest first.
    pub items: Vec<RawItem>,
    /// No page follows.
    pub last: bool,
}

/// An item, undecoded but for what orders it.
#[derive(Debug)]
pub struct RawItem {
    /// Its JSON.
    pub json: Box<RawValue>,
    /// Its resourceVersion; empty where it cannot be read.
    pub version: String,
}

/// The pages of one list.
#[derive(Debug)]
pub struct Pages {
    path: String,
    shape: Shape,
    limit: u32,
    token: Option<String>,
    /// The state of this resourceVersion is asked for, not the newest.
    exactly: Option<String>,
}

#[derive(Deserialize)]
struct WireList {
    #[serde(default)]
    metadata: WireListMeta,
    #[serde(default)]
    items: Option<Vec<Box<RawValue>>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireListMeta {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    token: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OnlyMeta {
    metadata: OnlyVersion,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct OnlyVersion {
    resource_version: Option<String>,
}

/// Path of a kind's collection; Nodes have no namespace.
fn collection(kind: Kind, namespace: &str) -> String {
    let (group, plural) = match kind {
        Kind::Event => ("/api/v1", "events"),
        Kind::Node => ("/api/v1", "nodes"),
        Kind::Pod => ("/api/v1", "pods"),
        Kind::Deployment => ("/apis/apps/v1", "deployments"),
        Kind::Service => ("/api/v1", "services"),
        Kind::ConfigMap => ("/api/v1", "configmaps"),
    };
    if namespace.is_empty() || kind == Kind::Node {
        format!("{group}/{plural}")
    } else {
        format!("{group}/namespaces/{namespace}/{plural}")
    }
}

/// Path and query of a watch from a resourceVersion.
pub fn watch_path(kind: Kind, namespace: &str, version: &str, server_timeout: Duration) -> String {
    format!(
        "{}?watch=1&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}",
        collection(kind, namespace),
        server_timeout.as_secs(),
        escape(version)
    )
}

impl Pages {
    /// A list that begins.
    pub fn new(kind: Kind, namespace: &str, limit: u32, shape: Shape) -> Self {
        Self {
            path: collection(kind, namespace),
            shape,
            limit: limit.max(1),
            token: None,
            exactly: None,
        }
    }

    /// The state as it was at this resourceVersion; the API server remembers that for minutes (410 after that).
    pub fn exactly_at(mut self, version: &str) -> Self {
        self.exactly = Some(version.to_owned());
        self
    }

    /// Whether a page was read: the next one needs its token.
    pub fn begun(&self) -> bool {
        self.token.is_some()
    }

    /// Starts over without the token, with larger pages, so that it outruns the compaction this time.
    pub fn begin_again(&mut self) {
        self.token = None;
        self.limit = self.limit.saturating_mul(4).min(10_000);
    }

    /// Reads the next page; asks for half as much where an answer is too large.
    pub async fn next(&mut self, api: &Api, limit: Duration) -> Result<ListPage, ApiError> {
        loop {
            let mut path = format!("{}?limit={}", self.path, self.limit);
            if let Some(token) = &self.token {
                path.push_str("&continue=");
                path.push_str(&escape(token));
            } else if let Some(version) = &self.exactly {
                path.push_str("&resourceVersionMatch=Exact&resourceVersion=");
                path.push_str(&escape(version));
            }
            let answer = api.get(&path, self.shape, limit).await?;
            let server_time = answer.server_time;
            let bytes_max = if self.limit == 1 {
                SINGLE_BYTES_MAX
            } else {
                PAGE_BYTES_MAX
            };
            let bytes = match answer.bytes(bytes_max, limit).await {
                Err(ApiError::TooLarge(_)) if self.limit > 1 => {
                    self.limit /= 2;
                    continue;
                }
                other => other?,
            };
            return self.decode(&bytes, server_time);
        }
    }

    fn decode(
        &mut self,
        bytes: &[u8],
        server_time: Option<Timestamp>,
    ) -> Result<ListPage, ApiError> {
        // Invalid UTF-8 in one Event must not fail the page.
        let text = String::from_utf8_lossy(bytes);
        let list: WireList =
            serde_json::from_str(&text).map_err(|error| ApiError::Malformed(error.to_string()))?;
        let version = list
            .metadata
            .resource_version
            .filter(|version| !version.is_empty())
            .ok_or_else(|| ApiError::Malformed("a list without a resourceVersion".to_owned()))?;
        self.token = list.metadata.token.filter(|token| !token.is_empty());
        let mut items: Vec<RawItem> = list
            .items
            .unwrap_or_default()
            .into_iter()
            .map(|json| {
                let meta: OnlyMeta = serde_json::from_str(json.get()).unwrap_or_default();
                RawItem {
                    version: meta.metadata.resource_version.unwrap_or_default(),
                    json,
                }
            })
            .collect();
        items.sort_by_cached_key(|item| match Version::new(&item.version) {
            Version::Number(number) => (0, number, String::new()),
            Version::Opaque(text) => (1, 0, text),
        });
        Ok(ListPage {
            version,
            server_time,
            items,
            last: self.token.is_none(),
        })
    }
}

/// What happened to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// ADDED
    Added,
    /// MODIFIED
    Modified,
    /// DELETED
    Deleted,
}

/// One line of a watch.
pub enum WatchLine {
    /// An item.
    Item {
        /// What happened to it.
        action: Action,
        /// Its JSON.
        object: Box<RawValue>,
    },
    /// A bookmark's resourceVersion.
    Bookmark(Option<String>),
    /// An error that ends the stream.
    Error(Status),
}

#[derive(Deserialize)]
struct WireLine {
    #[serde(rename = "type")]
    kind: String,
    object: Box<RawValue>,
}

impl WatchLine {
    /// Decodes a line; `Err` says for people what is wrong with it.
    pub fn decode(line: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(line);
        let line: WireLine = serde_json::from_str(&text)
            .map_err(|error| format!("a watch line that is no JSON event: {error}"))?;
        let action = match line.kind.as_str() {
            "ADDED" => Action::Added,
            "MODIFIED" => Action::Modified,
            "DELETED" => Action::Deleted,
            "BOOKMARK" => {
                let meta: OnlyMeta = serde_json::from_str(line.object.get()).unwrap_or_default();
                return Ok(Self::Bookmark(meta.metadata.resource_version));
            }
            "ERROR" => {
                return Ok(Self::Error(
                    serde_json::from_str(line.object.get()).unwrap_or_default(),
                ));
            }
            other => {
                return Err(format!(
                    "a watch line of unknown type {:?}",
                    other.chars().take(40).collect::<String>()
                ));
            }
        };
        Ok(Self::Item {
            action,
            object: line.object,
        })
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986, 2.3): tokens are base64 with `=` and `/`.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_sorted_by_version_and_keeps_its_token() {
        let mut pages = Pages::new(Kind::Event, "", 2, Shape::Objects);
        let page = pages
            .decode(
                br#"{"metadata":{"resourceVersion":"12","continue":"a="},"items":[
                    {"metadata":{"resourceVersion":"10"}},{"metadata":{"resourceVersion":"9"}},{"metadata":7}]}"#,
                None,
            )
            .unwrap();
        let versions: Vec<_> = page
            .items
            .iter()
            .map(|item| item.version.as_str())
            .collect();
        assert_eq!(versions, ["9", "10", ""]);
        assert!(!page.last && pages.begun());
        assert_eq!(escape("a=/+"), "a%3D%2F%2B");
    }

    #[test]
    fn list_without_version_is_refused() {
        let mut pages = Pages::new(Kind::Event, "", 2, Shape::Objects);
        assert!(matches!(
            pages.decode(b"{\"items\":[]}", None),
            Err(ApiError::Malformed(_))
        ));
        assert!(matches!(
            pages.decode(b"<html>", None),
            Err(ApiError::Malformed(_))
        ));
    }

    #[test]
    fn watch_lines_are_told_apart() {
        let decode = |text: &str| WatchLine::decode(text.as_bytes());
        assert!(matches!(
            decode(r#"{"type":"MODIFIED","object":{}}"#),
            Ok(WatchLine::Item {
                action: Action::Modified,
                ..
            })
        ));
        assert!(matches!(
            decode(r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}"#),
            Ok(WatchLine::Bookmark(Some(v))) if v == "7"
        ));
        assert!(matches!(
            decode(r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#),
            Ok(WatchLine::Error(status)) if matches!(status_error(&status), 410)
        ));
        assert!(decode("{\"type\":\"ADDED\"").is_err());
        assert!(decode(r#"{"type":"DANCED","object":{}}"#).is_err());
    }

    fn status_error(status: &Status) -> u16 {
        status.code
    }
}
