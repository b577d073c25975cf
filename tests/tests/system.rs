//! The whole recorder in this process against the simulated API server, and what holds of all crates together.

mod apiserver;
mod day;
mod documents;
mod faults;
mod model;
mod path;
mod planted;
mod resume;
mod walls;
