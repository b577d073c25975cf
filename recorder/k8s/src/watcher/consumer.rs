//! The interface between a watcher and the consumer of its items.

use std::future::Future;
use std::time::Duration;

use kube9_ingest::tracker::NewestObject;
use kube9_model::time::Timestamp;
use kube9_model::watch::{Regressed, RelistCause};
use serde_json::value::RawValue;

use super::cursor::Cursor;
use crate::api::ApiError;
use crate::known_objects::KnownObjects;
use crate::pages::{Action, ListPage};

/// The consumer no longer exists: the process is ending.
#[derive(Debug)]
pub struct ReceiverDropped;

/// What a watcher emits, in order; the names are those of kube-runtime's `watcher::Event`.
pub enum WatcherEvent<'a, ListItem, WatchItem> {
    /// A list starts, or starts over. Objects that it does not contain were deleted.
    Init(RelistCause),
    /// A page of the list.
    Page(ListPage<ListItem>),
    /// The list is complete.
    InitDone(List),
    /// The watch is open.
    Connected,
    /// An item of the watch.
    Item {
        /// What the consumer made of it.
        item: WatchItem,
        /// It happened before the watch was opened, as far as can be known.
        is_behind: bool,
    },
    /// A bookmark, a list or the end of a watch proves that everything up to this version was emitted by then.
    Bookmark {
        /// resourceVersion.
        version: &'a str,
        /// By the recorder's clock.
        at: Timestamp,
        /// The watch ends with it.
        is_last: bool,
    },
    /// Nothing is emitted before the next `Connected`, or the next list.
    Disconnected {
        /// What failed.
        error: &'a ApiError,
        /// The API server has denied access for a while.
        forbidden: bool,
    },
    /// The API server's history regressed; a list follows.
    Regressed(Regressed),
    /// The database was replaced by an empty one; a list follows.
    StoreReplaced,
}

/// A complete list.
#[derive(Debug)]
pub struct List {
    /// Its resourceVersion.
    pub version: String,
    /// When its first page was requested, by the recorder's clock.
    pub asked: Timestamp,
    /// The server's time of its first page.
    pub server_time: Timestamp,
}

/// Consumes what a watcher emits: Events go to the queue, objects to the analysis.
pub trait Consumer: Send {
    /// What is kept of an item of a list page; the page itself is dropped.
    type ListItem: Send;
    /// What is kept of an item of the watch while the watcher waits for the consumer.
    type WatchItem: Send;

    /// An idle position is renewed with a complete metadata-only list, because no bookmarks come.
    const RENEWS_IDLE_POSITION: bool;
    /// Its lists do not wait until few other kinds are being listed.
    const LISTS_FIRST: bool = false;
    /// The recorder becomes ready even if this kind is forbidden.
    const OPTIONAL: bool;

    /// A start lists everything as of its position before it watches from there.
    fn lists_on_start(&self) -> bool {
        false
    }

    /// How long to wait before the next attempt after the API server answered that it does not serve the kind, or denies
    /// it, if that is not a failure.
    fn retry_absent_after(&self, _is_denied: bool) -> Option<Duration> {
        None
    }

    /// Objects per page.
    fn page_size(&self) -> u32;

    /// Waits until the consumer can take more.
    fn ready(&self) -> impl Future<Output = ()> + Send;

    /// Whether the consumer can take a bookmark, which must not be dropped once it is emitted.
    fn is_ready(&self) -> bool;

    /// Decodes an item of a list.
    fn read_list_item(&self, json: &RawValue) -> Self::ListItem;

    /// Decodes an item of the watch, and advances `cursor` to its version.
    fn on_watch_event(
        &mut self,
        action: Action,
        object: &RawValue,
        cursor: &mut Cursor,
    ) -> Option<Self::WatchItem>;

    /// The objects at the current position; `None` for Events, whose objects are not tracked.
    fn known_objects(&self) -> Option<&KnownObjects>;

    /// An object of the current history, if that tells whether the history is still the same.
    fn newest_object(&self) -> Option<&NewestObject> {
        None
    }

    /// Counts a line that is not an item.
    fn on_undecodable(&mut self, cause: &str);

    /// Consumes an event of the watcher.
    fn handle(
        &mut self,
        event: WatcherEvent<'_, Self::ListItem, Self::WatchItem>,
    ) -> impl Future<Output = Result<(), ReceiverDropped>> + Send;
}
