//! Cache of compiled expressions. Equal patterns share an engine, and the total memory is limited.
//!
//! A counted repetition of a large class, such as `\p{L}{1,100}`, compiles to a megabyte, because the class is copied
//! for each count. Small expressions are compiled immediately and kept. Large expressions are compiled at the first
//! search. If all large expressions together exceed [`BUDGET`], the least recently used ones are dropped.

use super::RegexpError;
use super::parse;
use super::stepper;
use parking_lot::Mutex;
use regex_automata::hybrid::dfa::DFA;
use regex_automata::meta::{self, Regex};
use regex_syntax::hir::{Class, Hir, HirKind};
use regex_syntax::utf8::Utf8Sequences;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

/// Maximum size of a compiled expression in bytes.
const LARGEST: usize = 32 << 20;

/// Maximum size of a small expression in bytes.
const SMALL: usize = 64 << 10;

/// Estimated size in bytes above which an expression is compiled when it is parsed. Only compilation shows whether it
/// exceeds [`LARGEST`].
const UNCERTAIN: usize = 8 << 20;

/// Maximum total size of the large expressions in bytes.
const BUDGET: usize = 32 << 20;

/// Maximum total size of the automata for large strings in bytes.
const STEPPERS_BUDGET: usize = 16 << 20;

/// Maximum number of ranges of a class whose states are counted without compiling it.
const FEW_RANGES: usize = 16;

/// Size of one state of the automaton in bytes, as measured by the test `the_estimate_is_near`.
const STATE: usize = 40;

/// The engine of an expression.
pub(super) enum Engine {
    Kept(Arc<Regex>),
    OnDemand(Arc<str>),
}

/// Returns the engine of an expression. Equal patterns share one engine.
///
/// # Errors
/// When the expression is too large.
pub(super) fn engine(pattern: &str, hir: &Hir) -> Result<Arc<Engine>, RegexpError> {
    if let Some(known) = KNOWN.lock().get(pattern).and_then(Weak::upgrade) {
        return Ok(known);
    }
    let size = estimate(hir);
    let engine = if size <= SMALL {
        Engine::Kept(Arc::new(compile(pattern, hir, LARGEST)?))
    } else {
        if size > UNCERTAIN {
            compile(pattern, hir, LARGEST)?;
        }
        Engine::OnDemand(pattern.into())
    };
    let engine = Arc::new(engine);
    let mut known = KNOWN.lock();
    if known.len() == known.capacity() {
        known.retain(|_, engine| engine.strong_count() > 0);
    }
    known.insert(pattern.into(), Arc::downgrade(&engine));
    Ok(engine)
}

impl Engine {
    /// Returns the compiled expression. Compiles it if necessary.
    pub fn get(&self) -> Arc<Regex> {
        match self {
            Self::Kept(regex) => regex.clone(),
            Self::OnDemand(pattern) => on_demand(pattern),
        }
    }
}

/// Returns the automaton that searches large strings step by step, or `None` if the expression does not support it.
pub(super) fn stepper(pattern: &Arc<str>) -> Option<Arc<DFA>> {
    if let Some(known) = STEPPERS.lock().get(pattern) {
        return Some(known);
    }
    let parsed = parse::parse(pattern).expect("the pattern has been parsed before");
    let dfa = Arc::new(stepper::build(&parsed.hir, 8 * LARGEST)?);
    let size = dfa.memory_usage();
    STEPPERS.lock().put(pattern, dfa.clone(), size, STEPPERS_BUDGET);
    Some(dfa)
}

/// Engines in use, by pattern.
static KNOWN: LazyLock<Mutex<HashMap<Arc<str>, Weak<Engine>>>> = LazyLock::new(Mutex::default);

/// Compiled large expressions.
static LARGE: LazyLock<Mutex<Large<Regex>>> = LazyLock::new(Mutex::default);

/// Automata for large strings.
static STEPPERS: LazyLock<Mutex<Large<DFA>>> = LazyLock::new(Mutex::default);

struct Large<T> {
    compiled: HashMap<Arc<str>, Compiled<T>>,
    size: usize,
    uses: u64,
}

struct Compiled<T> {
    regex: Arc<T>,
    size: usize,
    used: u64,
}

impl<T> Default for Large<T> {
    fn default() -> Self {
        Self {
            compiled: HashMap::new(),
            size: 0,
            uses: 0,
        }
    }
}

impl<T> Large<T> {
    fn get(&mut self, pattern: &str) -> Option<Arc<T>> {
        self.uses += 1;
        let compiled = self.compiled.get_mut(pattern)?;
        compiled.used = self.uses;
        Some(compiled.regex.clone())
    }

    /// Inserts an entry, and evicts the least recently used entries if the total exceeds `budget`.
    fn put(&mut self, pattern: &Arc<str>, regex: Arc<T>, size: usize, budget: usize) {
        let used = self.uses;
        let compiled = Compiled { regex, size, used };
        self.size += size;
        if let Some(before) = self.compiled.insert(pattern.clone(), compiled) {
            self.size -= before.size;
        }
        while self.size > budget && self.compiled.len() > 1 {
            let oldest = self.compiled.iter().min_by_key(|(_, compiled)| compiled.used);
            let Some(oldest) = oldest.map(|(pattern, _)| pattern.clone()) else {
                return;
            };
            self.size -= self.compiled.remove(&oldest).map_or(0, |compiled| compiled.size);
        }
    }
}

