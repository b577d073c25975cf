//! The closed sets that labels take their values from, and metrics resolved for each value beforehand.
//!
//! Invariant: a label's values are known when the process starts. Never a name or a uid of the cluster.

use std::marker::PhantomData;

use kube9_model::{EventType, Severity};
use prometheus::core::{Collector, Metric, MetricVec, MetricVecBuilder};

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];

    /// Position in [`ALL`](Self::ALL).
    fn index(self) -> usize;

    /// The value as it is exported.
    fn name(self) -> &'static str;
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn index(self) -> usize {
                self as usize
            }

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

label!(
    /// What is watched.
    Kind {
        /// Kubernetes Events.
        Event => "Event",
        /// Nodes.
        Node => "Node",
        /// Pods.
        Pod => "Pod",
        /// Deployments.
        Deployment => "Deployment",
        /// Services.
        Service => "Service",
        /// ConfigMaps.
        ConfigMap => "ConfigMap",
    }
);

label!(
    /// How an object arrived.
    Action {
        /// In a list.
        Listed => "listed",
        /// As ADDED in a watch.
        Added => "added",
        /// As MODIFIED in a watch.
        Modified => "modified",
        /// As DELETED in a watch.
        Deleted => "deleted",
        /// In a form that could not be read.
        Undecodable => "undecodable",
    }
);

label!(
    /// Why a watch had to be opened again.
    RestartCause {
        /// The server ended it in an orderly way, mostly by its timeout.
        Closed => "closed",
        /// The connection failed.
        Transport => "transport",
        /// Nothing came for longer than the server's own timeout.
        Silence => "silence",
        /// 410: the position is too old; a relist follows.
        Gone => "gone",
        /// 401 or 403: a permission or a token is missing.
        Forbidden => "forbidden",
        /// 429: the server asks for patience.
        Throttled => "throttled",
        /// 5xx.
        ServerError => "server_error",
        /// The recorder's own queue was full for too long.
        QueueFull => "queue_full",
        /// The recorder's own queue dropped items of this watch; a relist follows.
        Overflow => "queue_overflow",
        /// The stream ended at once, again and again, without an item; a relist follows.
        EmptyStream => "empty_stream",
        /// The API server's history is older than the position (etcd restored); a relist follows.
        Regressed => "history_regressed",
        /// Anything else.
        Other => "other",
    }
);

label!(
    /// Where in the pipeline something failed.
    Stage {
        /// Reading what the API server sent.
        Decode => "decode",
        /// Making a row of it.
        Normalize => "normalize",
        /// Committing the row.
        Write => "write",
    }
);

label!(
    /// Kind of statement on the database.
    Operation {
        /// INSERT.
        Insert => "insert",
        /// UPDATE.
        Update => "update",
        /// SELECT.
        Select => "select",
        /// DELETE.
        Delete => "delete",
    }
);

label!(
    /// What a full queue dropped.
    Item {
        /// A sight of an Event: a relist brings it back.
        Event => "event",
        /// A row of kube9's own life, such as its start. Changes and findings are never dropped.
        Row => "row",
    }
);

label!(
    /// Which bound of the queue was reached.
    Bound {
        /// The number of rows.
        Rows => "rows",
        /// The number of bytes.
        Bytes => "bytes",
    }
);

label!(
    /// How a recording gap ended.
    Healed {
        /// Everything of it was recorded afterwards.
        Yes => "true",
        /// Something of it was deleted or expired meanwhile.
        Partial => "partial",
        /// It cannot be shown that anything was recovered.
        No => "false",
    }
);

label!(
    /// Why rows were deleted.
    Removal {
        /// Older than its severity is kept.
        Age => "age",
        /// The database was too large.
        Size => "size",
    }
);

impl Label for EventType {
    const ALL: &'static [Self] = EventType::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl Label for Severity {
    const ALL: &'static [Self] = Severity::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        self.as_str()
    }
}

/// A metric for each value of a label.
#[derive(Debug)]
pub struct By<L, M> {
    children: Vec<M>,
    label: PhantomData<L>,
}

impl<L: Label, M: Metric> By<L, M> {
    /// Creates a child, with its initial value, for every label value.
    pub(super) fn resolve<T>(family: &MetricVec<T>) -> Self
    where
        T: MetricVecBuilder<M = M>,
        MetricVec<T>: Collector,
    {
        let children = L::ALL
            .iter()
            .map(|value| family.with_label_values(&[value.name()]))
            .collect();
        Self {
            children,
            label: PhantomData,
        }
    }

    /// The metric of `value`.
    pub fn of(&self, value: L) -> &M {
        &self.children[value.index()]
    }
}

/// A metric for each pair of values of two labels.
#[derive(Debug)]
pub struct By2<A, B, M> {
    children: Vec<M>,
    labels: PhantomData<(A, B)>,
}

impl<A: Label, B: Label, M: Metric> By2<A, B, M> {
    /// Creates a child, with its initial value, for every pair of label values.
    pub(super) fn resolve<T>(family: &MetricVec<T>) -> Self
    where
        T: MetricVecBuilder<M = M>,
        MetricVec<T>: Collector,
    {
        let pairs = A::ALL
            .iter()
            .flat_map(|a| B::ALL.iter().map(move |b| [a.name(), b.name()]));
        let children = pairs.map(|pair| family.with_label_values(&pair)).collect();
        Self {
            children,
            labels: PhantomData,
        }
    }

    /// The metric of the pair.
    pub fn of(&self, a: A, b: B) -> &M {
        &self.children[a.index() * B::ALL.len() + b.index()]
    }
}
