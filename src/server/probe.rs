//! `/probe`: reads the request, runs one probe in a task of its own, and answers with its page.

use super::{App, Shared, error, plain};
use crate::config::Policy;
use crate::exposition::{logs, page, text};
use crate::history::Entry;
use crate::hop::Hop;
use crate::limits::{LONGEST_DEADLINE, PARAMETER, SHORTEST_DEADLINE};
use crate::memory::Memory;
use crate::negotiation::accepts;
use crate::past::Past;
use crate::probe::{Finding, OwnFault, Probe};
use crate::probers::{Aim, Module};
use crate::reason::Reason;
use crate::series::{Key, Series};
use crate::target::Target;
use axum::extract::RawQuery;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::future::Future;
use std::io::Write as _;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The header that tells which evidence an answer came with.
const EVIDENCE: &str = "x-glassbox-evidence";

/// The header in which Prometheus says how long it will wait.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// Answers a scrape of one target.
pub(super) async fn run(app: Shared, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let query = Query::new(query.as_deref());
    let probe = match read(&app, &query, &headers) {
        Ok(probe) => probe,
        Err(words) => return error(StatusCode::BAD_REQUEST, &words),
    };
    if app.is_draining() {
        return unavailable("Draining: the exporter is going down.");
    }
    let shared = app.0.clone();
    let work = async move {
        let past = past(&shared, &probe);
        let finding = probe.once(&past).await?;
        Ok(answer(&shared, finding, &query, &headers))
    };
    match in_its_own_task(&app, work).await {
        Ok(response) => response,
        Err(fault) => {
            app.own.local_error(fault.reason);
            tracing::warn!(reason = fault.reason.as_str(), detail = fault.detail, "Local fault");
            unavailable(&format!("{fault}"))
        }
    }
}

/// Reads the request, with the peer's order of checks and its words.
fn read(app: &App, query: &Query, headers: &HeaderMap) -> Result<Probe, String> {
    for name in ["module", "target", "hostname", "hop"] {
        if query.get(name).is_some_and(|value| value.len() > PARAMETER) {
            return Err(format!("Parameter {name} is over {PARAMETER} bytes"));
        }
        if query.get(name).is_some_and(|value| value.contains(char::is_control)) {
            return Err(format!("Parameter {name} holds a control character"));
        }
    }
    let name = query
        .get("module")
        .filter(|name| !name.is_empty())
        .unwrap_or("http_2xx");
    let config = app.config.load();
    let Some(module) = config.module(name).cloned() else {
        app.own.unknown_module();
        return Err(format!("Unknown module {name:?}"));
    };
    let timeout = deadline(headers.get(SCRAPE_TIMEOUT), app.settings.timeout_offset, module.timeout)?;
    let Some(target) = query.get("target").filter(|target| !target.is_empty()) else {
        return Err("Target parameter is missing".to_owned());
    };
    let aim = Aim {
        target: Target::new(target),
        hostname: query.get("hostname").filter(|name| !name.is_empty()).map(str::to_owned),
        hops: hops(query, config.policy(), &module)?,
    };
    module.prober.accept(&aim)?;
    Ok(Probe {
        module,
        aim,
        timeout,
        controls: config.controls().clone(),
    })
}

/// The hops of the URL. Whoever may scrape could have us dial anything by them: only an open policy takes them.
fn hops(query: &Query, policy: Policy, module: &Module) -> Result<Vec<Hop>, String> {
    let Some(text) = query.get("hop").filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    if policy != Policy::Open {
        return Err(
            "Parameter hop is not taken: write the hops in the module, or set \"policy: open\" in the configuration"
                .to_owned(),
        );
    }
    let mut hops = Hop::read_all(text).map_err(|error| format!("Parameter hop: {error}"))?;
    for hop in &mut hops {
        let named = |own: &Hop| own.host == hop.host && own.port == hop.port;
        hop.trusted = module.beside.hops.iter().any(named);
    }
    Ok(hops)
}

/// What is known of the key from before.
fn past(app: &App, probe: &Probe) -> Past {
    let now = Instant::now();
    let bypass = probe.module.beside.bypass;
    let key = Key::new(&probe.module, &probe.aim);
    let mut past = match app.series.peek(&key) {
        Some(kept) => kept.memory().past(bypass, now),
        None => Memory::default().past(bypass, now),
    };
    past.quorum_failed = app.quorum.failed(now);
    past
}

