//! Values of the metrics' labels.

use kube9_model::label;

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
        /// An Event: a relist recovers it.
        Event => "event",
        /// An internal row, such as a start. Changes and findings are never dropped.
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
    Recovery {
        /// Everything in it was recovered.
        Complete => "complete",
        /// Something was deleted or expired meanwhile.
        Partial => "partial",
        /// Nothing proves that everything was recovered.
        None => "none",
    }
);

label!(
    /// Why rows were deleted.
    Removal {
        /// Older than the retention of its severity.
        Age => "age",
        /// The database was too large.
        Size => "size",
    }
);

label!(
    /// What became of a state of a tracked object.
    Observed {
        /// The first one that is recorded of an object that was there before.
        First => "first",
        /// The object was created: a row.
        Created => "created",
        /// A row.
        Changed => "changed",
        /// The object was created or deleted by the controller of another tracked object, whose row explains it: no row.
        Child => "child",
        /// Added to the row of earlier changes: the same happens again and again.
        Folded => "folded",
        /// Added to such a row: the object has used its revisions of the hour.
        ObjectBudget => "object_budget",
        /// Added to a row of several objects: their kind has used the namespace's revisions of the hour.
        NamespaceBudget => "namespace_budget",
        /// Added to a row of several objects, which were created or deleted within a minute.
        Burst => "burst",
        /// A revision without a row: by its nature, or of another form.
        Silent => "silent",
        /// The same as before, in what is recorded.
        Unchanged => "unchanged",
        /// Older than what is recorded.
        Stale => "stale",
        /// The object was deleted: a row.
        Deleted => "deleted",
        /// It cannot be decoded or stored.
        Skipped => "skipped",
    }
);
