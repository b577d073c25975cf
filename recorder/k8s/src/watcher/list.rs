//! A list, whole, of a position, or of one item.

use std::time::Instant;

use kube9_ingest::decode::{Identity, decode_identity};
use kube9_model::identity::ResourceVersion;
use kube9_model::label::Label;
use kube9_model::watch::RelistCause;
use serde_json::value::RawValue;
use tracing::info;

use super::consumer::{Closed, Consumer, List, Told};
use super::state::{Machine, PAGE_SIZE_MIN, Watcher, went_back};
use crate::api::{ApiError, Shape};
use crate::metrics::RestartCause;
use crate::pages::{ListPage, Pages};

/// Objects of a page of which only the metadata is asked for.
const METADATA_PAGE_SIZE: u32 = 500;

/// Why a list was not completed.
pub(super) enum ListEnd {
    Failed(ApiError),
    Regressed(String),
}

impl<C: Consumer> Machine<C> {
    /// Tells a complete list; returns its resourceVersion. `exactly`: of the state at that version; where the API server
    /// answers with a later one, it is a list for `cause` like any other.
    pub(super) async fn list(
        &mut self,
        cause: RelistCause,
        exactly: Option<&str>,
    ) -> Result<Result<String, ListEnd>, Closed> {
        let begun = Instant::now();
        let kind = self.watcher.kind.name();
        info!(kind, cause = cause.as_str(), exactly, "listing");
        let mut pages = self.pages(self.page_size, Shape::Objects);
        if let Some(version) = exactly {
            pages = pages.exactly_at(version);
        }
        let mut first: Option<List> = None;
        loop {
            self.watcher.consumer.room().await;
            let asked = self.watcher.clock.now();
            let page = match self.page(&mut pages, C::read).await {
                Ok(page) => page,
                // The token expired: begin again without it, never with the "inconsistent" one.
                Err(ApiError::Expired(_)) if pages.begun() && pages.begin_again() => {
                    self.watcher.report.restarted(RestartCause::Gone);
                    if exactly.is_none() {
                        self.take(Told::Init(cause)).await?;
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
            self.watcher.report.active();
            if first.is_none() {
                let version = ResourceVersion::new(&page.version);
                let asked_for = exactly.map(ResourceVersion::new);
                let expected = asked_for.as_ref().or(self.newest.as_ref());
                if expected.is_some_and(|expected| went_back(&version, expected)) {
                    return Ok(Err(ListEnd::Regressed(page.version)));
                }
                match asked_for {
                    Some(asked_for) if asked_for == version => {
                        self.take(Told::Init(RelistCause::Resumed)).await?;
                    }
                    Some(_) => self.take(Told::Init(cause)).await?,
                    None => {}
                }
                first = Some(List {
                    version: page.version.clone(),
                    asked,
                    server_time: page.server_time.unwrap_or(asked),
                });
            }
            let is_last = page.last;
            self.take(Told::Page(page)).await?;
            if is_last {
                break;
            }
        }
        let Some(list) = first else {
            let error = ApiError::Malformed("a list without a page".to_owned());
            return Ok(Err(ListEnd::Failed(error)));
        };
        let version = list.version.clone();
        self.take(Told::InitDone(list)).await?;
        self.page_size = self.watcher.consumer.page_size();
        self.note(&version);
        let report = &self.watcher.report;
        report.listed(begun.elapsed());
        report.synced();
        info!(kind, version, "listed");
        Ok(Ok(version))
    }

    pub(super) fn pages(&self, size: u32, shape: Shape) -> Pages {
        Pages::new(self.watcher.kind, &self.watcher.namespace, size, shape)
    }

    pub(super) async fn page<T>(
        &self,
        pages: &mut Pages,
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

    /// Whether the API server had what is held at that version; also where that cannot be known.
    pub(super) async fn is_as_held(&self, version: &str) -> Result<bool, ApiError> {
        let Some(held) = self.watcher.consumer.held() else {
            return Ok(true);
        };
        let Some(number) = held.number() else {
            return Ok(true);
        };
        let mut pages = self
            .pages(METADATA_PAGE_SIZE, Shape::MetadataOnly)
            .exactly_at(version);
        let mut listed = 0;
        loop {
            let uid = |_: &C, json: &RawValue| decode_identity(json.get().as_bytes());
            let page = self.page(&mut pages, uid).await?;
            if page.version != version {
                return Ok(true); // it does not list exactly
            }
            listed += page.items.len();
            for item in &page.items {
                let Some(Identity { uid, .. }) = &item.json else {
                    return Ok(true); // it cannot be read
                };
                if !held.has(uid, &item.version) {
                    return Ok(false);
                }
            }
            if page.last {
                return Ok(listed == number);
            }
        }
    }

    /// The API server's newest version: that of the cheapest list there is.
    pub(super) async fn newest_version(&self) -> Result<String, ApiError> {
        let mut pages = self.pages(1, Shape::MetadataOnly);
        Ok(self.page(&mut pages, |_, _| ()).await?.version)
    }
}