/// The peer's rule (the scrape's timeout less the offset, bounded by the module's), with its holes closed: the answer
/// never comes after the scrape's timeout, and a probe always gets some time.
fn deadline(scrape: Option<&HeaderValue>, offset: Duration, module: Option<Duration>) -> Result<Duration, String> {
    let scrape = match scrape {
        None => LONGEST_DEADLINE,
        Some(value) => {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let wrong = |why: &str| format!("Failed to parse timeout from Prometheus header: {text:?} {why}");
            let seconds: f64 = text.trim().parse().map_err(|_| wrong("is no number of seconds"))?;
            match Duration::try_from_secs_f64(seconds) {
                Ok(Duration::ZERO) => LONGEST_DEADLINE,
                Ok(given) => given,
                Err(_) => return Err(wrong("is no possible time; it must be above 0 and finite")),
            }
        }
    };
    let most = match scrape.checked_sub(offset) {
        Some(most) if !most.is_zero() => most,
        _ => scrape / 2,
    };
    let timeout = module.map_or(most, |module| module.min(most));
    Ok(timeout.max(SHORTEST_DEADLINE))
}

/// A panic in one probe, or in what is made of its finding, fails that probe only; a scraper that hangs up ends it.
async fn in_its_own_task<T: Send + 'static>(
    app: &App,
    work: impl Future<Output = Result<T, OwnFault>> + Send + 'static,
) -> Result<T, OwnFault> {
    let _in_flight = InFlight::new(&app.in_flight);
    let mut task = JoinSet::new();
    task.spawn(work);
    if let Some(Ok(outcome)) = task.join_next().await {
        return outcome;
    }
    app.own.panicked();
    Err(OwnFault {
        reason: Reason::LocalPanicked,
        detail: "This is a defect of the exporter; please report it.".to_owned(),
    })
}

fn answer(app: &App, finding: Finding, query: &Query, headers: &HeaderMap) -> Response {
    app.own.probed(&finding);
    log(&finding);
    let key = Key::new(&finding.module, &finding.aim);
    let now = Instant::now();
    let kept = app
        .series
        .series(&key, now, || Series::new(&finding.module, &finding.aim.target));
    let families = {
        let mut series = kept.series();
        series.fit(&finding.module, &finding.aim.target);
        series.observe(&finding);
        page::of(&finding, Some(&series))
    };
    kept.memory().learn(&finding, now);
    app.observe_quorum(&finding, now);
    let entry = app.history.add(finding);
    kept.memory().remember(&entry.finding, now);
    let mut response = if query.get("debug") == Some("true") {
        debug_page(app, &entry, &text::write(&families))
    } else {
        exposition(text::write(&families), headers)
    };
    if let Ok(id) = HeaderValue::from_str(&entry.id.to_string()) {
        response.headers_mut().insert(EVIDENCE, id);
    }
    response
}

fn debug_page(app: &App, entry: &Entry, metrics: &str) -> Response {
    let module: &Module = &entry.finding.module;
    let yaml = app.config.load().module_yaml(&module.name);
    (plain(), logs::text(entry, metrics, &yaml)).into_response()
}

fn log(finding: &Finding) {
    let (module, target) = (&finding.module.name, &finding.aim.target);
    let took = finding.report.took.as_secs_f64();
    match &finding.verdict {
        None => tracing::debug!(target: "prober", module, %target, duration_seconds = took, "Probe succeeded"),
        Some(verdict) => tracing::info!(
            target: "prober",
            module,
            %target,
            duration_seconds = took,
            phase = verdict.stage.phase(),
            link = verdict.link.as_str(),
            reason = verdict.reason.as_str(),
            masked = verdict.masked,
            "{}",
            if verdict.masked { "Probe succeeded, and hides a fault" } else { "Probe failed" }
        ),
    }
}

/// The text format, gzipped when the scraper takes it.
pub(super) fn exposition(text: String, headers: &HeaderMap) -> Response {
    let content_type = (CONTENT_TYPE, text::CONTENT_TYPE);
    if accepts_gzip(headers)
        && let Ok(zipped) = gzip(&text)
    {
        return ([content_type, (CONTENT_ENCODING, "gzip")], zipped).into_response();
    }
    ([content_type], text).into_response()
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| accepts(&value.to_ascii_lowercase(), "gzip"))
}

fn gzip(text: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 6), Compression::fast());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

fn unavailable(words: &str) -> Response {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, words);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Counts one probe in flight for as long as it lives.
struct InFlight<'a>(&'a watch::Sender<usize>);

impl<'a> InFlight<'a> {
    fn new(probes: &'a watch::Sender<usize>) -> Self {
        probes.send_modify(|probes| *probes += 1);
        Self(probes)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|probes| *probes -= 1);
    }
}

