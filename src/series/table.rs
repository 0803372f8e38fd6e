//! The bounded table that keeps the histograms and counters between probes.
//!
//! Each combination of module, target, hostname and backends is one key, and each key has its own series. Anybody who
//! can reach `/probe` can invent targets, so the number of keys is limited (`--series.limit`). A plain
//! least-recently-used cache would let a caller who requests thousands of invented targets evict the real ones. The
//! table therefore puts every new key on probation. Probation has room for a tenth of the limit. A second scrape moves
//! the key to the other nine tenths, where new keys cannot evict it. There, only idleness removes it.
//!
//! ```text
//! first scrape ──► probation (1/10 of the limit) ── second scrape ──► tenured (9/10 of the limit) ── idle ──► removed
//!                      └─ no room left ──► probation entry (a few bytes) ── second scrape ──┘
//! ```
//!
//! After a restart, all keys arrive at once and probation has no room for them. A key that loses its place on probation
//! after one probe leaves a compact `ProbationEntry`, which restores its counts at the second scrape.

use super::probation::{ProbationEntry, ProbationTable};
use super::{KeyState, Series, SeriesKey, SeriesLayout};
use crate::target_state::TargetState;
use glassbox_probe::probers::Module;
use glassbox_probe::target::Target;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// All of this process's series.
#[derive(Debug)]
pub struct SeriesTable {
    limit: usize,
    idle: Duration,
    inner: Mutex<Inner>,
    /// The layouts in use, without duplicates.
    layouts: Mutex<Vec<Arc<SeriesLayout>>>,
}

/// Table usage and number of evictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Keys in the table.
    pub keys: usize,
    /// Keys evicted because the table was full.
    pub evicted_for_room: u64,
    /// Keys removed because they were idle for too long.
    pub evicted_idle: u64,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Arc<SeriesKey>, TableEntry>,
    on_probation: usize,
    /// Keys in the order in which they entered probation. Promoted and removed keys are skipped.
    arrivals: VecDeque<Arc<SeriesKey>>,
    probation: ProbationTable,
    swept: Option<Instant>,
    evicted_for_room: u64,
    evicted_idle: u64,
}

#[derive(Debug)]
struct TableEntry {
    kept: Arc<KeyState>,
    last_used: Instant,
    on_probation: bool,
}

impl SeriesTable {
    /// A table for up to `limit` keys. A key is removed when it is not used for `idle`.
    #[must_use]
    pub fn new(limit: usize, idle: Duration) -> Self {
        Self {
            limit: limit.max(1),
            idle,
            inner: Mutex::default(),
            layouts: Mutex::default(),
        }
    }

    /// The state of a known key. This lookup does not count as a scrape, so it does not promote the key.
    pub fn peek(&self, key: &SeriesKey) -> Option<Arc<KeyState>> {
        let inner = self.inner();
        if let Some(entry) = inner.entries.get(key) {
            return Some(entry.kept.clone());
        }
        inner.probation.peek(key)
    }

    /// All keys in any order, except those with only a probation entry. This does not count as a scrape.
    #[must_use]
    pub fn all(&self) -> Vec<(Arc<SeriesKey>, Arc<KeyState>)> {
        let inner = self.inner();
        let all = inner.entries.iter();
        all.map(|(key, entry)| (key.clone(), entry.kept.clone())).collect()
    }

    /// A key's state, created at its first scrape.
    pub fn series(&self, key: &SeriesKey, now: Instant, make: impl FnOnce() -> Series) -> Arc<KeyState> {
        self.see(key, now, |probation_entry| match probation_entry {
            Some(probation_entry) => probation_entry.restored(),
            None => KeyState::new(make(), TargetState::default()),
        })
    }

    /// Marks the key as used and stores `kept` as its state, even if the key was evicted in the meantime.
    pub fn hold(&self, key: &SeriesKey, kept: &Arc<KeyState>, now: Instant) {
        self.see(key, now, |_| kept.clone());
    }

