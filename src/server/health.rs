//! Whether the exporter lives, and whether it takes probes.

use super::{Shared, error, plain};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// 200 while the process lives.
pub(super) async fn healthy() -> Response {
    (plain(), "Healthy\n").into_response()
}

/// 200 while a configuration is loaded and the process is not going down.
pub(super) async fn ready(app: Shared) -> Response {
    if app.patrol.is_draining() {
        error(StatusCode::SERVICE_UNAVAILABLE, "Draining: the exporter is going down.")
    } else {
        (plain(), "Ready\n").into_response()
    }
}
