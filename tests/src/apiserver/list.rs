//! GET of a collection and of one object.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::json;

use super::body::{Body, Sender};
use super::faults::{EndBy, Plan};
use super::kind::{Kind, Resource};
use super::object::Object;
use super::options::{Options, Token};
use super::requests::{Outcome, Running};
use super::status::Status;
use super::store::{Page, Store, Unreadable};

/// The requested representation of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Whole objects.
    Whole,
    /// `metadata` alone, as `PartialObjectMetadata`.
    Metadata,
}

impl Form {
    pub(super) fn from_accept(accept: &str) -> Self {
        if accept.contains("as=PartialObjectMetadata") {
            Self::Metadata
        } else {
            Self::Whole
        }
    }
}

const PARTIAL: &[u8] =
    br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#;

/// Appends an object as a list item.
fn put_item(to: &mut BytesMut, object: &Object, form: Form) {
    match form {
        Form::Whole => {
            to.put_u8(b'{');
            to.put_slice(object.item_tail());
        }
        Form::Metadata => put_partial(to, object),
    }
}

/// Appends an object as a watch carries it.
pub(super) fn put_whole(to: &mut BytesMut, object: &Object, form: Form) {
    match form {
        Form::Whole => to.put_slice(&object.json()),
        Form::Metadata => put_partial(to, object),
    }
}

fn put_partial(to: &mut BytesMut, object: &Object) {
    to.put_slice(PARTIAL);
    to.put_slice(object.metadata());
    to.put_u8(b'}');
}

/// One object.
pub(super) fn get(store: &Store, resource: &Resource, form: Form) -> Result<Bytes, Status> {
    let object = store
        .get(resource.kind, &resource.namespace, &resource.name)
        .ok_or_else(|| Status::not_found(resource.kind, &resource.name))?;
    let mut body = BytesMut::new();
    put_whole(&mut body, &object, form);
    Ok(body.freeze())
}

/// Reads the page that the options ask for.
pub(super) fn read(
    store: &Store,
    resource: &Resource,
    options: &Options,
    today: Option<bool>,
) -> Result<Page, Status> {
    let (kind, namespace) = (resource.kind, resource.namespace.as_str());
    let wanted = options
        .version()
        .map_err(|why| Status::bad_request(format!("invalid resource version: {why}")))?;
    check(options)?;
    if let Some(as_asked) = today.filter(|_| options.version_match == "Exact") {
        let mut page = store
            .page(kind, namespace, None, None, 0, None)
            .map_err(|_| Status::list_expired())?;
        if as_asked {
            page.version = wanted;
        }
        return Ok(page);
    }

    let (at, after, left, mut limit) = if options.continue_token.is_empty() {
        // A real server answers resourceVersion=0 of a cached kind from its cache, which does not page.
        let whole_cache = kind.cached() && options.resource_version == "0";
        let exact = options.version_match == "Exact"
            || (options.version_match.is_empty() && options.limit > 0 && wanted > 0);
        (
            exact.then_some(wanted),
            None,
            None,
            if whole_cache { 0 } else { options.limit },
        )
    } else {
        if wanted > 0 {
            let why = "specifying resource version is not allowed when using continue";
            return Err(Status::bad_request(why));
        }
        let token = Token::decode(&options.continue_token)?;
        (token.version, Some(token.after), token.left, options.limit)
    };
    if wanted > store.version() {
        return Err(Status::too_large(
            wanted,
            store.version(),
            kind.cached().then_some(1),
        ));
    }
    let selecting = !options.selector.is_empty();
    let asked = limit;
    if selecting {
        limit = 0;
    }
    let mut page = store
        .page(kind, namespace, at, after.as_deref(), limit, left)
        .map_err(|why| match (why, after) {
            (Unreadable::Compacted, Some(after)) => {
                let fresh = Token {
                    version: None,
                    after,
                    left: None,
                };
                Status::continue_expired(fresh.encode())
            }
            (Unreadable::Compacted, None) => Status::list_expired(),
            (Unreadable::Future(current), _) => Status::too_large(at.unwrap_or(0), current, None),
        })?;
    if selecting {
        page.items.retain(|o| options.selector.admits(o));
        if asked > 0 && page.items.len() > asked {
            page.remaining = page.items.len() - asked;
            page.items.truncate(asked);
            page.last_key = page
                .items
                .last()
                .map(|o| format!("{}/{}", o.namespace, o.name).into());
        }
    }
    Ok(page)
}

