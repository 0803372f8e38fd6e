//! The evidence of one probe.

use super::{Shared, error};
use crate::exposition::{evidence, har};
use crate::history::Entry;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// Writes one piece of evidence.
type Form = fn(&Entry) -> Value;

/// The forms in which evidence is given, by the end of the path.
const FORMS: [(&str, Form); 2] = [(".json", evidence::json), (".har", har::json)];

/// `/evidence/{id}.json` and `/evidence/{id}.har`.
pub(super) async fn file(app: Shared, Path(file): Path<String>) -> Response {
    let found = FORMS.iter().find_map(|(end, form)| {
        let id = file.strip_suffix(end)?.parse().ok()?;
        Some(form(&app.history.get(id)?))
    });
    match found {
        Some(found) => (
            [(CONTENT_TYPE, "application/json"), (X_CONTENT_TYPE_OPTIONS, "nosniff")],
            format!("{found:#}\n"),
        )
            .into_response(),
        None => error(
            StatusCode::NOT_FOUND,
            "There is no such evidence: it is /evidence/{id}.json or .har with the id of a probe that is still kept.",
        ),
    }
}
