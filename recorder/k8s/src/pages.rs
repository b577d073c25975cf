//! Pages of a list and lines of a watch. This module decodes only the protocol; the caller decodes the items.
//!
//! Invariant: a list ends. Each page has an item and a continue token that differs from the last one, there are at most
//! [`ITEMS_MAX`] items, and a list starts over at most [`RESTARTS_MAX`] times.

use std::borrow::Cow;
use std::time::Duration;

use kube9_model::identity::ResourceVersion;
use kube9_model::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::api::{Api, ApiError, Representation, Status, json_error_position};
use crate::metrics;
use crate::resource::ApiResource;

/// Bound of the body of a page. A whole page is in memory while it is decoded; 500 Events are about 0.5 MB, 50 large Pods
/// 1 MiB.
const PAGE_BYTES_MAX: usize = 2 << 20;

/// Bound of a page of one object, which cannot be smaller. An object has at most 1.5 MiB in etcd, and six times that as
/// JSON, where `<` and control characters become `\u003c`.
const SINGLE_BYTES_MAX: usize = 10 << 20;

/// After this many complete pages, larger pages are tried again: one object of 1.5 MiB must not cause ten thousand requests
/// for the rest of the list.
const GROW_AFTER_PAGES: u32 = 8;

/// Maximum items of a list: more than any cluster has of a kind (Kubernetes supports 150,000 pods).
const ITEMS_MAX: u64 = 2_000_000;

/// How often a list whose token expires starts over before that counts as a failure, after which the watcher backs off.
const RESTARTS_MAX: u32 = 4;

/// One page of a list.
#[derive(Debug)]
pub struct ListPage<T = Box<RawValue>> {
    /// resourceVersion of the list; the same on all its pages.
    pub version: String,
    /// The server's time of the response.
    pub server_time: Option<Timestamp>,
    /// Sorted by resourceVersion, lowest first.
    pub items: Vec<RawItem<T>>,
    /// Whether this is the last page.
    pub last: bool,
}

/// An item of which only the resourceVersion is decoded.
#[derive(Debug)]
pub struct RawItem<T = Box<RawValue>> {
    /// Its JSON, or what the caller decoded from it.
    pub json: T,
    /// Its resourceVersion; empty if it does not decode.
    pub version: String,
}

/// Requests the pages of one list.
#[derive(Debug)]
pub struct ListPager {
    path: String,
    representation: Representation,
    limit: u32,
    /// The limit that the caller requested; `limit` is less while pages are too large.
    requested_limit: u32,
    /// Consecutive pages that were not too large.
    complete_pages: u32,
    /// Items so far.
    items: u64,
    restarts: u32,
    token: Option<String>,
    /// List the state at this resourceVersion instead of the current one.
    resource_version: Option<String>,
    /// List only the objects of this name.
    name: Option<String>,
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

/// Path and query of a watch from a resourceVersion.
pub fn watch_path(
    resource: &ApiResource,
    namespace: &str,
    version: &str,
    server_timeout: Duration,
) -> String {
    format!(
        "{}?watch=1&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}",
        resource.collection(namespace),
        server_timeout.as_secs(),
        escape(version)
    )
}

impl ListPager {
    /// A list that has not started.
    pub fn new(
        resource: &ApiResource,
        namespace: &str,
        limit: u32,
        representation: Representation,
    ) -> Self {
        Self {
            path: resource.collection(namespace),
            representation,
            limit: limit.max(1),
            requested_limit: limit.max(1),
            complete_pages: 0,
            items: 0,
            restarts: 0,
            token: None,
            resource_version: None,
            name: None,
        }
    }

    /// Lists only the objects of a name.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Lists the state at this resourceVersion, which the API server keeps for minutes (410 after that).
    pub fn at_resource_version(mut self, version: &str) -> Self {
        self.resource_version = Some(version.to_owned());
        self
    }

    /// Whether a page was read, so that the next one needs its token.
    pub fn has_started(&self) -> bool {
        self.token.is_some()
    }

    /// Starts over without the token, with larger pages, so that this attempt ends before the next compaction. Returns
    /// `false` if the list started over too often.
    pub fn restart(&mut self) -> bool {
        self.token = None;
        self.items = 0;
        self.requested_limit = self.requested_limit.saturating_mul(4).min(10_000);
        self.limit = self.requested_limit;
        self.restarts += 1;
        self.restarts <= RESTARTS_MAX
    }

