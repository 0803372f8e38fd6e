//! The edge: what is served over HTTP, and the state that all requests share.

mod admin;
mod answer;
mod doors;
mod evidence;
mod gate;
mod health;
mod home;
pub mod listeners;
mod metrics;
mod passwords;
mod probe;
mod serve;

pub use gate::Gate;
pub use serve::serve;

use crate::config::{Config, ConfigError, Defaults};
use crate::history::History;
use crate::patrol::Patrol;
use crate::series::SeriesTable;
use crate::workers::Workers;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use doors::Doors;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What flags set.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The configuration file; `None` serves the embedded default.
    pub config_file: Option<PathBuf>,
    /// The file that says how we serve.
    pub web_config_file: Option<PathBuf>,
    /// What a module has where it says nothing.
    pub defaults: Defaults,
    /// Taken from the scrape's timeout, so that the answer is there in time.
    pub timeout_offset: Duration,
    /// Findings kept as evidence.
    pub history_limit: usize,
    /// Keys with series.
    pub series_limit: usize,
    /// How long a key is kept that nobody asks for.
    pub series_idle: Duration,
    /// The prefix of every path, without a slash at its end.
    pub route_prefix: String,
    /// The prefix of every link on a page, as browsers see it: a proxy in front may take another one off.
    pub link_prefix: String,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            config_file: None,
            web_config_file: None,
            defaults: Defaults::default(),
            timeout_offset: Duration::from_millis(500),
            history_limit: 1000,
            series_limit: 20_000,
            series_idle: Duration::from_hours(1),
            route_prefix: String::new(),
            link_prefix: String::new(),
        }
    }
}

/// The state that all requests share.
#[derive(Debug)]
pub struct App {
    settings: ServerSettings,
    /// What probes.
    pub patrol: Arc<Patrol>,
    /// Who is let in.
    pub gate: Arc<Gate>,
    doors: Arc<Doors>,
    reloading: tokio::sync::Mutex<Option<Reloaded>>,
}

/// The last reload.
#[derive(Debug)]
struct Reloaded {
    began: Instant,
    outcome: Result<(), Arc<ConfigError>>,
}

/// From one reload to the next, at least.
const BETWEEN_RELOADS: Duration = Duration::from_secs(1);

type Shared = axum::extract::State<Arc<App>>;

impl App {
    /// Every bound in force, by its key or flag.
    #[must_use]
    pub fn bounds(&self) -> Vec<String> {
        let keys = self
            .patrol
            .limits()
            .rows()
            .map(|(name, bound)| format!("{name}={bound}"));
        let settings = &self.settings;
        let flags = [
            format!("series.limit={}", settings.series_limit),
            format!("series.idle={}", settings.series_idle.as_secs_f64()),
            format!("history.limit={}", settings.history_limit),
        ];
        keys.into_iter().chain(flags).collect()
    }

    /// The configuration file as the flag names it, or that there is none.
    #[must_use]
    pub fn config_file(&self) -> String {
        let file = self.settings.config_file.as_ref();
        file.map_or_else(|| "embedded default".to_owned(), |path| path.display().to_string())
    }

    /// Loads the configuration and makes the empty tables.
    ///
    /// # Errors
    /// When the configuration is not valid.
    pub fn new(settings: ServerSettings, workers: Workers) -> Result<Self, ConfigError> {
        let config = load(&settings)?;
        let gate = Gate::new(settings.web_config_file.clone())?;
        let patrol = Patrol::new(
            config,
            SeriesTable::new(settings.series_limit, settings.series_idle),
            History::new(settings.history_limit, process_number()),
            workers,
        );
        patrol.own().reloaded(true);
        Ok(Self {
            patrol: Arc::new(patrol),
            gate: Arc::new(gate),
            doors: Arc::default(),
            reloading: tokio::sync::Mutex::default(),
            settings,
        })
    }

