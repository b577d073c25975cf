//! Lists: all objects, the objects as of a position, or one item to learn the newest version.

use std::time::Instant;

use kube9_ingest::decode::{Identity, decode_identity};
use kube9_ingest::tracker::NewestObject;
use kube9_model::identity::ResourceVersion;
use kube9_model::watch::RelistCause;
use serde_json::value::RawValue;

use super::consumer::{Consumer, List, ReceiverDropped, WatcherEvent};
use super::state::{PAGE_SIZE_MIN, StateMachine, Watcher, resource_version_regressed};
use crate::api::{ApiError, Representation};
use crate::metrics::RestartCause;
use crate::pages::{ListPage, ListPager};

/// Objects per page of a metadata-only list.
const METADATA_PAGE_SIZE: u32 = 500;

/// Why a list was not completed.
pub(super) enum ListEnd {
    Failed(ApiError),
    Regressed(String),
}

impl<C: Consumer> StateMachine<C> {
    /// Lists everything and returns the resourceVersion of the list. With `exactly`, it lists the state at that version; if
    /// the API server responds with a later version, it is an ordinary list for `cause`.
    pub(super) async fn list(
        &mut self,
        cause: RelistCause,
        exactly: Option<&str>,
    ) -> Result<Result<String, ListEnd>, ReceiverDropped> {
        let _permit = match C::LISTS_FIRST {
            true => None,
            false => Some(self.watcher.api.acquire_list().await),
        };
        let start = Instant::now();
        let kind = self.watcher.resource.name;
        kind_info!(self, kind, cause = cause.as_str(), exactly, "listing");
        let mut pages = self.pages(self.page_size, Representation::Objects);
        if let Some(version) = exactly {
            pages = pages.at_resource_version(version);
        }
        let mut first: Option<List> = None;
        loop {
            self.watcher.consumer.ready().await;
            let asked = self.watcher.clock.now();
            let page = match self.page(&mut pages, C::read_list_item).await {
                Ok(page) => page,
                // The token expired: start over without one, never with the "inconsistent" one.
                Err(ApiError::Expired(_)) if pages.has_started() && pages.restart() => {
                    self.watcher.status.on_restart(RestartCause::Gone);
                    if exactly.is_none() {
                        self.emit(WatcherEvent::Init(cause)).await?;
                    }
                    first = None;
                    continue;
                }
                Err(error) => {
                    if matches!(error, ApiError::Timeout(_)) {
                        self.page_size = (self.page_size / 4).max(PAGE_SIZE_MIN);
                    }
                    return Ok(Err(ListEnd::Failed(error)));
                }
            };
            self.watcher.status.on_activity();
            if first.is_none() {
                let version = ResourceVersion::new(&page.version);
                let asked_for = exactly.map(ResourceVersion::new);
                let expected = asked_for.as_ref().or(self.highest_version.as_ref());
                if expected.is_some_and(|expected| resource_version_regressed(&version, expected)) {
                    return Ok(Err(ListEnd::Regressed(page.version)));
                }
                match asked_for {
                    Some(asked_for) if asked_for == version => {
                        self.emit(WatcherEvent::Init(RelistCause::Resumed)).await?;
                    }
                    Some(_) => self.emit(WatcherEvent::Init(cause)).await?,
                    None => {}
                }
                first = Some(List {
                    version: page.version.clone(),
                    asked,
                    server_time: page.server_time.unwrap_or(asked),
                });
            }
            let is_last = page.last;
            self.emit(WatcherEvent::Page(page)).await?;
            if is_last {
                break;
            }
        }
        let Some(list) = first else {
            let error = ApiError::Malformed("a list without a page".to_owned());
            return Ok(Err(ListEnd::Failed(error)));
        };
        let version = list.version.clone();
        self.emit(WatcherEvent::InitDone(list)).await?;
        self.page_size = self.watcher.consumer.page_size();
        self.note_version(&version);
        let status = &self.watcher.status;
        status.on_list_done(start.elapsed());
        status.on_synced();
        kind_info!(self, kind, version, "listed");
        Ok(Ok(version))
    }

    pub(super) fn pages(&self, size: u32, representation: Representation) -> ListPager {
        ListPager::new(
            &self.watcher.resource,
            &self.watcher.namespace,
            size,
            representation,
        )
    }

    pub(super) async fn page<T>(
        &self,
        pages: &mut ListPager,
        read: impl Fn(&C, &RawValue) -> T,
    ) -> Result<ListPage<T>, ApiError> {
        let Watcher {
            api,
            config,
            consumer,
            ..
        } = &self.watcher;
        pages
            .next(api, config.list_timeout, |json| read(consumer, json))
            .await
    }

    /// Whether the API server had an object in that version. A restored history has another one, or none.
    pub(super) async fn has_object(&self, newest: &NewestObject) -> Result<bool, ApiError> {
        let Watcher {
            api,
            resource,
            config,
            ..
        } = &self.watcher;
        let version = newest.version.to_string();
        let mut pages = ListPager::new(
            resource,
            &newest.namespace,
            500,
            Representation::MetadataOnly,
        )
        .named(&newest.name)
        .at_resource_version(&version);
        let identity = |json: &RawValue| decode_identity(json.get().as_bytes());
        let page = pages.next(api, config.list_timeout, identity).await?;
        if page.version != version {
            return Ok(true); // the server does not support exact lists
        }
        Ok(page.items.iter().any(|item| {
            let uid = item.json.as_ref().map(|identity| &*identity.uid);
            item.version == version && uid == Some(&*newest.uid)
        }))
    }

    /// Whether the API server's objects at that version equal the known objects; also true if that cannot be determined.
    pub(super) async fn matches_known_objects(&self, version: &str) -> Result<bool, ApiError> {
        let Some(known) = self.watcher.consumer.known_objects() else {
            return Ok(true);
        };
        let Some(count) = known.count() else {
            return Ok(true);
        };
        let mut pages = self
            .pages(METADATA_PAGE_SIZE, Representation::MetadataOnly)
            .at_resource_version(version);
        let mut listed = 0;
        loop {
            let uid = |_: &C, json: &RawValue| decode_identity(json.get().as_bytes());
            let page = self.page(&mut pages, uid).await?;
            if page.version != version {
                return Ok(true); // the server does not support exact lists
            }
            listed += page.items.len();
            for item in &page.items {
                let Some(Identity { uid, .. }) = &item.json else {
                    return Ok(true); // undecodable
                };
                if !known.contains(uid, &item.version) {
                    return Ok(false);
                }
            }
            if page.last {
                return Ok(listed == count);
            }
        }
    }

    /// The API server's newest version, from a metadata-only list of one item.
    pub(super) async fn newest_version(&self) -> Result<String, ApiError> {
        let mut pages = self.pages(1, Representation::MetadataOnly);
        Ok(self.page(&mut pages, |_, _| ()).await?.version)
    }
}