    /// The layout of a module's keys for this kind of target, shared among the keys with the same layout.
    pub fn layout(&self, module: &Module, target: &Target) -> Arc<SeriesLayout> {
        let layout = SeriesLayout::of(module, target);
        let mut layouts = self.layouts.lock();
        if let Some(known) = layouts.iter().find(|known| ***known == layout) {
            return known.clone();
        }
        layouts.retain(|known| Arc::strong_count(known) > 1);
        let layout = Arc::new(layout);
        layouts.push(layout.clone());
        layout
    }

    fn see(
        &self,
        key: &SeriesKey,
        now: Instant,
        make: impl FnOnce(Option<ProbationEntry>) -> Arc<KeyState>,
    ) -> Arc<KeyState> {
        let mut inner = self.inner();
        inner.sweep(now, self.idle);
        let may_move_up = inner.entries.len() - inner.on_probation < self.tenured_room();
        if let Some(entry) = inner.entries.get_mut(key) {
            entry.last_used = now;
            let kept = entry.kept.clone();
            if entry.on_probation && may_move_up {
                entry.on_probation = false;
                inner.on_probation -= 1;
            }
            return kept;
        }
        let probation_entry = inner.probation.take(key);
        let on_probation = probation_entry.is_none() || !may_move_up;
        inner.make_room(self.limit, self.probation_room());
        let kept = make(probation_entry);
        inner.admit(Arc::new(key.clone()), kept.clone(), now, on_probation);
        kept
    }

    /// Usage of the table.
    #[must_use]
    pub fn stats(&self) -> TableStats {
        let inner = self.inner();
        TableStats {
            keys: inner.keys(),
            evicted_for_room: inner.evicted_for_room,
            evicted_idle: inner.evicted_idle,
        }
    }

    /// Maximum number of keys that new keys cannot evict.
    #[must_use]
    pub fn tenured_room(&self) -> usize {
        self.limit - self.probation_room()
    }

    fn probation_room(&self) -> usize {
        (self.limit / 10).max(1)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // The table is consistent after each step below, so it stays usable after a panic.
        self.inner.lock()
    }
}

impl Inner {
    fn keys(&self) -> usize {
        self.entries.len() + self.probation.len()
    }

    fn admit(&mut self, key: Arc<SeriesKey>, kept: Arc<KeyState>, now: Instant, on_probation: bool) {
        if on_probation {
            self.arrivals.push_back(key.clone());
            self.on_probation += 1;
        }
        let entry = TableEntry {
            kept,
            last_used: now,
            on_probation,
        };
        self.entries.insert(key, entry);
    }

    /// Makes room for one more key on probation and in the whole table.
    fn make_room(&mut self, limit: usize, probation_room: usize) {
        while self.on_probation >= probation_room {
            let Some((key, entry)) = self.leave_probation() else {
                break;
            };
            // A key with counters would need as much memory as a probation entry as it does here.
            let small = entry.kept.series().while_small();
            let scraped = entry.kept.target_state().scraped;
            match small {
                Some(series) => self.probation.keep(&key, series, scraped, entry.last_used),
                None => self.evicted_for_room += 1,
            }
        }
        while self.keys() >= limit && (self.probation.drop_oldest() || self.leave_probation().is_some()) {
            self.evicted_for_room += 1;
        }
    }

    /// Removes the oldest key on probation.
    fn leave_probation(&mut self) -> Option<(Arc<SeriesKey>, TableEntry)> {
        while let Some(key) = self.arrivals.pop_front() {
            if is_on_probation(&self.entries, &key) {
                self.on_probation -= 1;
                return self.entries.remove_entry(&key);
            }
        }
        None
    }

    /// Removes keys that were idle for too long, once per sixtieth of the idle time.
    fn sweep(&mut self, now: Instant, idle: Duration) {
        let due = self
            .swept
            .is_none_or(|swept| now.saturating_duration_since(swept) >= idle / 60);
        if !due {
            return;
        }
        self.swept = Some(now);
        let before = self.keys();
        let is_used = |last_used: Instant| now.saturating_duration_since(last_used) < idle;
        self.entries.retain(|_, entry| is_used(entry.last_used));
        self.probation.retain(is_used);
        self.evicted_idle += (before - self.keys()) as u64;
        self.arrivals.retain(|key| is_on_probation(&self.entries, key));
        self.on_probation = self.arrivals.len();
    }
}

