//! Who is let in, how often, and what every answer says: what `--web.config.file` demands of each request.

use super::passwords::{Passwords, Verdict};
use crate::config::{ConfigError, Rate, WebConfig};
use arc_swap::ArcSwap;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When files that could not be read are tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The gate. Its file is read again when it has changed, or one that it names.
#[derive(Debug)]
pub struct Gate {
    file: Option<PathBuf>,
    now: ArcSwap<Entry>,
    reading: Mutex<()>,
    bucket: Mutex<Bucket>,
    passwords: Passwords,
}

/// What holds now, and the state of the files that say so.
#[derive(Debug)]
struct Entry {
    config: Arc<WebConfig>,
    seen: Vec<Seen>,
    /// When the files were last read in vain, and why that was.
    failed: Option<(Instant, String)>,
}

/// By which a file that has changed is known: device, inode, size, and time of change in nanoseconds.
type Seen = Option<(u64, u64, u64, i64, i64)>;

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Gate {
    /// Reads the file; without one, everybody is let in.
    ///
    /// # Errors
    /// When it says what cannot be served.
    pub fn new(file: Option<PathBuf>) -> Result<Self, ConfigError> {
        let config = match &file {
            Some(path) => WebConfig::load(path)?,
            None => WebConfig::default(),
        };
        let tokens = config.rate.map_or(0.0, |rate| f64::from(rate.burst));
        Ok(Self {
            file,
            now: ArcSwap::from_pointee(Entry::new(config)),
            reading: Mutex::new(()),
            bucket: Mutex::new(Bucket {
                tokens,
                at: Instant::now(),
            }),
            passwords: Passwords::default(),
        })
    }

    /// What holds now. A changed file that cannot be served changes nothing; the log says so, and it is tried again.
    pub fn config(&self) -> Arc<WebConfig> {
        if let Some(path) = &self.file
            && self.now.load().is_stale()
        {
            let _one_at_a_time = lock(&self.reading);
            let entry = self.now.load_full();
            if entry.is_stale() {
                self.now.store(Arc::new(entry.read_again(path)));
            }
        }
        self.now.load().config.clone()
    }

    fn has_token(&self, rate: Rate) -> bool {
        let mut bucket = lock(&self.bucket);
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

    /// Whether the fields name somebody who may ask, with the right password.
    async fn knows(&self, config: &WebConfig, fields: &HeaderMap) -> Verdict {
        match fields.get(AUTHORIZATION).and_then(credentials) {
            Some((user, password)) => self.passwords.judge(&user, password, &config.users).await,
            None => Verdict::Wrong,
        }
    }
}

impl Entry {
    fn new(config: WebConfig) -> Self {
        Self {
            seen: seen(&config.files),
            config: Arc::new(config),
            failed: None,
        }
    }

    fn is_stale(&self) -> bool {
        // What could not be read may lack a file that is not among those that were seen.
        let again = self.failed.as_ref().is_some_and(|(at, _)| at.elapsed() >= AGAIN);
        again || seen(&self.config.files) != self.seen
    }

    fn read_again(&self, path: &Path) -> Self {
        // Before it is read: what changes meanwhile is seen the next time.
        let before = seen(&self.config.files);
        let loaded = WebConfig::load(path).map_err(|error| error.to_string());
        // A file that is being written is empty for a moment: that must open nothing.
        let loaded = loaded.and_then(|config| match config.tls.is_some() || !config.users.is_empty() {
            false if self.config.tls.is_some() || !self.config.users.is_empty() => {
                Err("it asks for neither TLS nor passwords any more: restart the exporter to serve without".to_owned())
            }
            _ if self.config.tls.is_some() && config.tls.is_none() => {
                Err("it has no TLS any more: restart the exporter to serve without".to_owned())
            }
            _ => Ok(config),
        });
        match loaded {
            Ok(config) => {
                tracing::info!("Reloaded web config file");
                let seen = if config.files == self.config.files {
                    before
                } else {
                    seen(&config.files)
                };
                Self {
                    config: Arc::new(config),
                    seen,
                    failed: None,
                }
            }
            Err(words) => {
                if self.failed.as_ref().is_none_or(|(_, known)| *known != words) {
                    tracing::error!(error = words, "Error reloading web config file");
                }
                Self {
                    config: self.config.clone(),
                    seen: before,
                    failed: Some((Instant::now(), words)),
                }
            }
        }
    }
}

fn seen(files: &[PathBuf]) -> Vec<Seen> {
    let facts = |file: Metadata| (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec());
    files
        .iter()
        .map(|path| std::fs::metadata(path).ok().map(facts))
        .collect()
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// RFC 7617.
fn credentials(field: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = field.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The gate before every path.
pub(super) async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let config = gate.config();
    if config.rate.is_some_and(|rate| !gate.has_token(rate)) {
        return super::error(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests");
    }
    let verdict = if config.users.is_empty() {
        Verdict::Right
    } else {
        gate.knows(&config, request.headers()).await
    };
    let mut answer = match verdict {
        Verdict::Right => next.run(request).await,
        Verdict::Busy => super::unavailable("Too many passwords wait to be looked at."),
        Verdict::Wrong => {
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