fn check(options: &Options) -> Result<(), Status> {
    let forbidden = |why| Err(Status::forbidden_option("resourceVersionMatch", why));
    if options.send_initial_events.is_some() {
        let why = "sendInitialEvents is forbidden for list";
        return Err(Status::forbidden_option("sendInitialEvents", why));
    }
    match options.version_match.as_str() {
        "" => Ok(()),
        _ if options.resource_version.is_empty() => {
            forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided")
        }
        _ if !options.continue_token.is_empty() => {
            forbidden("resourceVersionMatch is forbidden when continue is provided")
        }
        other if !matches!(other, "Exact" | "NotOlderThan") => Err(Status::unknown_match(other)),
        "Exact" if options.resource_version == "0" => {
            forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
        }
        _ => Ok(()),
    }
}

/// The answer to a list.
pub(super) fn answer(
    page: &Page,
    kind: Kind,
    selecting: bool,
    form: Form,
    plan: Plan,
    running: Running,
) -> Body {
    let mut head = json!({ "resourceVersion": page.version.to_string() });
    if let Some(after) = &page.last_key {
        let left = (!selecting).then_some(page.remaining);
        let token = Token {
            version: Some(page.version),
            after: after.to_string(),
            left,
        };
        head["continue"] = json!(token.encode());
        // A real server does not count remaining items with a selector.
        if let Some(left) = left {
            head["remainingItemCount"] = json!(left);
        }
    }
    if plan.same_token {
        // The first page once more, each time.
        let token = Token {
            version: Some(page.version),
            after: String::new(),
            left: None,
        };
        head["continue"] = json!(token.encode());
    }
    let opening = match form {
        Form::Whole => format!(
            r#"{{"kind":"{}List","apiVersion":"{}","metadata":{head},"items":["#,
            kind.name(),
            kind.api_version()
        ),
        Form::Metadata => format!(
            r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{head},"items":["#
        ),
    };
    let mut running = running;
    if plan.end.is_none()
        && plan.garbage.is_none()
        && !plan.duplicate
        && plan.bytes_per_second.is_none()
    {
        let mut body = BytesMut::from(opening.as_bytes());
        for (i, object) in page.items.iter().enumerate() {
            if i > 0 {
                body.put_u8(b',');
            }
            put_item(&mut body, object, form);
        }
        body.put_slice(b"]}\n");
        running.sent(page.items.len());
        running.ended(Outcome::Done(200));
        return Body::full(body.freeze());
    }
    spoiled(page, form, opening, plan, running)
}

/// A list with a fault: sent item by item.
fn spoiled(page: &Page, form: Form, opening: String, plan: Plan, running: Running) -> Body {
    let items: Vec<Bytes> = page
        .items
        .iter()
        .map(|object| {
            let mut item = BytesMut::new();
            put_item(&mut item, object, form);
            item.freeze()
        })
        .collect();
    // Garbage after the last item.
    let trailing = plan
        .garbage
        .filter(|(after, _)| *after >= items.len())
        .map(|(_, what)| what);
    let cut_at_end = matches!(plan.end, Some((after, EndBy::Cut)) if after >= items.len());
    let (mut sender, body) = Sender::new(plan, running, (b"", b","));
    tokio::spawn(async move {
        if sender.raw(Bytes::from(opening), 0).await.is_err() {
            return;
        }
        let count = items.len();
        for (i, item) in items.into_iter().enumerate() {
            let mut with_comma = BytesMut::from(&item[..]);
            if i + 1 < count {
                with_comma.put_u8(b',');
            }
            if sender
                .item(with_comma.freeze(), |_| Bytes::new())
                .await
                .is_err()
            {
                return;
            }
        }
        if let Some(what) = trailing {
            let comma: &[u8] = if count > 0 { b"," } else { b"" };
            if sender
                .raw(Bytes::from([comma, what.bytes()].concat()), 0)
                .await
                .is_err()
            {
                return;
            }
        }
        if cut_at_end {
            sender.cut().await;
        } else if sender.raw(Bytes::from_static(b"]}\n"), 0).await.is_ok() {
            sender.done();
        }
    });
    body
}
