//! Searches large texts step by step, with a lazy DFA: it can be stopped at each byte. The usual engine cannot, and a counted repetition
//! over a text of megabytes takes it minutes.

use regex_automata::Input;
use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::hybrid::{CacheError, LazyStateID};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_syntax::hir::Hir;

/// Bytes of states that are kept while one text is searched; fewer than some expressions need at once, which then have what they need.
const CACHE: usize = 2 << 20;

/// Bytes between two looks at the clock. A byte takes as long as the expression has states, where it leads to a new one.
const STRIDE: usize = 64;

/// What Go reads in place of a byte that is no UTF-8: U+FFFD.
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// The automaton of an expression. None where it cannot be one, or might match nothing within a character, which only the usual engine
/// tells from a match.
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

/// Whether the expression is found anywhere in a text; none where the search was over first.
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

/// A search under way.
struct Walk<'d> {
    dfa: &'d DFA,
    cache: Cache,
    state: LazyStateID,
}

impl Walk<'_> {
    /// Goes over some bytes. Tells the result where it is known. A state matches one byte late.
    fn over(&mut self, bytes: &[u8]) -> Option<bool> {
        for byte in bytes {
            // The cache may be cleared as often as is needed: that is no error.
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
