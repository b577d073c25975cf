//! The closed sets that labels take their values from.

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
