//! The settings of queue, writer and retention.

use std::time::Duration;

use kube9_base::settings::{ByteSize, days, hours, millis, seconds};
use kube9_model::Severity;

kube9_base::sections! {
    /// The queue before the writer.
    pub struct QueueConfig {
        /// Rows held in memory; when the queue is full, the oldest row is dropped.
        capacity: usize = 1000 => 1..=1_000_000,
        /// Bytes held in memory; a second limit on the same queue.
        /// A row has 1 KiB on average and at most about 15 KiB (4 KiB of text, 10 KiB of metadata), so 8 MiB is
        /// reached before `capacity` only if every row is large.
        max_bytes: ByteSize = ByteSize::mib(8) => ByteSize::kib(64)..=ByteSize::mib(16 * 1024),
        /// Share of either limit, in percent, at which the recorder stops reading Events.
        /// The rest is reserved for producers that cannot wait.
        high_water_percent: u8 = 80 => 10..=100,
        /// How long the Events watch waits for a full queue before it is closed; it resumes later.
        /// It must be shorter than the time after which the API server closes a watch whose client does not read.
        max_wait: Duration = seconds(30) => seconds(1)..=hours(1),
    }

    /// How rows are committed.
    pub struct WriterConfig {
        /// Maximum rows per transaction.
        /// Inserting 1,000 rows takes about 20 ms, so that a batch is committed within 50 ms.
        batch_rows: usize = 1000 => 1..=100_000,
        /// Maximum bytes per transaction.
        /// The default is half of the queue: while one half is written, the other can fill.
        batch_bytes: ByteSize = ByteSize::mib(4) => ByteSize::kib(16)..=ByteSize::mib(1024),
        /// How long the writer waits for more rows after the first row of a batch.
        /// At the default, a single row is still committed within 50 ms.
        linger: Duration = millis(10) => millis(0)..=seconds(10),
        /// Retries of a failed commit before the recorder is degraded; it keeps retrying after that.
        retries: u32 = 3 => 0..=100,
        /// Delay before the first retry; it doubles each time.
        retry_initial: Duration = millis(100) => millis(1)..=seconds(60),
        /// Longest delay between retries, including jitter.
        /// It limits how late the recorder notices that a disk works again.
        retry_max: Duration = seconds(5) => millis(10)..=seconds(600),
        /// How often the writer commits a heartbeat.
        /// The database is unhealthy after three missed heartbeats.
        heartbeat: Duration = seconds(10) => seconds(1)..=seconds(60),
    }

    /// How long rows are kept, by the time of their last occurrence.
    pub struct RetentionConfig {
        /// How long rows of severity info and warning are kept after their last occurrence.
        info_warning: Duration = days(7) => hours(1)..=days(3650),
        /// How long rows of severity error and critical are kept after their last occurrence.
        error_critical: Duration = days(30) => hours(1)..=days(3650),
        /// How long states of objects are kept after they were replaced, and deleted objects after their deletion.
        revisions: Duration = days(30) => hours(1)..=days(3650),
        /// How often old rows are deleted, in addition to once at the start.
        interval: Duration = hours(6) => seconds(60)..=days(7),
    }

    /// Maximum size of the database.
    pub struct StorageConfig {
        /// Size limit of the database, in used bytes.
        /// Above it, rows are deleted: the least severe first, and of those the oldest of the namespace that uses
        /// most.
        /// Unset means 60 % of the volume.
        max_bytes: Option<ByteSize> = None => Some(ByteSize::mib(1))..=Some(ByteSize::mib(16 << 20)),
    }
}

impl RetentionConfig {
    /// How long rows of a severity are kept.
    pub fn keep(&self, severity: Severity) -> Duration {
        if severity >= Severity::Error {
            self.error_critical
        } else {
            self.info_warning
        }
    }
}
