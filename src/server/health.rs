//! Health endpoints (`/-/healthy`, `/-/ready`) and the responses beyond the connection limit.

use super::{Shared, error, plain, unavailable};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// Returns 200 while the process runs.
pub(super) async fn healthy() -> Response {
    (plain(), "Healthy\n").into_response()
}

/// Response on an extra connection beyond `limits.connections`, where only `/metrics`, `/-/healthy` and `/-/ready`
/// are served. The client should retry.
pub(super) async fn too_many() -> Response {
    unavailable("Too many connections (limits.connections).")
}

/// Same response for a probe request, which is counted in `glassbox_probes_shed_total`.
pub(super) async fn too_many_to_probe(app: Shared) -> Response {
    app.scheduler.self_metrics().shed("connections");
    too_many().await
}

/// Closes an extra connection after one request, because another client may wait for its place.
pub(super) async fn and_close(mut answer: Response) -> Response {
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Returns 200 while a configuration is loaded and the process is not shutting down.
pub(super) async fn ready(app: Shared) -> Response {
    if app.scheduler.is_draining() {
        error(
            StatusCode::SERVICE_UNAVAILABLE,
            "Draining: the exporter is shutting down.",
        )
    } else {
        (plain(), "Ready\n").into_response()
    }
}
