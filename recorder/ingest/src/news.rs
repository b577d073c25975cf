//! What an informer tells the analysis.

use kube9_model::time::Timestamp;
use kube9_model::watch::{Regressed, RelistCause, WatchId};

use crate::objects::Object;

/// Something an informer has to say.
#[derive(Debug)]
pub struct Seen {
    /// Whose view.
    pub watch: WatchId,
    /// What.
    pub what: News,
}

/// What an informer can say.
#[derive(Debug)]
pub enum News {
    /// A list begins; what it does not show is gone.
    ListBegun {
        /// Why.
        cause: RelistCause,
    },
    /// The object is there, and like this.
    Applied(Object),
    /// The object is there, but cannot be read.
    Unreadable {
        /// Empty for cluster-scoped kinds.
        namespace: String,
        /// Name.
        name: String,
    },
    /// The object is gone; this was its last state.
    Deleted(Object),
    /// The list is complete.
    Listed {
        /// Its resourceVersion.
        version: String,
        /// When its first page was asked for, by our clock.
        at: Timestamp,
        /// The server's time of its first page.
        server_time: Timestamp,
        /// How many objects.
        objects: u64,
    },
    /// The watch is open: what comes next is what happens.
    Live,
    /// Whether what follows happened before the watch was opened; `false` after a list.
    Behind(bool),
    /// Nothing new will be seen until `Live`; the words are for people.
    Blind {
        /// What failed.
        why: String,
        /// The API server does not allow it.
        forbidden: bool,
    },
    /// Everything up to a resourceVersion was seen by then.
    Proven {
        /// resourceVersion.
        version: String,
        /// By our clock.
        at: Timestamp,
        /// The watch ends with it.
        is_last: bool,
    },
    /// The API server has another history.
    Regressed(Regressed),
    /// The database is a new one: nothing of what was committed is there.
    Reset,
}