/// Returns a compiled large expression. Compiles it without holding a lock, because compilation takes milliseconds.
fn on_demand(pattern: &Arc<str>) -> Arc<Regex> {
    if let Some(compiled) = LARGE.lock().get(pattern) {
        return compiled;
    }
    let parsed = parse::parse(pattern).expect("the pattern has been parsed before");
    // The size was checked when the expression was parsed and is far below this limit.
    let regex = compile(pattern, &parsed.hir, 8 * LARGEST).expect("the size has been checked");
    let regex = Arc::new(regex);
    let size = regex.memory_usage();
    LARGE.lock().put(pattern, regex.clone(), size, BUDGET);
    regex
}

fn compile(pattern: &str, hir: &Hir, limit: usize) -> Result<Regex, RegexpError> {
    let config = meta::Config::new()
        .utf8_empty(true)
        .nfa_size_limit(Some(limit))
        .onepass_size_limit(Some(limit));
    meta::Builder::new()
        .configure(config)
        .build_from_hir(hir)
        .map_err(|_| RegexpError::new("expression too large", pattern))
}

/// Estimates the size of the compiled expression in bytes, with states for the forward and the backward search.
fn estimate(hir: &Hir) -> usize {
    states(hir).saturating_mul(2 * STATE)
}

fn states(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(Class::Bytes(_)) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        // Many ranges share states, so only compilation shows the number of states.
        HirKind::Class(Class::Unicode(class)) if class.ranges().len() > FEW_RANGES => {
            let alone = compile("", &Hir::class(Class::Unicode(class.clone())), LARGEST);
            alone.map_or(LARGEST, |regex| regex.memory_usage()) / (2 * STATE)
        }
        HirKind::Class(Class::Unicode(class)) => {
            let ranges = class.ranges().iter();
            let sequences = ranges.flat_map(|range| Utf8Sequences::new(range.start(), range.end()));
            // All single-byte sequences share one state.
            1 + sequences.map(|sequence| sequence.len() - 1).sum::<usize>()
        }
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            let times = usize::try_from(times).unwrap_or(usize::MAX);
            (states(&repetition.sub) + 1).saturating_mul(times)
        }
        HirKind::Capture(capture) => states(&capture.sub).saturating_add(2),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(states).fold(1, usize::saturating_add),
    }
}

#[cfg(test)]
mod tests {
    use super::{BUDGET, Engine, LARGE, LARGEST, compile, engine, estimate, parse};
    use std::sync::Arc;

    fn of(pattern: &str) -> Arc<Engine> {
        engine(pattern, &parse::parse(pattern).unwrap().hir).unwrap()
    }

    #[test]
    fn the_estimate_is_near() {
        for pattern in [
            "hello world",
            "[a-z]{1,200}",
            r"^\w{1,64}@\w{1,64}\.[a-z]{2,20}$",
            ".{1,1000}end",
            "(?i)status.{0,200}ok",
            r"\p{L}{1,100}",
            r"([a-z]{1,20}\.){1,10}",
            r"[^a-z]{50}",
        ] {
            let hir = parse::parse(pattern).unwrap().hir;
            let real = compile(pattern, &hir, LARGEST).unwrap().memory_usage();
            let (real, estimated) = (real.max(4096), estimate(&hir).max(4096));
            println!("{pattern}: {real} {estimated}");
            assert!(
                real < 8 * estimated && estimated < 8 * real,
                "{pattern}: {real} {estimated}"
            );
        }
    }

    #[test]
    fn what_is_written_alike_is_compiled_once() {
        assert!(Arc::ptr_eq(&of("^written alike$"), &of("^written alike$")));
        assert!(!Arc::ptr_eq(&of("^written alike$"), &of("^written otherwise$")));
    }

    #[test]
    fn large_expressions_are_compiled_when_they_are_needed_and_bounded_together() {
        assert!(matches!(*of("^[a-z]+ ready$"), Engine::Kept(_)));
        let patterns: Vec<_> = (0..60).map(|number| format!(r"^\p{{L}}{{1,100}} {number}$")).collect();
        let engines: Vec<_> = patterns.iter().map(|pattern| of(pattern)).collect();
        for (number, engine) in engines.iter().enumerate() {
            assert!(matches!(**engine, Engine::OnDemand(_)));
            assert!(engine.get().is_match(&format!("größe {number}")), "{number}");
            assert!(LARGE.lock().size <= BUDGET);
        }
        let kept = LARGE.lock().compiled.len();
        assert!(kept > 1 && kept < patterns.len(), "{kept}");
        // The first expression was evicted and is compiled again.
        assert!(engines[0].get().is_match("größe 0") && !engines[0].get().is_match("größe 1"));
    }
}
