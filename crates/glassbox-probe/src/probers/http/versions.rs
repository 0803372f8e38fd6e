//! The HTTP versions of the requests.

/// HTTP versions of the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/1.1, or HTTP/2 if the module offers it and the server selects it.
    #[default]
    Agreed,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/3 only.
    Http3,
}
