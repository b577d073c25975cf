//! Families of metrics whose labels are closed sets.

mod by;
mod families;

pub use by::{By, By2};
pub use families::{
    counter, counters, gauge, gauges, histogram, histograms, register, seconds, seconds_by,
};
