//! HTTP clients of the tests.

use reqwest::{Client, ClientBuilder};
use std::sync::Once;

/// A client that uses no proxy. The library has no TLS provider of its own.
pub fn builder() -> ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder().no_proxy()
}

pub fn client() -> Client {
    builder().build().unwrap()
}