    /// Reads the next page, and halves the limit while a response is too large. `read` decodes an item; the page itself is
    /// not kept.
    pub async fn next<T>(
        &mut self,
        api: &Api,
        limit: Duration,
        read: impl Fn(&RawValue) -> T,
    ) -> Result<ListPage<T>, ApiError> {
        loop {
            let mut path = format!("{}?limit={}", self.path, self.limit);
            if let Some(name) = &self.name {
                path.push_str("&fieldSelector=");
                path.push_str(&escape(&format!("metadata.name={name}")));
            }
            if let Some(token) = &self.token {
                path.push_str("&continue=");
                path.push_str(&escape(token));
            } else if let Some(version) = &self.resource_version {
                path.push_str("&resourceVersionMatch=Exact&resourceVersion=");
                path.push_str(&escape(version));
            }
            let response = api.get(&path, self.representation, limit).await?;
            let server_time = response.server_time;
            let bytes_max = if self.limit == 1 {
                SINGLE_BYTES_MAX
            } else {
                PAGE_BYTES_MAX
            };
            let _permit = tokio::time::timeout(limit, api.acquire_large())
                .await
                .map_err(|_| ApiError::Timeout(limit))?;
            let bytes = match response.bytes(bytes_max, limit).await {
                Err(ApiError::TooLarge(_)) if self.limit > 1 => {
                    self.limit /= 2;
                    self.complete_pages = 0;
                    continue;
                }
                other => other?,
            };
            let page = self.decode(&bytes, server_time, read)?;
            self.complete_pages += 1;
            if self.complete_pages.is_multiple_of(GROW_AFTER_PAGES) {
                self.limit = self.limit.saturating_mul(2).min(self.requested_limit);
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
        // Invalid UTF-8 in one object must not fail the page.
        let text = String::from_utf8_lossy(bytes);
        let list: WireList = serde_json::from_str(&text)
            .map_err(|error| ApiError::Malformed(json_error_position(&error)))?;
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

/// What happened to an object.
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
    /// Decodes the text of a line (`String::from_utf8_lossy`); `Err` is a message for the log.
    pub fn decode(text: &'a str) -> Result<Self, String> {
        let line: WireLine<'a> = serde_json::from_str(text)
            .map_err(|error| format!("invalid watch line: {}", json_error_position(&error)))?;
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
    use kube9_model::label::Kind;

    use super::*;

    #[test]
    fn decode_sorts_the_page_and_keeps_its_token() {
        let mut pages = ListPager::new(
            &ApiResource::of(Kind::Event),
            "",
            2,
            Representation::Objects,
        );
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
        assert!(!page.last && pages.has_started());
        assert_eq!(escape("a=/+"), "a%3D%2F%2B");
    }

    #[test]
    fn decode_list_without_a_version_is_an_error() {
        let mut pages = ListPager::new(
            &ApiResource::of(Kind::Event),
            "",
            2,
            Representation::Objects,
        );
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
    fn decode_watch_line_recognizes_all_types() {
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

    fn page(pages: &mut ListPager, token: &str, items: usize) -> Result<(), ApiError> {
        let items = vec!["{}"; items].join(",");
        let json = format!(
            r#"{{"metadata":{{"resourceVersion":"12","continue":"{token}"}},"items":[{items}]}}"#
        );
        pages.decode(json.as_bytes(), None, |_| ()).map(drop)
    }

    #[test]
    fn decode_list_with_a_repeated_token_is_an_error() {
        let mut pages = ListPager::new(&ApiResource::of(Kind::Pod), "", 2, Representation::Objects);
        page(&mut pages, "a", 2).unwrap();
        page(&mut pages, "b", 2).unwrap();
        assert!(matches!(
            page(&mut pages, "b", 2),
            Err(ApiError::Malformed(_))
        ));
    }

    #[test]
    fn decode_list_with_empty_pages_is_an_error() {
        let mut pages = ListPager::new(&ApiResource::of(Kind::Pod), "", 2, Representation::Objects);
        page(&mut pages, "a", 2).unwrap();
        assert!(matches!(
            page(&mut pages, "b", 0),
            Err(ApiError::Malformed(_))
        ));
        page(&mut pages, "", 0).unwrap();
    }

    #[test]
    fn decode_list_above_the_item_bound_is_an_error() {
        let mut pages = ListPager::new(&ApiResource::of(Kind::Pod), "", 2, Representation::Objects);
        pages.items = ITEMS_MAX - 2;
        page(&mut pages, "a", 2).unwrap();
        assert!(matches!(
            page(&mut pages, "b", 1),
            Err(ApiError::Malformed(_))
        ));
    }

    #[test]
    fn restart_is_bounded() {
        let mut pages = ListPager::new(&ApiResource::of(Kind::Pod), "", 2, Representation::Objects);
        let begun = (0..100).take_while(|_| pages.restart()).count();
        assert_eq!(begun, RESTARTS_MAX as usize);
    }

    #[test]
    fn decode_error_does_not_quote_the_response() {
        let mut pages = ListPager::new(&ApiResource::of(Kind::Pod), "", 2, Representation::Objects);
        let error = pages.decode(br#"{"metadata":"planted-secret"}"#, None, |_| ());
        assert!(!error.unwrap_err().to_string().contains("planted"));
        let error = WatchLine::decode(r#"{"type":{"planted-secret":1}}"#);
        assert!(!error.err().unwrap().contains("planted"));
    }
}
