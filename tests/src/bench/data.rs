//! A generated history as decoded Events, without the JSON in between.

use std::collections::VecDeque;
use std::time::Duration;

use kube9_ingest::decode::{EventSeries, EventSource, InvolvedObject, KubeEvent, ObjectMeta};
use kube9_model::time::Timestamp;

use crate::clock::Micros;
use crate::generator::{Event, History, Observation, Reporter, Uid};

/// End of every history: a fixed time, so that every run is the same.
pub const END: Micros = Micros::from_secs(1_795_000_000);

/// How long a history is, whatever its number of Events: the storage figures are of thirty days.
pub const SPAN: Duration = Duration::from_secs(30 * 86_400);

/// How long the API server keeps an Event after its last change.
const EVENT_TTL: Duration = Duration::from_secs(3600);

/// One thing that a watch delivers.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// A new or changed Event.
    Event(Box<KubeEvent>),
    /// An Event expired.
    Deleted {
        uid: String,
        /// The resourceVersion of the deletion.
        version: String,
    },
}

/// What a watch delivers over [`SPAN`], with the moment at which it does.
#[derive(Debug)]
pub struct Feed {
    history: History,
    next: Option<Observation>,
    /// Events that the API server holds, by the time of their last change.
    held: VecDeque<(Micros, Uid)>,
    version: u64,
}

impl Feed {
    /// So many observations over [`SPAN`].
    pub fn new(seed: u64, observations: usize) -> Self {
        let mut history = History::new(seed, observations, SPAN, END);
        let next = history.next();
        Self {
            history,
            next,
            held: VecDeque::new(),
            version: 0,
        }
    }
}

impl Iterator for Feed {
    type Item = (Timestamp, Delivery);

    fn next(&mut self) -> Option<Self::Item> {
        let seen = self.next.take()?;
        let now = seen.event.last;
        // Every change of an Event is in `held`. An entry with a later change may delete the Event early; the recorder
        // handles its next update in the same way for a known or a new uid.
        if let Some((at, uid)) = self.held.front().copied()
            && now.since(at) > EVENT_TTL
        {
            self.held.pop_front();
            self.next = Some(seen);
            self.version += 1;
            return Some((
                timestamp(at + EVENT_TTL),
                Delivery::Deleted {
                    uid: uid.to_string(),
                    version: self.version.to_string(),
                },
            ));
        }
        if self
            .held
            .back()
            .is_none_or(|(_, uid)| *uid != seen.event.uid)
        {
            if seen.event.count > 1 {
                self.held.retain(|(_, uid)| *uid != seen.event.uid);
            }
            self.held.push_back((now, seen.event.uid));
        }
        self.next = self.history.next();
        self.version += 1;
        let mut event = decoded(&seen.event);
        event.metadata.resource_version = Some(self.version.to_string());
        Some((timestamp(now), Delivery::Event(Box::new(event))))
    }
}

fn timestamp(at: Micros) -> Timestamp {
    Timestamp::from_millis(at.0 / 1000)
}

/// What `decode_event` makes of the Event's JSON.
pub fn decoded(event: &Event) -> KubeEvent {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut decoded = KubeEvent {
        metadata: ObjectMeta {
            name: Some(event.name()),
            namespace: text(&event.namespace),
            uid: Some(event.uid.to_string()),
            resource_version: Some(event.version.to_string()),
            creation_timestamp: Some(event.created.seconds_text().as_str().to_owned()),
            annotations: None,
        },
        involved_object: InvolvedObject {
            api_version: text(event.involved.about.api_version()),
            kind: text(event.involved.about.kind()),
            namespace: text(&event.involved.namespace),
            name: text(&event.involved.name),
            uid: Some(event.involved.uid_text()),
            field_path: text(&event.involved.field_path()),
        },
        reason: text(event.reason),
        message: Some(event.message.to_string()),
        kind: text(event.kube_type()),
        reporting_component: Some(event.reporter.component().to_owned()),
        reporting_instance: Some(event.reporter.instance().to_owned()),
        ..KubeEvent::default()
    };
    match &event.reporter {
        Reporter::Record { component, host } => {
            decoded.source = EventSource {
                component: text(component),
                host: text(host),
            };
            decoded.first_timestamp = Some(event.first.seconds_text().as_str().to_owned());
            decoded.last_timestamp = Some(event.last.seconds_text().as_str().to_owned());
            decoded.count = Some(event.count);
        }
        Reporter::Events { .. } => {
            decoded.event_time = Some(event.first.micros_text().as_str().to_owned());
            decoded.series = (event.count > 1).then(|| EventSeries {
                count: Some(event.count),
                last_observed_time: Some(event.last.micros_text().as_str().to_owned()),
            });
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use kube9_ingest::decode::decode_event;

    use super::*;

    #[test]
    fn generated_events_equal_decoded_events() {
        for seen in History::new(5, 3000, Duration::from_secs(86_400), END) {
            let json = seen.event.to_json().to_string();
            assert_eq!(decode_event(json.as_bytes()).unwrap(), decoded(&seen.event));
        }
    }
}
