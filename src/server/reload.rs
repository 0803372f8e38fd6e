//! Loading the configuration again, at a signal, a request, or a change of the file.

use super::{App, load};
use crate::config::{Config, ConfigError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::{JoinError, JoinHandle};

/// The reloads of a process.
#[derive(Debug)]
pub(super) struct Reloads {
    last: Mutex<Option<Reloaded>>,
    /// For loads that are under way.
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

/// The last reload.
#[derive(Debug)]
struct Reloaded {
    began: Instant,
    outcome: Result<(), Arc<ConfigError>>,
}

/// After this time a reload fails.
pub(crate) const LONGEST_RELOAD: Duration = Duration::from_secs(10);

/// After this time another reload may begin beside it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Loads that may hang at once: maximum. One that hangs cannot be stopped, and keeps its thread.
const HANGING_LOADS: usize = 4;

/// From one reload to the next, at least.
const BETWEEN_RELOADS: Duration = Duration::from_secs(1);

impl App {
    /// Loads the configuration again. A bad file changes nothing but the gauge that says so. Who asks while others wait gets
    /// their answer: what is loaded after one has asked has what was written before. A load that hangs delays the next one by
    /// `PATIENCE`, fails after `LONGEST_RELOAD`, and changes nothing where a later one was faster.
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
            Err(_elapsed) => Err(self.hanging("it, or a file that it names, did not come within 10 s")),
        };
        self.conclude(&mut *self.reloads.last.lock().await, began, loaded)
    }

    /// Files may hang, and large expressions take their time: probes go on meanwhile.
    fn begin_load(&self) -> Result<JoinHandle<Result<Config, ConfigError>>, ConfigError> {
        let place = self.reloads.places.clone().try_acquire_owned();
        let place = place.map_err(|_| self.hanging("earlier reloads still wait for a file that hangs"))?;
        let settings = self.settings.clone();
        Ok(tokio::task::spawn_blocking(move || {
            let _place = place;
            load(&settings)
        }))
    }

    /// A panic there is one here.
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
            // What was begun later has what was written later.
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
