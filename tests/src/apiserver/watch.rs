//! A watch: the changes of a kind after a revision, as JSON lines.
//!
//! ```text
//!   start ─ no version, or sendInitialEvents: ADDED for all objects
//!     │
//!   follow ─ changes in the log ──► lines ──► (faults)
//!     ├─ compacted             ──► ERROR 410, end
//!     ├─ timeoutSeconds        ──► clean end
//!     └─ client disconnects    ──► end
//! ```
//!
//! A future version is not an error: the watch sends nothing until the counter passes it, as in etcd.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::body::{Body, Over, Sender};
use super::faults::Plan;
use super::kind::{Kind, Resource};
use super::list::{Form, put_whole};
use super::options::Options;
use super::requests::Running;
use super::status::Status;
use super::store::Store;
use super::table::{Action, Change};

/// Changes read from the log per piece: bounds its bytes and how long the data is locked.
const CHANGES_MAX: usize = 500;

/// Configuration of watches.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) bookmark_interval: Duration,
    pub(super) event_bookmarks: bool,
    /// Without `timeoutSeconds`, a watch lasts between one and two times this long.
    pub(super) default_timeout: Duration,
    /// Whether `sendInitialEvents` is supported.
    pub(super) watch_list: bool,
    /// While true, watches send nothing.
    pub(super) frozen: watch::Receiver<bool>,
}

#[derive(Debug)]
struct Watch {
    store: Store,
    resource: Resource,
    options: Options,
    form: Form,
    rules: Rules,
    cursor: u64,
    sender: Sender,
}

