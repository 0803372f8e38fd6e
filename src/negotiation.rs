//! Content negotiation: the format that a client prefers.

use glassbox_probe::weights::ranges;

/// A metrics format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text format 0.0.4, the default.
    Text,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Delimited `io.prometheus.client.MetricFamily`.
    Protobuf,
}

impl Format {
    /// The `Content-Type` of a response.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// The preferred format of an `Accept` field (RFC 9110 section 12.5.1); if several have equal weight, the first
    /// one. Unsupported versions are ignored. The default is text.
    #[must_use]
    pub fn best(field: &str) -> Self {
        let mut best = (0.0, Self::Text);
        for (range, weight) in ranges(field) {
            if let Some(format) = Self::of(range).filter(|_| weight > best.0) {
                best = (weight, format);
            }
        }
        best.1
    }

    /// The format that a media range requests.
    fn of(range: &str) -> Option<Self> {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameter = |wanted: &str| {
            let mut all = parts.clone().filter_map(|part| part.split_once('='));
            let value = all.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))?.1;
            Some(value.trim().trim_matches('"'))
        };
        match name.as_str() {
            "application/vnd.google.protobuf" => {
                let is_ours = parameter("proto") == Some("io.prometheus.client.MetricFamily")
                    && parameter("encoding") == Some("delimited");
                is_ours.then_some(Self::Protobuf)
            }
            "application/openmetrics-text" => {
                matches!(parameter("version"), None | Some("1.0.0")).then_some(Self::OpenMetrics)
            }
            "text/plain" => matches!(parameter("version"), None | Some("0.0.4")).then_some(Self::Text),
            "text/*" | "*/*" => Some(Self::Text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn each_prometheus_gets_what_it_likes_best() {
        const PROTOBUF: &str =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let rows = [
            // Prometheus 2.42, without and with native histograms.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (
                &format!(
                    "{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,\
                     application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
                ),
                Format::Protobuf,
            ),
            // Prometheus 3.5, without and with native histograms.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            (
                &format!("{PROTOBUF};q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5"),
                Format::Protobuf,
            ),
            // Other formats.
            ("", Format::Text),
            ("*/*", Format::Text),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Format::Text,
            ),
            (
                "application/vnd.google.protobuf;encoding=text;proto=io.prometheus.client.MetricFamily",
                Format::Text,
            ),
            (
                "application/openmetrics-text;version=2.0.0,text/plain;q=0.1",
                Format::Text,
            ),
            ("application/openmetrics-text;q=0.2,text/plain;q=0.3", Format::Text),
            ("application/openmetrics-text; q=0, */*;q=0", Format::Text),
            ("application/openmetrics-text;Q=0.2,text/plain;q=0.3", Format::Text),
            ("text/plain;q=5,application/openmetrics-text", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
        ];
        for (field, format) in rows {
            assert_eq!(Format::best(field), format, "{field}");
        }
    }
}
