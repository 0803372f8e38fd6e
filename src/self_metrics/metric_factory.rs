//! Registers metrics in the registry of the `prometheus` crate, and converts them to the exporter's own metric model.

use glassbox_probe::metrics::{self, Bucket, Family, MetricKind, Sample, Value};
use prometheus::proto::{self, MetricFamily, MetricType};
use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Creates metrics in a registry. All names are constants, so this cannot fail.
pub(super) struct MetricFactory<'a>(pub &'a Registry);

impl MetricFactory<'_> {
    pub fn register(&self, collector: impl prometheus::core::Collector + 'static) {
        self.0
            .register(Box::new(collector))
            .expect("each name is registered once");
    }

    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        let metric = IntCounter::new(name, help).expect("a constant name is valid");
        self.register(metric.clone());
        metric
    }

    pub fn float_counter(&self, name: &str, help: &str) -> Counter {
        let metric = Counter::new(name, help).expect("a constant name is valid");
        self.register(metric.clone());
        metric
    }

    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let metric = IntCounterVec::new(Opts::new(name, help), labels).expect("a constant name is valid");
        self.register(metric.clone());
        metric
    }

    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        let metric = IntGauge::new(name, help).expect("a constant name is valid");
        self.register(metric.clone());
        metric
    }

    pub fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        let metric = Gauge::new(name, help).expect("a constant name is valid");
        self.register(metric.clone());
        metric
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        let metric = GaugeVec::new(Opts::new(name, help), labels).expect("a constant name is valid");
        self.register(metric.clone());
        metric
    }

    fn info(&self, name: &str, help: &str, labels: &[(&str, &str)]) {
        let names: Vec<_> = labels.iter().map(|label| label.0).collect();
        let values: Vec<_> = labels.iter().map(|label| label.1).collect();
        let metric = IntGaugeVec::new(Opts::new(name, help), &names).expect("a constant name is valid");
        metric.with_label_values(&values).set(1);
        self.register(metric);
    }

    pub fn build_infos(&self) {
        let version = env!("CARGO_PKG_VERSION");
        let compiler = concat!("rust", env!("GLASSBOX_RUST_VERSION"));
        let (os, arch) = platform();
        self.info(
            "glassbox_build_info",
            "A metric with a constant '1' value labeled by the version from which glassbox_exporter was built.",
            &[("version", version), ("compiler", compiler)],
        );
        self.info(
            "blackbox_exporter_build_info",
            "A metric with a constant '1' value labeled by version, revision, branch, goversion from which blackbox_exporter was built, and the goos and goarch for the build.",
            &[
                ("branch", ""),
                ("goarch", arch),
                ("goos", os),
                ("goversion", compiler),
                ("revision", ""),
                ("tags", "glassbox_exporter"),
                ("version", version),
            ],
        );
    }

    pub fn external_url(&self, url: &str) {
        self.info(
            "glassbox_external_url_info",
            "URL at which browsers reach the exporter (--web.external-url); absent if that is not a complete URL",
            &[("url", url)],
        );
    }

    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
        let metric = Histogram::with_opts(options).expect("constant names and rising bounds are valid");
        self.register(metric.clone());
        metric
    }
}

/// Returns operating system and architecture with Go's names, which existing dashboards and scripts expect.
#[must_use]
pub fn platform() -> (&'static str, &'static str) {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    (std::env::consts::OS, arch)
}

/// Converts a metric family of the registry to the exporter's metric model.
pub(super) fn family(family: &MetricFamily) -> Family {
    let kind = match family.type_() {
        MetricType::COUNTER => MetricKind::Counter,
        MetricType::HISTOGRAM => MetricKind::Histogram,
        _ => MetricKind::Gauge,
    };
    let samples = family.get_metric().iter().map(|metric| {
        let value = match kind {
            MetricKind::Counter => Value::Number(metric.get_counter().value()),
            MetricKind::Gauge => Value::Number(metric.get_gauge().value()),
            MetricKind::Histogram => histogram(metric.get_histogram()),
        };
        let labels = metric.get_label().iter();
        Sample {
            labels: labels
                .map(|pair| (pair.name().to_owned().into(), pair.value().to_owned().into()))
                .collect(),
            value,
        }
    });
    Family {
        name: family.name().to_owned().into(),
        help: family.help().to_owned().into(),
        kind,
        rank: None,
        samples: samples.collect(),
    }
}

fn histogram(histogram: &proto::Histogram) -> Value {
    let count = histogram.get_sample_count();
    let bounded = histogram.get_bucket().iter();
    let bounded = bounded.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    let all = bounded
        .filter(|(bound, _)| bound.is_finite())
        .chain([(f64::INFINITY, count)]);
    Value::Histogram(metrics::Histogram {
        buckets: all
            .map(|(bound, cumulative)| Bucket {
                bound,
                cumulative,
                exemplar: None,
            })
            .collect(),
        count,
        sum: histogram.get_sample_sum(),
        native: None,
    })
}
