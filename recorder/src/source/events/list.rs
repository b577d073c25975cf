//! One list of Events, into the queue.

use kube9_shared::time::Timestamp;
use tracing::info;

use super::{EventsSource, State};
use crate::metrics::{Kind, RestartCause};
use crate::pipeline::identity::Version;
use crate::pipeline::item::{Mark, RelistCause};
use crate::source::api::{ApiError, Shape};
use crate::source::pages::{ListPage, Pages};

impl EventsSource {
    /// Puts a complete list into the queue; returns its resourceVersion.
    pub(super) async fn list(
        &self,
        state: &mut State,
        cause: RelistCause,
    ) -> Result<String, ApiError> {
        info!(cause = cause.as_str(), "listing Events");
        let mut cause = cause;
        self.list_begun(state, cause);
        let covered = state.position.as_deref().map(Version::new);
        let mut pages = Pages::new(
            Kind::Event,
            &self.namespace,
            state.page_size,
            Shape::Objects,
        );
        let mut first: Option<(String, Timestamp, Timestamp)> = None;
        let mut listed = 0;
        let mut oldest_change: Option<Timestamp> = None;
        loop {
            self.intake.queue.room().await;
            let asked = self.intake.now();
            let page = match pages
                .next(&self.api, self.config.list_timeout, ToOwned::to_owned)
                .await
            {
                Ok(page) => page,
                // The token expired: begin again without it, never with the "inconsistent" one.
                Err(ApiError::Expired(_)) if pages.begun() && pages.begin_again() => {
                    self.report.restarted(RestartCause::Gone);
                    (first, listed, oldest_change) = (None, 0, None);
                    self.list_begun(state, cause);
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.report.active();
            if first.is_none() {
                let server_time = page.server_time.unwrap_or(asked);
                // Found below the position once, the new history may have passed it by now.
                let went_back = state.position.as_deref().is_some_and(|position| {
                    cause == RelistCause::Regressed
                        || Version::new(&page.version).is_certainly_before(&Version::new(position))
                });
                if went_back {
                    cause = RelistCause::Regressed;
                    self.mark(Mark::Regressed {
                        version: page.version.clone(),
                        at: self.intake.now(),
                    });
                    state.position = None; // said once, however often this list has to be begun again
                }
                first = Some((page.version.clone(), server_time, asked));
            }
            listed += page.items.len() as u64;
            if let Some(change) = self.take_page(&page, covered.as_ref()).await {
                oldest_change = Some(oldest_change.map_or(change, |oldest| oldest.min(change)));
            }
            if page.last {
                break;
            }
        }
        let (version, server_time, at) =
            first.ok_or_else(|| ApiError::Malformed("a list without a page".to_owned()))?;
        let event_ttl = self.config.event_ttl;
        self.mark(Mark::ListDone {
            listing: state.listing,
            at,
            version: version.clone(),
            server_time,
            listed,
            oldest_change,
            event_ttl,
        });
        info!(listed, version, "Events listed");
        self.report.synced();
        Ok(version)
    }

    fn list_begun(&self, state: &mut State, cause: RelistCause) {
        state.listing += 1;
        self.mark(Mark::ListBegun {
            listing: state.listing,
            cause,
            at: self.intake.now(),
        });
    }

    /// Puts a page's items into the queue, oldest version first; returns the oldest last change among those that the
    /// position `covered` before: what is still there of them has not expired meanwhile.
    async fn take_page(&self, page: &ListPage, covered: Option<&Version>) -> Option<Timestamp> {
        let mut oldest: Option<Timestamp> = None;
        for item in &page.items {
            self.intake.queue.room().await;
            let change = self.intake.listed(self.watch, item);
            let is_old = covered.is_some_and(|covered| {
                let version = Version::new(&item.version);
                version == *covered || version.is_certainly_before(covered)
            });
            if let Some(change) = change.filter(|_| is_old) {
                oldest = Some(oldest.map_or(change, |oldest| oldest.min(change)));
            }
        }
        oldest
    }
}
