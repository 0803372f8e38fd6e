//! Searches large strings step by step with a lazy DFA, so that a search can be stopped at any time. The regular engine
//! cannot be stopped, and a counted repetition can take minutes on a string of several megabytes.

use regex_automata::Input;
use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::hybrid::{CacheError, LazyStateID};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_syntax::hir::Hir;

/// Size of the state cache of a search, in bytes. Some expressions need a larger cache, and then get it.
const CACHE: usize = 2 << 20;

/// Number of bytes between two calls of `is_over`. In the worst case, a byte that leads to a new state costs time
/// proportional to the number of states of the expression.
const STRIDE: usize = 64;

/// U+FFFD, which Go reads instead of a byte that is not valid UTF-8.
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// Builds the automaton of an expression. Returns `None` if this is not possible, or if the expression can match an
/// empty string: only the regular engine rejects empty matches within a character.
pub(super) fn build(hir: &Hir, limit: usize) -> Option<DFA> {
    if hir.properties().minimum_len() == Some(0) {
        return None;
    }
    let config = thompson::Config::new()
        .which_captures(WhichCaptures::None)
        .nfa_size_limit(Some(limit));
    let nfa = thompson::NFA::compiler().configure(config).build_from_hir(hir).ok()?;
    let config = Config::new().cache_capacity(CACHE).skip_cache_capacity_check(true);
    DFA::builder().configure(config).build_from_nfa(nfa).ok()
}

/// Whether the expression matches anywhere in a string. Returns `None` if `is_over` stops the search.
pub(super) fn is_match(dfa: &DFA, text: &[u8], is_over: impl Fn() -> bool) -> Option<bool> {
    let mut cache = dfa.create_cache();
    let Ok(start) = dfa.start_state_forward(&mut cache, &Input::new("")) else {
        return None;
    };
    let mut walk = Walk {
        dfa,
        cache,
        state: start,
    };
    for chunk in text.utf8_chunks() {
        for piece in chunk.valid().as_bytes().chunks(STRIDE) {
            if is_over() {
                return None;
            }
            if let Some(found) = walk.over(piece) {
                return Some(found);
            }
        }
        for _ in chunk.invalid() {
            if let Some(found) = walk.over(REPLACEMENT) {
                return Some(found);
            }
        }
        if is_over() {
            return None;
        }
    }
    walk.end().ok()
}

/// A running search.
struct Walk<'d> {
    dfa: &'d DFA,
    cache: Cache,
    state: LazyStateID,
}

impl Walk<'_> {
    /// Advances over some bytes, and returns the result as soon as it is known. A match is reported one byte late.
    fn over(&mut self, bytes: &[u8]) -> Option<bool> {
        for byte in bytes {
            // The cache can be cleared any number of times, so this does not fail.
            self.state = self.dfa.next_state(&mut self.cache, self.state, *byte).ok()?;
            if self.state.is_tagged() {
                if self.state.is_match() {
                    return Some(true);
                }
                if self.state.is_dead() {
                    return Some(false);
                }
            }
        }
        None
    }

    fn end(&mut self) -> Result<bool, CacheError> {
        let last = self.dfa.next_eoi_state(&mut self.cache, self.state)?;
        Ok(last.is_match())
    }
}
