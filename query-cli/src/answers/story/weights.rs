//! What makes a change a suspect, in numbers: each factor is between 0 and 1.5, and a score is their product.

use std::time::Duration;

use super::related::Relation;

/// A change earlier than this is no suspect.
pub(super) const BEFORE_MAX: Duration = Duration::from_secs(3600);
/// A lower score is no suspect.
pub(super) const SCORE_MIN: f64 = 0.12;
/// Suspects that are shown.
pub(super) const SUSPECTS_MAX: usize = 5;

/// By time between the change and the onset.
pub(super) fn of_time(before: Duration) -> f64 {
    match before.as_secs() {
        0..=120 => 1.0,
        121..=600 => 0.8,
        601..=1800 => 0.5,
        _ => 0.3,
    }
}

/// By relation of the changed object to the workload.
pub(super) const fn of_relation(relation: Relation) -> f64 {
    match relation {
        Relation::Own => 1.0,
        Relation::Referenced => 0.9,
        Relation::Node => 0.6,
        Relation::Attached | Relation::Namespace => 0.5,
        Relation::Cluster => 0.4,
        // What happens to its pods follows from something else.
        Relation::Part | Relation::Carried => 0.25,
    }
}

/// A field whose changes often break something.
pub(super) const RISKY: f64 = 1.0;
/// A field of which that is not known.
pub(super) const PLAIN: f64 = 0.5;
/// Labels, annotations and the number of replicas: alone they are no suspects.
pub(super) const HARMLESS: f64 = 0.1;
/// An object that was created, or that was deleted.
pub(super) const CREATED: f64 = 0.4;
pub(super) const DELETED: f64 = 1.0;
/// Something that limits what is allowed was created.
pub(super) const LIMIT_CREATED: f64 = 1.0;

/// All pods that fail have the new template, and others do not fail.
pub(super) const ONLY_NEW_PODS: f64 = 1.4;
/// Pods of the template before fail too.
pub(super) const OLD_PODS_TOO: f64 = 0.5;
/// A finding about pods that fail after a change names it: the rule compares the messages of the failure as well.
pub(super) const NAMED: f64 = 2.5;
/// The change was taken back before the failure was over.
pub(super) const TAKEN_BACK: f64 = 1.3;
