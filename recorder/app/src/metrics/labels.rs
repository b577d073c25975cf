//! The closed sets that labels take their values from.

use kube9_model::label;

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
