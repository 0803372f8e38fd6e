//! The probers but http: against real servers, and against peers that misbehave on purpose.

mod dialogue;
mod dns;
mod grpc;
mod icmp;
pub mod websocket;