/// Checks the options and starts the watch.
pub(super) fn start(
    store: &Store,
    resource: Resource,
    options: Options,
    form: Form,
    rules: Rules,
    (plan, running): (Plan, Running),
) -> Result<Body, (Status, Running)> {
    let cursor = match options.version() {
        Ok(cursor) => cursor,
        // A real server answers 500 here, without a reason.
        Err(why) => return Err((Status::new(500, "", why), running)),
    };
    if let Err(status) = check(&options, &rules) {
        return Err((status, running));
    }
    let frame: (&[u8], &[u8]) = (br#"{"type":"ADDED","object":"#, b"}\n");
    let (sender, body) = Sender::new(plan, running, frame);
    let watch = Watch {
        store: store.clone(),
        resource,
        options,
        form,
        rules,
        cursor,
        sender,
    };
    tokio::spawn(async move {
        let mut watch = watch;
        if watch.run().await.is_ok() {
            watch.sender.done();
        }
    });
    Ok(body)
}

fn check(options: &Options, rules: &Rules) -> Result<(), Status> {
    let forbidden = |field, why| Err(Status::forbidden_option(field, why));
    match (options.send_initial_events, options.version_match.as_str()) {
        (None, "") => Ok(()),
        (Some(_), _) if !rules.watch_list => forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
        ),
        (None, _) => forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (Some(_), "NotOlderThan") => Ok(()),
        (Some(_), _) => forbidden(
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
    }
}

impl Watch {
    async fn run(&mut self) -> Result<(), Over> {
        let timeout = self.options.timeout_seconds.map_or_else(
            || {
                self.rules
                    .default_timeout
                    .mul_f64(1.0 + f64::from(u8::try_from(self.cursor % 100).unwrap_or(0)) / 100.0)
            },
            Duration::from_secs,
        );
        let deadline = Instant::now() + timeout;
        let mut bookmark_due = Instant::now() + self.rules.bookmark_interval;
        let mut written = self.store.written.subscribe();
        let mut frozen = self.rules.frozen.clone();
        self.begin().await?;
        loop {
            self.wait_while_frozen(&mut frozen).await?;
            // Faults at this place apply even if no further change comes.
            self.sender
                .due(&Bytes::from_static(br#"{"type":"ADDED","obj"#), error_line)
                .await?;
            written.mark_unchanged();
            let (changes, current) =
                match self
                    .store
                    .changes(self.resource.kind, self.cursor, CHANGES_MAX)
                {
                    Ok(found) => found,
                    Err(too_old) => {
                        let status = if self.resource.kind.cached() {
                            Status::watch_too_old(self.cursor, too_old.oldest)
                        } else {
                            Status::watch_compacted()
                        };
                        let line = status_line(&status);
                        return self.sender.raw(line, 0).await;
                    }
                };
            if let Some(last) = changes.last() {
                self.cursor = last.version;
                self.send(&changes).await?;
                continue;
            }
            // No change up to `current` concerns this kind, so a compaction below it does not matter.
            self.cursor = self.cursor.max(current);
            let bookmarks = self.options.bookmarks
                && (self.resource.kind.cached() || self.rules.event_bookmarks);
            tokio::select! {
                _ = written.changed() => {}
                _ = frozen.changed() => {}
                () = tokio::time::sleep_until(deadline) => {
                    if bookmarks {
                        self.bookmark(false).await?;
                    }
                    return Ok(());
                }
                () = tokio::time::sleep_until(bookmark_due), if bookmarks => {
                    bookmark_due = Instant::now() + self.rules.bookmark_interval;
                    self.bookmark(false).await?;
                }
                () = self.sender.left() => return Err(Over),
            }
        }
    }

    /// The initial objects, if requested.
    async fn begin(&mut self) -> Result<(), Over> {
        let initial = self.options.send_initial_events == Some(true);
        if self.cursor > 0 && !initial {
            return Ok(());
        }
        if self.options.send_initial_events == Some(false) && self.cursor == 0 {
            self.cursor = self.store.version();
            return Ok(());
        }
        let page = self.store.page(
            self.resource.kind,
            &self.resource.namespace,
            None,
            None,
            0,
            None,
        );
        let Ok(page) = page else { return Ok(()) };
        self.cursor = page.version;
        let changes: Vec<Change> = page
            .items
            .into_iter()
            .map(|object| Change {
                version: object.version,
                action: Action::Added,
                object,
            })
            .collect();
        for part in changes.chunks(CHANGES_MAX) {
            self.send(part).await?;
        }
        if initial && self.options.bookmarks {
            self.bookmark(true).await?;
        }
        Ok(())
    }

    async fn wait_while_frozen(&mut self, frozen: &mut watch::Receiver<bool>) -> Result<(), Over> {
        while *frozen.borrow_and_update() {
            tokio::select! {
                changed = frozen.changed() => if changed.is_err() { return Err(Over) },
                () = self.sender.left() => return Err(Over),
            }
        }
        Ok(())
    }

    async fn send(&mut self, changes: &[Change]) -> Result<(), Over> {
        let namespace = &self.resource.namespace;
        let selected: Vec<&Change> = changes
            .iter()
            .filter(|c| namespace.is_empty() || *c.object.namespace == **namespace)
            .filter(|c| self.resource.name.is_empty() || *c.object.name == *self.resource.name)
            .filter(|c| self.options.selector.admits(&c.object))
            .collect();
        if selected.is_empty() {
            return Ok(());
        }
        if !self.sender.is_plain() {
            for change in selected {
                let mut line = BytesMut::new();
                put_line(&mut line, change, self.form);
                self.sender.item(line.freeze(), error_line).await?;
            }
            return Ok(());
        }
        let mut lines = BytesMut::with_capacity(selected.len() * 1024);
        for change in &selected {
            put_line(&mut lines, change, self.form);
        }
        self.sender.raw(lines.freeze(), selected.len()).await
    }

    async fn bookmark(&mut self, initial_end: bool) -> Result<(), Over> {
        let mut metadata = json!({ "resourceVersion": self.cursor.to_string() });
        if initial_end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let kind = self.resource.kind;
        let object = match self.form {
            Form::Whole => format!(
                r#"{}"metadata":{metadata}{}}}"#,
                kind.head(),
                bookmark_rest(kind)
            ),
            Form::Metadata => format!(
                r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{metadata}}}"#
            ),
        };
        let line = format!("{{\"type\":\"BOOKMARK\",\"object\":{object}}}\n");
        self.sender.raw(Bytes::from(line), 0).await
    }
}

/// A bookmark is an empty object of its kind as Go serialises it, with nulls for empty lists.
const fn bookmark_rest(kind: Kind) -> &'static str {
    match kind {
        Kind::Event => {
            r#","involvedObject":{},"source":{},"firstTimestamp":null,"lastTimestamp":null,"eventTime":null,"reportingComponent":"","reportingInstance":"""#
        }
        Kind::Node => {
            r#","spec":{},"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":0}},"nodeInfo":{"machineID":"","systemUUID":"","bootID":"","kernelVersion":"","osImage":"","containerRuntimeVersion":"","kubeletVersion":"","kubeProxyVersion":"","operatingSystem":"","architecture":""}}"#
        }
        Kind::Pod => r#","spec":{"containers":null},"status":{}"#,
        Kind::Deployment => {
            r#","spec":{"replicas":0,"selector":null,"template":{"metadata":{},"spec":{"containers":null}},"strategy":{}},"status":{}"#
        }
        Kind::Service => r#","spec":{},"status":{"loadBalancer":{}}"#,
        Kind::Namespace => r#","spec":{},"status":{}"#,
        _ => "",
    }
}

fn put_line(to: &mut BytesMut, change: &Change, form: Form) {
    to.put_slice(br#"{"type":""#);
    to.put_slice(change.action.as_str().as_bytes());
    to.put_slice(br#"","object":"#);
    put_whole(to, &change.object, form);
    to.put_slice(b"}\n");
}

fn error_line(code: u16) -> Bytes {
    let status = if code == 410 {
        Status::watch_compacted()
    } else {
        Status::for_code(code, None)
    };
    status_line(&status)
}

fn status_line(status: &Status) -> Bytes {
    Bytes::from(format!(
        "{}\n",
        json!({ "type": "ERROR", "object": status.to_json() })
    ))
}
