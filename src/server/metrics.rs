//! `/metrics`: the exporter's own metrics.

use super::Shared;
use super::metrics_response::answer;
use crate::logs::dropped_log_lines;
use axum::http::HeaderMap;
use axum::response::Response;
use glassbox_probe::metrics::{Family, MetricKind, Sample, Value};

/// Responds to a scrape of the exporter's own metrics.
pub(super) async fn page(app: Shared, headers: HeaderMap) -> Response {
    app.scheduler.self_metrics().connections(app.connections.count());
    app.scheduler
        .self_metrics()
        .set_server_counts(dropped_log_lines(), app.auth.refused());
    let mut families = app.scheduler.self_metric_families();
    families.extend(app.scheduler.config().controls().healthy().map(vantage));
    families.sort_by(|one, other| one.name.cmp(&other.name));
    let response = answer(&families.iter().collect::<Vec<_>>(), &headers);
    app.scheduler.self_metrics().scraped(response.status().as_str());
    response
}

/// The metric exists only if controls are configured, so it is not in the registry.
fn vantage(healthy: bool) -> Family {
    Family {
        name: "glassbox_vantage_healthy".into(),
        help: "0 if the controls fail, which indicates a problem in the exporter's own network".into(),
        kind: MetricKind::Gauge,
        rank: None,
        samples: vec![Sample {
            labels: Vec::new(),
            value: Value::Number(f64::from(u8::from(healthy))),
        }],
    }
}
