//! The evidence of one probe.

use super::{Shared, error};
use crate::exposition::evidence;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};

/// `/evidence/{id}.json`.
pub(super) async fn json(app: Shared, Path(file): Path<String>) -> Response {
    let entry = file
        .strip_suffix(".json")
        .and_then(|id| id.parse().ok())
        .and_then(|id| app.history.get(id));
    match entry {
        Some(entry) => (
            [(CONTENT_TYPE, "application/json"), (X_CONTENT_TYPE_OPTIONS, "nosniff")],
            format!("{:#}\n", evidence::json(&entry)),
        )
            .into_response(),
        None => error(
            StatusCode::NOT_FOUND,
            "There is no such evidence: it is /evidence/{id}.json with the id of a probe that is still kept.",
        ),
    }
}
