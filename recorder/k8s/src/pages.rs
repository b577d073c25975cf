//! List pages and watch lines, decoded as far as the protocol needs: what an item is, its reader says.
//!
//! Invariant: a list ends. Each page has an item and another continue token than the page before, there are at most
//! [`ITEMS_MAX`] items, and a list is begun again [`BEGIN_AGAIN_MAX`] times at most.

use std::borrow::Cow;
use std::time::Duration;

use kube9_model::identity::ResourceVersion;
use kube9_model::label::Kind;
use kube9_model::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::api::{Api, ApiError, Shape, Status, place_of};
use crate::metrics;

/// Bound of one page's body. A page is held whole while it is decoded; 500 Events are about 0.5 MB, 50 large Pods 1 MiB.
const PAGE_BYTES_MAX: usize = 2 << 20;

/// Bound of a page of one object, which cannot be made smaller. An object is at most 1.5 MiB in etcd, as JSON six times
/// that: `<` and control characters become `\u003c`.
const SINGLE_BYTES_MAX: usize = 10 << 20;

/// Pages that came whole after which larger ones are tried again: one object of 1.5 MiB must not make ten thousand
/// requests of the rest of the list.
const WHOLE_PAGES: u32 = 8;

/// Items of one list, more than any cluster holds of a kind (150,000 pods are what Kubernetes is made for).
const ITEMS_MAX: u64 = 2_000_000;

/// How often a list whose token expires is begun again before that counts as a failure, after which the source waits.
const BEGIN_AGAIN_MAX: u32 = 4;

/// One page of a list.
#[derive(Debug)]
pub struct ListPage<T = Box<RawValue>> {
    /// resourceVersion of the list; the same on all its pages.
    pub version: String,
    /// The server's time of the answer.
    pub server_time: Option<Timestamp>,
    /// By resourceVersion, lowest first.
    pub items: Vec<RawItem<T>>,
    /// No page follows.
    pub last: bool,
}

/// An item, undecoded but for what orders it.
#[derive(Debug)]
pub struct RawItem<T = Box<RawValue>> {
    /// Its JSON, or what was made of it.
    pub json: T,
    /// Its resourceVersion; empty where it cannot be read.
    pub version: String,
}

/// The pages of one list.
#[derive(Debug)]
pub struct Pages {
    path: String,
    shape: Shape,
    limit: u32,
    /// What was asked for at first; `limit` is less while pages are too large.
    limit_wanted: u32,
    /// Pages in a row that came whole.
    whole: u32,
    /// Items so far.
    items: u64,
    begun_again: u32,
    token: Option<String>,
    /// The state of this resourceVersion is asked for, not the newest.
    exactly: Option<String>,
}

#[derive(Deserialize)]
struct WireList<'a> {
    #[serde(default)]
    metadata: WireListMeta,
    #[serde(default, borrow)]
    items: Option<Vec<&'a RawValue>>,
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
            limit_wanted: limit.max(1),
            whole: 0,
            items: 0,
            begun_again: 0,
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

    /// Starts over without the token, with larger pages, so that it outruns the compaction this time. `false`: it has
    /// done so too often.
    pub fn begin_again(&mut self) -> bool {
        self.token = None;
        self.items = 0;
        self.limit_wanted = self.limit_wanted.saturating_mul(4).min(10_000);
        self.limit = self.limit_wanted;
        self.begun_again += 1;
        self.begun_again <= BEGIN_AGAIN_MAX
    }

    /// Reads the next page; asks for half as much where an answer is too large. `read` makes of an item what is kept of
    /// it: the page itself is not.
    pub async fn next<T>(
        &mut self,
        api: &Api,
        limit: Duration,
        read: impl Fn(&RawValue) -> T,
    ) -> Result<ListPage<T>, ApiError> {
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
            let _one_at_a_time = tokio::time::timeout(limit, api.large())
                .await
                .map_err(|_| ApiError::Timeout(limit))?;
            let bytes = match answer.bytes(bytes_max, limit).await {
                Err(ApiError::TooLarge(_)) if self.limit > 1 => {
                    self.limit /= 2;
                    self.whole = 0;
                    continue;
                }
                other => other?,
            };
            let page = self.decode(&bytes, server_time, read)?;
            self.whole += 1;
            if self.whole.is_multiple_of(WHOLE_PAGES) {
                self.limit = self.limit.saturating_mul(2).min(self.limit_wanted);
            }
            return Ok(page);
        }
    }

    fn decode<T>(
        &mut self,
        bytes: &[u8],
        server_time: Option<Timestamp>,
        read: impl Fn(&RawValue) -> T,
    ) -> Result<ListPage<T>, ApiError> {
        // Invalid UTF-8 in one Event must not fail the page.
        let text = String::from_utf8_lossy(bytes);
        let list: WireList =
            serde_json::from_str(&text).map_err(|error| ApiError::Malformed(place_of(&error)))?;
        let version = list
            .metadata
            .resource_version
            .filter(|version| !version.is_empty())
            .ok_or_else(|| ApiError::Malformed("a list without a resourceVersion".to_owned()))?;
        let items = list.items.unwrap_or_default();
        let token = list.metadata.token.filter(|token| !token.is_empty());
        self.items += items.len() as u64;
        if token.is_some() {
            let endless = if token == self.token {
                Some("its continue token is that of the page before")
            } else if items.is_empty() {
                Some("a page without items is followed by another one")
            } else if self.items > ITEMS_MAX {
                Some("it has more items than a cluster holds")
            } else {
                None
            };
            if let Some(why) = endless {
                return Err(ApiError::Malformed(format!("a list without an end: {why}")));
            }
        }
        self.token = token;
        let mut items: Vec<RawItem<T>> = items
            .into_iter()
            .map(|json| {
                let meta: OnlyMeta = serde_json::from_str(json.get()).unwrap_or_default();
                RawItem {
                    version: meta.metadata.resource_version.unwrap_or_default(),
                    json: read(json),
                }
            })
            .collect();
        items.sort_by_cached_key(|item| match ResourceVersion::new(&item.version) {
            ResourceVersion::Number(number) => (0, number, String::new()),
            ResourceVersion::Opaque(text) => (1, 0, text),
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

impl From<Action> for metrics::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::Added => Self::Added,
            Action::Modified => Self::Modified,
            Action::Deleted => Self::Deleted,
        }
    }
}

