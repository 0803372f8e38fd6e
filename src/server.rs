//! The HTTP server and the state that all requests share.

mod admin;
mod allowed_hosts;
mod auth;
mod connections;
mod evidence;
mod health;
mod landing_page;
pub mod listeners;
mod metrics;
mod metrics_response;
mod passwords;
mod probe;
mod probe_again;
mod query;
mod reload;
mod serve;
mod target_timeline;
mod web_config_watcher;

pub use allowed_hosts::AllowedHosts;
pub use auth::Auth;
pub(crate) use reload::LONGEST_RELOAD;
pub use serve::serve;

use crate::config::{Config, ConfigError, Defaults};
use crate::exposition::evidence_documents;
use crate::history::History;
use crate::history::store::{EvidenceStore, StoreLimits, StoreSettings};
use crate::scheduler::Scheduler;
use crate::series::SeriesTable;
use crate::workers::Workers;
use axum::Router;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use connections::ConnectionLimiter;
use reload::Reloads;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Settings from command-line flags.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The configuration file; `None` loads the embedded default.
    pub config_file: Option<PathBuf>,
    /// The web configuration file (`--web.config.file`): TLS, passwords, rate limit and response headers.
    pub web_config_file: Option<PathBuf>,
    /// Defaults of the modules, from command-line flags.
    pub defaults: Defaults,
    /// Subtracted from the scrape timeout, so that the response arrives in time.
    pub timeout_offset: Duration,
    /// Maximum number of findings kept as evidence.
    pub history_limit: usize,
    /// The evidence on disk; `None` keeps evidence in memory only.
    pub store: Option<StoreSettings>,
    /// Maximum number of keys with series.
    pub series_limit: usize,
    /// Retention time of a key that is no longer scraped.
    pub series_idle: Duration,
    /// Prefix of every served path, without a trailing slash.
    pub route_prefix: String,
    /// Prefix of every link on a page, as browsers see it. It differs from `route_prefix` if a reverse proxy rewrites
    /// the path.
    pub link_prefix: String,
    /// URL at which browsers reach the exporter, without a trailing slash. Links that leave the pages start with it.
    pub external_url: Option<String>,
    /// `Host` values that requests may use to reload the configuration.
    pub allowed_hosts: AllowedHosts,
    /// Maximum time from the shutdown signal to the exit of the process.
    pub shutdown_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            config_file: None,
            web_config_file: None,
            defaults: Defaults::default(),
            timeout_offset: Duration::from_millis(500),
            history_limit: 1000,
            store: None,
            series_limit: 20_000,
            series_idle: Duration::from_hours(1),
            route_prefix: String::new(),
            link_prefix: String::new(),
            external_url: None,
            allowed_hosts: AllowedHosts::default(),
            shutdown_timeout: Duration::from_secs(25),
        }
    }
}

/// The state that all requests share.
#[derive(Debug)]
pub struct App {
    settings: ServerSettings,
    /// Runs the probes.
    pub scheduler: Arc<Scheduler>,
    /// Authentication and rate limit of all paths.
    pub auth: Arc<Auth>,
    connections: Arc<ConnectionLimiter>,
    pages: landing_page::PageCache,
    ending: watch::Sender<bool>,
    reloads: Reloads,
}

type Shared = axum::extract::State<Arc<App>>;

impl App {
    /// Returns all active limits as `key=value` or `flag=value`.
    #[must_use]
    pub fn bounds(&self) -> Vec<String> {
        let keys = self
            .scheduler
            .limits()
            .rows()
            .map(|(name, bound)| format!("{name}={bound}"));
        let settings = &self.settings;
        let flags = [
            format!("series.limit={}", settings.series_limit),
            format!("series.idle={}", settings.series_idle.as_secs_f64()),
            format!("history.limit={}", settings.history_limit),
        ];
        let on_disk = settings.store.iter().flat_map(|store| {
            let StoreLimits { size, retention } = store.limits;
            [
                format!("history.size={size}"),
                format!("history.retention={}", retention.as_secs()),
            ]
        });
        keys.into_iter().chain(flags).chain(on_disk).collect()
    }

    /// Returns the path of the configuration file as given on the command line, or `embedded default`.
    #[must_use]
    pub fn config_file(&self) -> String {
        let file = self.settings.config_file.as_ref();
        file.map_or_else(|| "embedded default".to_owned(), |path| path.display().to_string())
    }

    /// Loads the configuration and creates empty tables.
    ///
    /// # Errors
    /// When the configuration is not valid.
    pub fn new(settings: ServerSettings, workers: Workers) -> Result<Self, ConfigError> {
        let config = load(&settings)?;
        let auth = Auth::new(settings.web_config_file.clone())?;
        let scheduler = Scheduler::new(
            config,
            SeriesTable::new(settings.series_limit, settings.series_idle),
            History::new(settings.history_limit, process_number())
                .with_external_url(settings.external_url.as_deref())
                .with_store(start_store(&settings)),
            workers,
        );
        scheduler.self_metrics().reloaded(true);
        if let Some(url) = &settings.external_url {
            scheduler.self_metrics().set_external_url(url);
        }
        Ok(Self {
            scheduler: Arc::new(scheduler),
            auth,
            connections: Arc::default(),
            pages: landing_page::PageCache::default(),
            ending: watch::Sender::new(false),
            reloads: Reloads::default(),
            settings,
        })
    }

