//! The probers other than http, with real servers and deliberately broken ones.

mod dialogue;
mod dns;
mod grpc;
mod icmp;
pub mod websocket;
