//! Reloads the configuration on a signal, a request, or a change of the file.

use super::{App, load};
use crate::config::{Config, ConfigError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::{JoinError, JoinHandle};

/// State of all reloads of the process.
#[derive(Debug)]
pub(super) struct Reloads {
    last: Mutex<Option<Reloaded>>,
    /// Permits for loads in progress.
    places: Arc<Semaphore>,
}

impl Default for Reloads {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
            places: Arc::new(Semaphore::new(HANGING_LOADS)),
        }
    }
}

/// Result of the last reload.
#[derive(Debug)]
struct Reloaded {
    began: Instant,
    outcome: Result<(), Arc<ConfigError>>,
}

/// Time after which a reload fails.
pub(crate) const LONGEST_RELOAD: Duration = Duration::from_secs(10);

/// Time after which another reload may start in parallel.
const PATIENCE: Duration = Duration::from_secs(2);

/// Maximum number of loads that may hang at the same time. A load that hangs cannot be stopped and keeps its thread.
const HANGING_LOADS: usize = 4;

/// Minimum time between the starts of two reloads.
const BETWEEN_RELOADS: Duration = Duration::from_secs(1);

impl App {
    /// Reloads the configuration. An invalid file leaves the active configuration unchanged and sets only the metrics
    /// of the reload.
    ///
    /// Concurrent requests share one load: a load that starts after a request sees everything that was written before
    /// the request. A load that hangs delays the next one by `PATIENCE` and fails after `LONGEST_RELOAD`. Its result is
    /// ignored if a later load has finished first.
    ///
    /// # Errors
    /// When the new configuration is not valid, or cannot be read in time.
    pub async fn reload(&self) -> Result<(), Arc<ConfigError>> {
        let asked = Instant::now();
        let mut last = self.reloads.last.lock().await;
        if let Some(last) = &*last {
            if last.began > asked {
                return last.outcome.clone();
            }
            tokio::time::sleep_until((last.began + BETWEEN_RELOADS).into()).await;
        }
        let began = Instant::now();
        let mut loading = match self.begin_load() {
            Ok(loading) => loading,
            Err(busy) => return self.conclude(&mut last, began, Err(busy)),
        };
        if let Ok(loaded) = tokio::time::timeout(PATIENCE, &mut loading).await {
            let loaded = self.unless_it_panicked(loaded);
            return self.conclude(&mut last, began, loaded);
        }
        drop(last);
        let loaded = tokio::time::timeout_at((began + LONGEST_RELOAD).into(), loading).await;
        let loaded = match loaded {
            Ok(loaded) => self.unless_it_panicked(loaded),
            Err(_elapsed) => Err(self.hanging("reading it, or a file that it references, took longer than 10 s")),
        };
        self.conclude(&mut *self.reloads.last.lock().await, began, loaded)
    }

    /// Starts a load on a separate thread, because files may hang and large regular expressions take long to compile.
    /// Probes continue meanwhile.
    fn begin_load(&self) -> Result<JoinHandle<Result<Config, ConfigError>>, ConfigError> {
        let place = self.reloads.places.clone().try_acquire_owned();
        let place = place.map_err(|_| self.hanging("earlier reloads are still blocked by a file that hangs"))?;
        let settings = self.settings.clone();
        Ok(tokio::task::spawn_blocking(move || {
            let _place = place;
            load(&settings)
        }))
    }

    /// Resumes a panic of the loading thread on this thread.
    fn unless_it_panicked<T>(&self, loaded: Result<T, JoinError>) -> T {
        loaded.unwrap_or_else(|error| {
            self.scheduler.self_metrics().reloaded(false);
            std::panic::resume_unwind(Box::new(error))
        })
    }

    fn hanging(&self, words: &'static str) -> ConfigError {
        let path = self.settings.config_file.clone().unwrap_or_default();
        ConfigError::Hanging { path, words }
    }

    fn conclude(
        &self,
        last: &mut Option<Reloaded>,
        began: Instant,
        loaded: Result<Config, ConfigError>,
    ) -> Result<(), Arc<ConfigError>> {
        let own = self.scheduler.self_metrics();
        let outcome = match loaded {
            Err(error) => Err(Arc::new(error)),
            // A load that started later has read a newer version.
            Ok(_) if last.as_ref().is_some_and(|last| last.began > began) => return Ok(()),
            Ok(config) => {
                self.scheduler.reconfigure(config);
                Ok(())
            }
        };
        if last.as_ref().is_some_and(|last| last.began > began) {
            own.reload_failed();
            return outcome;
        }
        own.reloaded(outcome.is_ok());
        *last = Some(Reloaded {
            began,
            outcome: outcome.clone(),
        });
        outcome
    }
}