/// Whether the key still waits for its second scrape since this arrival. It may have been removed and added again.
fn is_on_probation(entries: &HashMap<Arc<SeriesKey>, TableEntry>, arrived: &Arc<SeriesKey>) -> bool {
    entries
        .get_key_value(arrived)
        .is_some_and(|(key, entry)| entry.on_probation && Arc::ptr_eq(key, arrived))
}

#[cfg(test)]
mod tests {
    use super::SeriesTable;
    use crate::series::{Series, SeriesKey, SeriesLayout};
    use glassbox_probe::check::{AddressFamily, Check, Refusal, Resolver};
    use glassbox_probe::metrics::{Level, MetricPage};
    use glassbox_probe::policy::Origin;
    use glassbox_probe::probers::{
        DiagnosticsSettings, InitialSeries, Module, ProbeFuture, ProbeRequest, Prober, Variant,
    };
    use glassbox_probe::target::Target;
    use glassbox_verdict::report::Report;
    use std::sync::Arc;
    use std::time::{Duration, Instant, SystemTime};

    #[derive(Debug)]
    struct Idle;

    impl Prober for Idle {
        fn probe<'a>(&'a self, _: &'a mut Check, _: &'a ProbeRequest, _: Variant<'a>) -> ProbeFuture<'a> {
            Box::pin(async { Ok(()) })
        }
        fn host(&self, _: &ProbeRequest) -> Result<(String, AddressFamily), Refusal> {
            Err(Refusal::of_target("no addresses"))
        }
        fn has_module_fields(&self, _: &ProbeRequest) -> bool {
            false
        }
        fn resolver(&self) -> &Arc<Resolver> {
            unreachable!("nobody resolves here")
        }
        fn gauges(&self, _: &Report, _: &mut MetricPage) -> Duration {
            Duration::ZERO
        }
        fn initial_series(&self, _: &Target) -> InitialSeries {
            InitialSeries {
                stages: vec![],
                codes: vec![],
            }
        }
        fn origin(&self, _: &ProbeRequest) -> Option<Origin> {
            None
        }
    }

    fn module() -> Module {
        Module {
            name: "m".into(),
            timeout: None,
            interval: None,
            metrics: Level::Standard,
            buckets: None,
            diagnostics: DiagnosticsSettings::default(),
            allowlist: None,
            prober: Arc::new(Idle),
        }
    }

    fn key(target: &str) -> SeriesKey {
        let requested = ProbeRequest {
            target: Target::new(target),
            hostname: None,
            backends: Vec::new(),
        };
        SeriesKey::new(&module(), &requested)
    }

    fn scrape(table: &SeriesTable, target: &str, now: Instant) -> bool {
        let mut made = false;
        table.series(&key(target), now, || {
            made = true;
            let layout = SeriesLayout::of(&module(), &Target::new(target));
            Series::new(Arc::new(layout), SystemTime::UNIX_EPOCH)
        });
        made
    }

