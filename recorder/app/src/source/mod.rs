//! Where observations come from. The only room that talks to the Kubernetes API.
//!
//! ```text
//!   connect ─▶ api (GET, bounded) ─▶ pages (lists, watch lines) ─▶ watcher (list and watch) ─┬─▶ events ─▶ intake ─▶ queue
//!                                                                                            └─▶ objects ─▶ analysis ─▶ queue
//! ```

pub mod access;
pub mod api;
pub mod connect;
pub mod events;
pub mod held;
pub mod informer;
pub mod intake;
pub mod pages;
pub mod report;
pub mod watcher;
