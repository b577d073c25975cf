//! The receiver of what a watcher sees.

use std::future::Future;

use kube9_model::time::Timestamp;
use kube9_model::watch::{Regressed, RelistCause};
use serde_json::value::RawValue;

use super::cursor::Cursor;
use crate::api::ApiError;
use crate::held::Held;
use crate::pages::{Action, ListPage};

/// The consumer is no longer there: the process ends.
#[derive(Debug)]
pub struct Closed;

/// What a watcher tells, in order.
pub enum Told<'a, Item, News> {
    /// A list begins, or begins again; what it does not show is deleted.
    Init(RelistCause),
    /// A page of it.
    Page(ListPage<Item>),
    /// It is complete.
    InitDone(List),
    /// The watch is open.
    Connected,
    /// What an item of the watch says.
    News {
        /// What it says.
        news: News,
        /// It happened before the watch was opened, as far as can be known.
        is_behind: bool,
    },
    /// A bookmark, a list or the end of a watch shows that everything up to this version was told by then.
    Proven {
        /// resourceVersion.
        version: &'a str,
        /// By our clock.
        at: Timestamp,
        /// The watch ends with it.
        is_last: bool,
    },
    /// Nothing new will be told before `Connected`.
    Disconnected {
        /// What failed.
        error: &'a ApiError,
        /// The API server does not allow it, and has said so for a while.
        forbidden: bool,
    },
    /// The API server has another history: a list follows.
    Regressed(Regressed),
    /// The database is a new one: a list follows.
    Reset,
}

/// A complete list.
#[derive(Debug)]
pub struct List {
    /// Its resourceVersion.
    pub version: String,
    /// When its first page was asked for, by our clock.
    pub asked: Timestamp,
    /// The server's time of its first page.
    pub server_time: Timestamp,
}

/// Takes what a watcher sees; Events go to the queue, objects to the analysis.
pub trait Consumer: Send {
    /// What is kept of an item of a list page: the page itself is not.
    type Item: Send;
    /// What is kept of an item of the watch while the consumer is waited for.
    type News: Send;

    /// The position of an idle watch is renewed by a complete list of metadata, since no bookmarks come.
    const RENEWS: bool;
    /// Everything has to be listed at each start.
    const STARTS_WITH_A_LIST: bool;
    /// The recorder is ready without it where it is forbidden.
    const OPTIONAL: bool;

    /// Objects of one page.
    fn page_size(&self) -> u32;

    /// Waits until there is room for more.
    fn room(&self) -> impl Future<Output = ()> + Send;

    /// Whether there is room for a proof, which nothing can drop once it is told.
    fn is_ready(&self) -> bool;

    /// Reads an item of a list.
    fn read(&self, json: &RawValue) -> Self::Item;

    /// Reads an item of the watch, and moves `cursor` to its version.
    fn item(
        &mut self,
        action: Action,
        object: &RawValue,
        cursor: &mut Cursor,
    ) -> Option<Self::News>;

    /// The objects at the position, where they are known; not of Events.
    fn held(&self) -> Option<&Held>;

    /// Takes note of a line that is not an item.
    fn undecodable(&mut self, cause: &str);

    /// Takes what the watcher tells.
    fn take(
        &mut self,
        told: Told<'_, Self::Item, Self::News>,
    ) -> impl Future<Output = Result<(), Closed>> + Send;
}
