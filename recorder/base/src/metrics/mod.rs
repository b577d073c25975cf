//! Metric families whose labels are enums.

mod family;
mod registration;

pub use family::{Family, Family2};
pub use registration::{
    counter, counters, gauge, gauges, histogram, histograms, register, seconds, seconds_by,
};
