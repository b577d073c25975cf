//! Closed sets of words that are the labels of metrics.
//!
//! Invariant: a label's values are known when the process starts. Never a name or a uid of the cluster.

use crate::{EventType, Severity};

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];

    /// Position in [`ALL`](Self::ALL).
    fn index(self) -> usize;

    /// The value as it is exported.
    fn name(self) -> &'static str;
}

/// Declares a closed set of label values: an enum, and the word that each is exported as.
#[macro_export]
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $crate::label::Label for $name {
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
        /// All kinds that only the change history reads.
        Tracked => "tracked",
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
