//! `/metrics`: the exporter itself.

use super::Shared;
use super::answer::answer;
use crate::metrics::{Family, Kind, Sample, Value};
use axum::http::HeaderMap;
use axum::response::Response;

/// Answers a scrape of the exporter itself.
pub(super) async fn page(app: Shared, headers: HeaderMap) -> Response {
    app.patrol.own().connections(app.doors.count());
    let mut families = app.patrol.own_families();
    families.extend(app.patrol.config().controls().healthy().map(vantage));
    families.sort_by(|one, other| one.name.cmp(&other.name));
    let response = answer(&families.iter().collect::<Vec<_>>(), &headers);
    app.patrol.own().scraped(response.status().as_str());
    response
}

/// Only where there are controls, so not in the registry.
fn vantage(healthy: bool) -> Family {
    Family {
        name: "glassbox_vantage_healthy".into(),
        help: "0 while the controls say that the exporter's own side is suspect".into(),
        kind: Kind::Gauge,
        rank: None,
        samples: vec![Sample {
            labels: Vec::new(),
            value: Value::Number(f64::from(u8::from(healthy))),
        }],
    }
}
