//! What an informer sends to the analysis.

use kube9_model::time::Timestamp;
use kube9_model::watch::{Regressed, RelistCause, WatchId};

use crate::item::Item;
use crate::objects::Object;

/// An event of an informer, with the watch that it comes from.
#[derive(Debug)]
pub struct InformerMessage {
    /// The watch.
    pub watch: WatchId,
    /// The event.
    pub event: InformerEvent,
    /// The same for the change history: it goes to the queue.
    pub tracked: Option<Box<Item>>,
}

/// An event of an informer; the names are those of kube-runtime's `watcher::Event`.
#[derive(Debug)]
pub enum InformerEvent {
    /// A list starts. Objects that it does not contain were deleted.
    Init {
        /// Why it is needed.
        cause: RelistCause,
    },
    /// The object exists in this state.
    Apply(Object),
    /// The object exists, but does not decode.
    Undecodable {
        /// Empty for cluster-scoped kinds.
        namespace: String,
        /// Name.
        name: String,
    },
    /// The object was deleted; this was its last state.
    Delete(Object),
    /// An object changed in a way that the analysis cannot read.
    Unreadable,
    /// The list is complete.
    InitDone {
        /// Its resourceVersion.
        version: String,
        /// When its first page was requested, by the recorder's clock.
        at: Timestamp,
        /// The server's time of its first page.
        server_time: Timestamp,
        /// Number of objects.
        objects: u64,
    },
    /// The watch is open; changes follow.
    Connected,
    /// Whether the next changes happened before the watch was opened; `false` after a list.
    Behind(bool),
    /// Nothing is received until the next `Connected`.
    Disconnected {
        /// What failed.
        message: String,
        /// The API server denies access.
        forbidden: bool,
    },
    /// Everything up to a resourceVersion was received by `at`.
    Bookmark {
        /// resourceVersion.
        version: String,
        /// By the recorder's clock.
        at: Timestamp,
        /// The watch ends with it.
        is_last: bool,
    },
    /// The API server's history regressed.
    Regressed(Regressed),
    /// The database was replaced by an empty one.
    StoreReplaced,
}