    /// Returns the maximum time from the shutdown signal to the exit of the process.
    #[must_use]
    pub const fn shutdown_timeout(&self) -> Duration {
        self.settings.shutdown_timeout
    }

    /// Aborts all requests that wait for a probe.
    pub fn end(&self) {
        self.ending.send_replace(true);
    }

    /// Resolves after [`App::end`] was called.
    async fn ended(&self) {
        // `self` owns the sender, so waiting cannot fail.
        let _ = self.ending.subscribe().wait_for(|ending| *ending).await;
    }
}

fn load(settings: &ServerSettings) -> Result<Config, ConfigError> {
    let config = Config::load_or_default(settings.config_file.as_deref(), settings.defaults)?;
    // No warnings for the embedded default: its modules are those of blackbox_exporter.
    for warning in config.warnings().iter().filter(|_| settings.config_file.is_some()) {
        tracing::warn!(%warning, "Config file");
    }
    Ok(config)
}

/// Starts the evidence store. An error does not prevent the start: the exporter then keeps evidence in memory only.
fn start_store(settings: &ServerSettings) -> Option<EvidenceStore> {
    let store = EvidenceStore::start(settings.store.clone()?, evidence_documents::render);
    store
        .inspect_err(|error| tracing::error!(%error, "Error starting the evidence store: evidence is only in memory"))
        .ok()
}

/// Random number that distinguishes the evidence ids of this process from those of earlier processes.
fn process_number() -> u32 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        Err(_) => std::process::id(),
    }
}

/// Returns the routes of all paths, behind authentication.
pub fn router(app: Arc<App>) -> Router {
    let auth = app.auth.clone();
    paths(app).layer(axum::middleware::from_fn_with_state(auth, auth::pass))
}

/// Routes for the extra connections beyond `limits.connections`: metrics and health checks only.
fn routes_in_need(app: Arc<App>) -> Router {
    let auth = app.auth.clone();
    let routes = Router::new()
        .route("/metrics", any(metrics::page))
        .route("/-/healthy", get(health::healthy))
        .route("/-/ready", get(health::ready))
        .route("/probe", any(health::too_many_to_probe))
        .fallback(health::too_many);
    below_prefix(app, routes)
        .layer(axum::middleware::from_fn_with_state(auth, auth::pass))
        .layer(axum::middleware::map_response(health::and_close))
}

fn paths(app: Arc<App>) -> Router {
    let private = Router::new()
        .route("/", get(landing_page::page))
        .route("/evidence", get(evidence::of_target))
        .route("/evidence/{file}", get(evidence::file))
        .route("/evidence/{id}/again", any(probe_again::run))
        .route("/config", any(admin::config))
        .route("/logs", any(admin::logs))
        .layer(axum::middleware::map_response(async |answer| not_stored(answer)));
    let routes = private
        .route("/style.css", get(landing_page::style))
        .route("/copy.js", get(landing_page::copy_script))
        .route("/refresh.js", get(landing_page::refresh_script))
        .route("/probe", any(probe::run))
        .route("/metrics", any(metrics::page))
        .route("/-/healthy", get(health::healthy))
        .route("/-/ready", get(health::ready))
        .route("/-/reload", any(admin::reload))
        .fallback(async || error(StatusCode::NOT_FOUND, "Page not found."));
    let prefix = app.settings.route_prefix.clone();
    let home = get(async |app: Shared, query: RawQuery| not_stored(landing_page::page(app, query).await))
        .with_state(app.clone());
    let routes = below_prefix(app, routes);
    if prefix.is_empty() {
        return routes;
    }
    // axum serves the root of a nested router only without the trailing slash.
    let nothing = async || error(StatusCode::NOT_FOUND, "Page not found.");
    routes.route(&(prefix + "/"), home).fallback(nothing)
}

fn below_prefix(app: Arc<App>, routes: Router<Arc<App>>) -> Router {
    let prefix = app.settings.route_prefix.clone();
    let routes = routes.with_state(app);
    if prefix.is_empty() {
        routes
    } else {
        Router::new().nest(&prefix, routes)
    }
}

/// Content security policy: a page loads styles and scripts from the exporter only.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// HTML response.
fn page(html: String) -> Response {
    let fields = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (fields, html).into_response()
}

/// Prevents proxies and browsers from storing the response, which contains target data, evidence or configuration.
fn not_stored(mut response: Response) -> Response {
    let fields = response.headers_mut();
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Plain-text error response in the format of blackbox_exporter.
fn error(status: StatusCode, words: &str) -> Response {
    (status, plain(), format!("{words}\n")).into_response()
}

/// Temporary failure: the client should retry.
fn unavailable(words: &str) -> Response {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, words);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

const fn plain() -> [(HeaderName, &'static str); 2] {
    [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ]
}
