//! Authentication, rate limit and response headers of the web server, from `--web.config.file`.

use super::passwords::{AuthResult, Passwords};
use super::web_config_watcher::{self, WebConfigChange, WebConfigWatcher};
use crate::config::{ConfigError, Rate, WebConfig};
use crate::scheduler::ClientAddress;
use arc_swap::ArcSwap;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Instant;

/// Authenticates requests. Follows changes of the web configuration files.
#[derive(Debug)]
pub struct Auth {
    now: ArcSwap<WebConfig>,
    /// Number of new file versions that could not be used.
    refused: AtomicU64,
    bucket: Mutex<Bucket>,
    passwords: Passwords,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Auth {
    /// Reads the file and follows its changes. Without a file, all requests are allowed.
    ///
    /// # Errors
    /// When the file is not valid.
    pub fn new(file: Option<PathBuf>) -> Result<Arc<Self>, ConfigError> {
        let config = match &file {
            Some(path) => WebConfig::load(path)?,
            None => WebConfig::default(),
        };
        let tokens = config.rate.map_or(0.0, |rate| f64::from(rate.burst));
        let follow = file.map(|path| WebConfigWatcher::new(path, &config));
        let auth = Arc::new(Self {
            now: ArcSwap::from_pointee(config),
            refused: AtomicU64::default(),
            bucket: Mutex::new(Bucket {
                tokens,
                at: Instant::now(),
            }),
            passwords: Passwords::default(),
        });
        if let Some(file) = follow {
            follow_file(Arc::downgrade(&auth), file);
        }
        Ok(auth)
    }

    /// Returns the active web configuration.
    pub fn config(&self) -> Arc<WebConfig> {
        self.now.load_full()
    }

    /// Returns how many new file versions could not be used.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn take(&self, found: WebConfigChange) {
        match found {
            WebConfigChange::Same => {}
            WebConfigChange::New(config) => {
                self.now.store(Arc::new(*config));
                tracing::info!("Reloaded web config file");
            }
            WebConfigChange::Refused(error) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(error, "Error reloading web config file");
            }
        }
    }

    fn has_token(&self, rate: Rate) -> bool {
        let mut bucket = self.bucket.lock();
        let now = Instant::now();
        let earned = now.duration_since(bucket.at).as_secs_f64() / rate.interval.as_secs_f64();
        bucket.tokens = (bucket.tokens + earned).min(f64::from(rate.burst));
        bucket.at = now;
        let has = bucket.tokens >= 1.0;
        if has {
            bucket.tokens -= 1.0;
        }
        has
    }

    /// Checks the user name and password in the `Authorization` header.
    async fn knows(&self, config: &WebConfig, source: ClientAddress, fields: &HeaderMap) -> AuthResult {
        match fields.get(AUTHORIZATION).and_then(credentials) {
            Some((user, password)) => self.passwords.judge(source, &user, password, &config.users).await,
            None => AuthResult::Wrong,
        }
    }
}

/// Starts a thread that checks the files until `auth` is dropped. A file system that hangs blocks only this thread.
fn follow_file(auth: Weak<Auth>, mut file: WebConfigWatcher) {
    let look = move || {
        while let Some(auth) = auth.upgrade() {
            auth.take(file.look(&auth.config()));
            drop(auth);
            thread::sleep(web_config_watcher::EVERY);
        }
    };
    let thread = thread::Builder::new().name("web-config".to_owned()).spawn(look);
    if let Err(error) = thread {
        tracing::error!(%error, "Error starting the thread that watches the web config file: changes need a restart");
    }
}

/// Decodes user name and password of HTTP basic authentication (RFC 7617).
fn credentials(field: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = field.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Middleware of every path: checks the password, then the rate limit, and adds the configured response headers.
pub(super) async fn pass(State(auth): State<Arc<Auth>>, request: Request, next: Next) -> Response {
    let config = auth.config();
    let verdict = if config.users.is_empty() {
        AuthResult::Right
    } else {
        let source = request.extensions().get().copied().unwrap_or_default();
        auth.knows(&config, source, request.headers()).await
    };
    let mut answer = match verdict {
        // After authentication: unauthenticated clients must not use up tokens.
        AuthResult::Right if config.rate.is_some_and(|rate| !auth.has_token(rate)) => {
            super::error(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests")
        }
        AuthResult::Right => next.run(request).await,
        AuthResult::Busy => super::unavailable("Too many password checks are pending; retry."),
        AuthResult::Wrong => {
            let mut refusal = super::error(StatusCode::UNAUTHORIZED, "Unauthorized");
            let fields = refusal.headers_mut();
            fields.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
            refusal
        }
    };
    for (name, value) in &config.headers {
        answer.headers_mut().insert(name, value.clone());
    }
    answer
}