    /// Loads the configuration again. A bad file changes nothing but the gauge that says so. Who asks while others wait gets
    /// their answer: what is loaded after one has asked has what was written before.
    ///
    /// # Errors
    /// When the new configuration is not valid.
    pub async fn reload(&self) -> Result<(), Arc<ConfigError>> {
        let asked = Instant::now();
        let mut last = self.reloading.lock().await;
        if let Some(last) = &*last {
            if last.began > asked {
                return last.outcome.clone();
            }
            tokio::time::sleep_until((last.began + BETWEEN_RELOADS).into()).await;
        }
        let began = Instant::now();
        // Files may hang, and large expressions take their time: probes go on meanwhile.
        let settings = self.settings.clone();
        let loading = tokio::task::spawn_blocking(move || load(&settings));
        // A panic there is one here.
        let loaded = loading.await.unwrap_or_else(|error| {
            self.patrol.own().reloaded(false);
            std::panic::resume_unwind(Box::new(error))
        });
        self.patrol.own().reloaded(loaded.is_ok());
        let outcome = loaded.map(|config| self.patrol.reconfigure(config)).map_err(Arc::new);
        *last = Some(Reloaded {
            began,
            outcome: outcome.clone(),
        });
        outcome
    }
}

fn load(settings: &ServerSettings) -> Result<Config, ConfigError> {
    let config = read(settings)?;
    // Those of the embedded default are the peer's.
    for warning in config.warnings().iter().filter(|_| settings.config_file.is_some()) {
        tracing::warn!(%warning, "Config file");
    }
    Ok(config)
}

fn read(settings: &ServerSettings) -> Result<Config, ConfigError> {
    match &settings.config_file {
        Some(path) => Config::load(path, settings.defaults),
        None => Config::parse(crate::config::DEFAULT, settings.defaults).map_err(|problem| ConfigError::Invalid {
            path: PathBuf::from("the embedded default"),
            problem,
        }),
    }
}

/// Tells this process's evidence from that of the one before.
fn process_number() -> u32 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        Err(_) => std::process::id(),
    }
}

/// Every path that is served.
pub fn router(app: Arc<App>) -> Router {
    let gate = app.gate.clone();
    paths(app).layer(axum::middleware::from_fn_with_state(gate, gate::pass))
}

/// What is still served on the few connections beyond the bound.
fn routes_in_need(app: Arc<App>) -> Router {
    let gate = app.gate.clone();
    let routes = Router::new()
        .route("/metrics", any(metrics::page))
        .route("/-/healthy", get(health::healthy))
        .route("/-/ready", get(health::ready))
        .route("/probe", any(health::too_many_to_probe))
        .fallback(health::too_many);
    below_prefix(app, routes)
        .layer(axum::middleware::from_fn_with_state(gate, gate::pass))
        .layer(axum::middleware::map_response(health::and_close))
}

fn paths(app: Arc<App>) -> Router {
    let routes = Router::new()
        .route("/", get(home::page))
        .route("/style.css", get(home::style))
        .route("/copy.js", get(home::copy_script))
        .route("/refresh.js", get(home::refresh_script))
        .route("/probe", any(probe::run))
        .route("/metrics", any(metrics::page))
        .route("/evidence", get(evidence::of_target))
        .route("/evidence/{file}", get(evidence::file))
        .route("/config", any(admin::config))
        .route("/logs", any(admin::logs))
        .route("/-/healthy", get(health::healthy))
        .route("/-/ready", get(health::ready))
        .route("/-/reload", any(admin::reload))
        .fallback(async || error(StatusCode::NOT_FOUND, "There is nothing at this path."));
    let prefix = app.settings.route_prefix.clone();
    let home = get(home::page).with_state(app.clone());
    let routes = below_prefix(app, routes);
    if prefix.is_empty() {
        return routes;
    }
    // A nested root answers without its slash only.
    let nothing = async || error(StatusCode::NOT_FOUND, "There is nothing at this path.");
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

/// What a page may load and do: its own style and script, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page for people.
fn page(html: String) -> Response {
    let fields = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (fields, html).into_response()
}

/// A refusal in plain text, as the peer writes it.
fn error(status: StatusCode, words: &str) -> Response {
    (status, plain(), format!("{words}\n")).into_response()
}

/// Nothing can be said now: whoever asks comes again.
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