    #[test]
    fn long_keys_are_told_apart_and_kept_in_short() {
        let long = |end: &str| format!("http://host/{}{end}", "x".repeat(2000));
        let at = |target: &str, hostname: Option<&str>| {
            let requested = ProbeRequest {
                target: Target::new(target),
                hostname: hostname.map(str::to_owned),
                backends: Vec::new(),
            };
            SeriesKey::new(&module(), &requested)
        };
        let names = [long("a"), long("b")];
        let keys = [
            at(&names[0], None),
            at(&names[1], None),
            at(&names[0], Some("a")),
            at("http://host/", Some(&names[0])),
            at("http://host/", Some(&names[1])),
        ];
        for (number, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().position(|other| other == key), Some(number));
            assert!(key.target().written().len() + key.distinction().len() < 300, "{key:?}");
        }
        assert_eq!(at(&names[0], None), keys[0]);
        assert_ne!(keys[0].mark(), keys[1].mark());
        assert!(keys[2].distinction() == "a" && keys[3].target().to_string() == "http://host/");
        // Secrets are masked before the string is truncated.
        let secret = format!("http://user:{}@host/", "secret".repeat(100));
        assert!(!format!("{:?}", at(&secret, None)).contains("secret"));
        assert!(
            !at(&format!("http://host/?{}", "secret".repeat(100)), None)
                .target()
                .written()
                .contains("secret")
        );
    }

    #[test]
    fn junk_targets_do_not_push_out_real_ones() {
        let table = SeriesTable::new(100, Duration::from_hours(1));
        let now = Instant::now();
        for _ in 0..2 {
            scrape(&table, "real", now);
        }
        for junk in 0..10_000 {
            scrape(&table, &format!("junk{junk}"), now);
        }
        assert!(!scrape(&table, "real", now), "the real target was pushed out");
        let stats = table.stats();
        assert!(stats.keys <= 100, "{stats:?}");
        assert!(stats.evicted_for_room >= 9_900, "{stats:?}");
    }

    #[test]
    fn many_new_keys_at_once_all_live_to_their_second_scrape() {
        let table = SeriesTable::new(100, Duration::from_hours(1));
        let now = Instant::now();
        let made: usize = (0..3)
            .flat_map(|_| 0..80)
            .map(|target: i32| usize::from(scrape(&table, &target.to_string(), now)))
            .sum();
        assert_eq!(made, 80);
        assert_eq!(table.stats().evicted_for_room, 0);
        assert_eq!(table.stats().keys, 80);
        assert_eq!(table.all().len(), 80, "all have moved up");
    }

    #[test]
    fn of_new_keys_beyond_a_tenth_only_a_glimpse_is_kept() {
        let table = SeriesTable::new(100, Duration::from_hours(1));
        let now = Instant::now();
        for target in 0..80 {
            scrape(&table, &target.to_string(), now);
        }
        assert_eq!((table.all().len(), table.stats().keys), (10, 80));
        // A lookup reports whether and when the key was seen.
        table.peek(&key("70")).unwrap().target_state().scraped = Some(now);
        for target in 80..90 {
            scrape(&table, &target.to_string(), now);
        }
        assert_eq!(table.peek(&key("70")).unwrap().target_state().scraped, Some(now));
        assert!(table.peek(&key("junk")).is_none());
        // Keys that are no longer used are removed.
        scrape(&table, "new", now + Duration::from_secs(3601));
        assert_eq!((table.stats().keys, table.stats().evicted_idle), (1, 90));
    }

    #[test]
    fn a_full_table_keeps_what_it_has() {
        let table = SeriesTable::new(20, Duration::from_hours(1));
        let now = Instant::now();
        for target in 0..40 {
            for _ in 0..2 {
                scrape(&table, &target.to_string(), now);
            }
        }
        assert!(table.stats().keys <= 20);
        assert!(!scrape(&table, "0", now));
    }

    #[test]
    fn what_is_held_keeps_its_counts_though_it_was_pushed_out() {
        let table = SeriesTable::new(10, Duration::from_hours(1));
        let now = Instant::now();
        scrape(&table, "held", now);
        let kept = table.peek(&key("held")).unwrap();
        for junk in 0..100 {
            scrape(&table, &junk.to_string(), now);
        }
        assert!(table.peek(&key("held")).is_none());
        table.hold(&key("held"), &kept, now);
        assert!(Arc::ptr_eq(&table.peek(&key("held")).unwrap(), &kept));
        assert!(table.stats().keys <= 10);
    }

    #[test]
    fn what_nobody_asks_for_goes_and_is_counted() {
        let table = SeriesTable::new(100, Duration::from_mins(1));
        let now = Instant::now();
        for _ in 0..2 {
            scrape(&table, "old", now);
        }
        assert!(scrape(&table, "new", now + Duration::from_secs(61)));
        assert_eq!(table.stats().keys, 1);
        assert_eq!(table.stats().evicted_idle, 1);
        assert!(scrape(&table, "old", now + Duration::from_secs(61)));
    }
}