/// One line of a watch.
pub enum WatchLine<'a> {
    /// An item.
    Item {
        /// What happened to it.
        action: Action,
        /// Its JSON.
        object: &'a RawValue,
    },
    /// A bookmark's resourceVersion.
    Bookmark(Option<String>),
    /// An error that ends the stream.
    Error(Status),
}

#[derive(Deserialize)]
struct WireLine<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl<'a> WatchLine<'a> {
    /// Decodes the text of a line (`String::from_utf8_lossy`); `Err` says for people what is wrong with it.
    pub fn decode(text: &'a str) -> Result<Self, String> {
        let line: WireLine<'a> = serde_json::from_str(text)
            .map_err(|error| format!("a watch line that is no event: {}", place_of(&error)))?;
        let action = match &*line.kind {
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

/// A value as it stands in a query: tokens are base64 with `=` and `/`.
fn escape(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
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
                ToOwned::to_owned,
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
            pages.decode(b"{\"items\":[]}", None, ToOwned::to_owned),
            Err(ApiError::Malformed(_))
        ));
        assert!(matches!(
            pages.decode(b"<html>", None, ToOwned::to_owned),
            Err(ApiError::Malformed(_))
        ));
    }

    #[test]
    fn watch_lines_are_told_apart() {
        let decode = WatchLine::decode;
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

    fn page(pages: &mut Pages, token: &str, items: usize) -> Result<(), ApiError> {
        let items = vec!["{}"; items].join(",");
        let json = format!(
            r#"{{"metadata":{{"resourceVersion":"12","continue":"{token}"}},"items":[{items}]}}"#
        );
        pages.decode(json.as_bytes(), None, |_| ()).map(drop)
    }

    #[test]
    fn list_whose_continue_token_repeats_is_an_error() {
        let mut pages = Pages::new(Kind::Pod, "", 2, Shape::Objects);
        page(&mut pages, "a", 2).unwrap();
        page(&mut pages, "b", 2).unwrap();
        assert!(matches!(
            page(&mut pages, "b", 2),
            Err(ApiError::Malformed(_))
        ));
    }

    #[test]
    fn list_whose_pages_are_empty_is_an_error() {
        let mut pages = Pages::new(Kind::Pod, "", 2, Shape::Objects);
        page(&mut pages, "a", 2).unwrap();
        assert!(matches!(
            page(&mut pages, "b", 0),
            Err(ApiError::Malformed(_))
        ));
        page(&mut pages, "", 0).unwrap();
    }

    #[test]
    fn list_of_more_items_than_a_cluster_holds_is_an_error() {
        let mut pages = Pages::new(Kind::Pod, "", 2, Shape::Objects);
        pages.items = ITEMS_MAX - 2;
        page(&mut pages, "a", 2).unwrap();
        assert!(matches!(
            page(&mut pages, "b", 1),
            Err(ApiError::Malformed(_))
        ));
    }

    #[test]
    fn list_whose_token_always_expires_is_begun_again_a_few_times() {
        let mut pages = Pages::new(Kind::Pod, "", 2, Shape::Objects);
        let begun = (0..100).take_while(|_| pages.begin_again()).count();
        assert_eq!(begun, BEGIN_AGAIN_MAX as usize);
    }

    #[test]
    fn answer_that_is_not_understood_is_not_quoted() {
        let mut pages = Pages::new(Kind::Pod, "", 2, Shape::Objects);
        let error = pages.decode(br#"{"metadata":"planted-secret"}"#, None, |_| ());
        assert!(!error.unwrap_err().to_string().contains("planted"));
        let error = WatchLine::decode(r#"{"type":{"planted-secret":1}}"#);
        assert!(!error.err().unwrap().contains("planted"));
    }
}
