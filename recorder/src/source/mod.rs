//! Where observations come from. The only room that talks to the Kubernetes API.

pub mod access;
pub mod decode;