/// A URL's query: the first value of a name counts.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub fn new(raw: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(raw.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Query, deadline, in_its_own_task};
    use crate::check::Check;
    use crate::check::Resolver;
    use crate::controls::Controls;
    use crate::metrics::{Level, Page};
    use crate::past::Past;
    use crate::probe::Probe;
    use crate::probers::{Aim, Beside, Module, Prober, Probing, Resolving, Shape, Way};
    use crate::reason::Reason;
    use crate::report::Report;
    use crate::server::{App, ServerSettings};
    use crate::target::Target;
    use axum::http::HeaderValue;
    use std::sync::Arc;
    use std::time::Duration;

    /// Panics where its target says so.
    #[derive(Debug)]
    struct Defective(Arc<Resolver>);

    impl Prober for Defective {
        fn probe<'a>(&'a self, _: &'a mut Check, aim: &'a Aim, _: Way<'a>) -> Probing<'a> {
            Box::pin(async move {
                assert_ne!(aim.target.written(), "panic", "on purpose");
                Ok(())
            })
        }
        fn addresses<'a>(&'a self, _: &'a mut Check, _: &'a Aim) -> Resolving<'a> {
            Box::pin(async { Ok(Vec::new()) })
        }
        fn has_own_fields(&self, _: &Aim) -> bool {
            false
        }
        fn resolver(&self) -> &Arc<Resolver> {
            &self.0
        }
        fn gauges(&self, _: &Report, _: &mut Page) -> Duration {
            Duration::ZERO
        }
        fn shape(&self, _: &Target) -> Shape {
            Shape {
                stages: vec![],
                codes: vec![],
            }
        }
        fn accept(&self, _: &Aim) -> Result<(), String> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_panic_in_one_probe_fails_that_probe_only() {
        let app = App::new(ServerSettings::default()).unwrap();
        let module = Arc::new(Module {
            name: "m".to_owned(),
            timeout: None,
            metrics: Level::Standard,
            buckets: None,
            beside: Beside::default(),
            prober: Arc::new(Defective(Arc::new(Resolver::with_servers(&[])))),
        });
        let probe = |target: &str| Probe {
            module: module.clone(),
            aim: Aim {
                target: Target::new(target),
                hostname: None,
                hops: Vec::new(),
            },
            timeout: Duration::from_secs(5),
            controls: Arc::new(Controls::default()),
        };
        let once = |target: &str| {
            let probe = probe(target);
            async move { probe.once(&Past::default()).await }
        };
        let fault = in_its_own_task(&app, once("panic")).await.unwrap_err();
        assert_eq!(fault.reason, Reason::LocalPanicked);
        assert_eq!(app.own.panics(), 1);
        assert!(in_its_own_task(&app, once("fine")).await.is_ok());
        assert_eq!(*app.in_flight.borrow(), 0);
    }

    #[test]
    fn the_deadline_follows_the_peers_table_and_closes_its_holes() {
        let half = Duration::from_millis(500);
        for (module, scrape, millis) in [
            (None, Some("15"), 14_500),
            (Some(20_000), Some("15"), 14_500),
            (Some(5000), Some("15"), 5000),
            (Some(10_000), None, 10_000),
            (None, None, 119_500),
            (None, Some("0"), 119_500),
            (None, Some("0.3"), 150),
            (Some(1000), Some("0.3"), 150),
            (None, Some("0.5"), 250),
            (None, Some("0.001"), 10),
        ] {
            let header = scrape.map(|text| HeaderValue::from_str(text).unwrap());
            let timeout = deadline(header.as_ref(), half, module.map(Duration::from_millis));
            assert_eq!(timeout, Ok(Duration::from_millis(millis)), "{module:?} {scrape:?}");
        }
    }

    #[test]
    fn a_scrape_timeout_that_is_no_time_is_refused() {
        for wrong in ["abc", "NaN", "-1", "inf", "-inf", ""] {
            let header = HeaderValue::from_str(wrong).unwrap();
            let refused = deadline(Some(&header), Duration::ZERO, None).unwrap_err();
            assert!(
                refused.starts_with("Failed to parse timeout from Prometheus header"),
                "{refused}"
            );
        }
    }

    #[test]
    fn the_first_value_counts() {
        let query = Query::new(Some("target=a%20b&target=c&debug"));
        assert_eq!(query.get("target"), Some("a b"));
        assert_eq!(query.get("debug"), Some(""));
        assert_eq!(query.get("module"), None);
    }
}
