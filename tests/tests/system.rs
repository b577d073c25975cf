//! The whole recorder in this process against the simulated API server, and checks across all crates.

mod apiserver;
mod architecture;
mod documents;
mod faults;
mod findings_oracle;
mod hostile_objects;
mod ingest_fuzz;
mod names;
mod pictures;
mod protocol_model;
mod resume;
mod secret_leaks;
mod surface;
mod tracked;
mod tracked_forms;
