//! Time and memory limits for CEL expressions. The library always evaluates an expression to its end, and nested loops
//! over a large document may never end.
//!
//! The expression is therefore rewritten before it runs: each iteration of each loop first calls [`LOOK`], which fails
//! if the deadline has passed or if the values created by the loops exceed the memory limit. `all` and `exists` call it
//! in their condition. `map` and `filter` call it in the appended value, because the library recognises these loops by
//! their form and optimises them. A loop ends with the error of its failed check. An enclosing loop may absorb the
//! error (`error || true` is true), and then ends at its own next check.
//!
//! Values are counted per *nest*. The values that inner loops create in one iteration of an `all`, an `exists` or a
//! guard are freed at the end of that iteration, so the next check of the outer loop resets their count.

use super::functions;
use crate::check::{Charge, NoMemory, ProbeMemory, WorkClock};
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};
use cel::common::types::CelInt;
use cel::{Context, ExecutionError, IdedExpr};
use parking_lot::Mutex;
use std::sync::Arc;

/// Name of the function that checks the limits. A user's expression cannot contain this name.
const LOOK: &str = "@look";

/// Estimated size of a value in bytes, including its slot in a list.
const VALUE: usize = 64;

/// Estimated size of a document value in bytes. A string has two allocations, and an entry of an object also has a key.
const DOCUMENT_VALUE: usize = 160;

/// Number of checks between two clock reads.
const STRIDE: u32 = 256;

/// Maximum memory of the document for a body of this size, in bytes.
pub(super) const fn held_by_document(body: usize, most_values: usize) -> usize {
    // The shortest value is a digit followed by a comma.
    let values = body / 2 + 1;
    let values = if values < most_values { values } else { most_values };
    body + values * DOCUMENT_VALUE
}

/// Why an expression was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CelLimitExceeded {
    /// The deadline has passed.
    Time,
    /// The values exceed the memory limit.
    Memory(NoMemory),
}

/// Rewrites an expression so that its loops check the limits.
pub(super) fn loops(mut expression: IdedExpr) -> IdedExpr {
    Rewriting { nests: 1 }.rewrite(&mut expression, 0);
    expression
}

/// The rewriting of an expression. It numbers the nests; the outermost is 0.
struct Rewriting {
    nests: i64,
}

/// Stands for the absence of a nest.
const NONE: i64 = -1;

impl Rewriting {
    fn rewrite(&mut self, expression: &mut IdedExpr, nest: i64) {
        match &mut expression.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
            Expr::Call(call) => {
                let parts = call.target.iter_mut().map(AsMut::as_mut).chain(&mut call.args);
                parts.for_each(|part| self.rewrite(part, nest));
                functions::redirect(call);
            }
            Expr::List(list) => list.elements.iter_mut().for_each(|element| self.rewrite(element, nest)),
            Expr::Select(select) => self.rewrite(&mut select.operand, nest),
            Expr::Map(map) => map
                .entries
                .iter_mut()
                .for_each(|entry| self.entry(&mut entry.expr, nest)),
            Expr::Struct(made) => made
                .entries
                .iter_mut()
                .for_each(|entry| self.entry(&mut entry.expr, nest)),
            Expr::Comprehension(over) => self.comprehension(over, nest),
        }
    }

    fn entry(&mut self, entry: &mut EntryExpr, nest: i64) {
        match entry {
            EntryExpr::MapEntry(entry) => {
                self.rewrite(&mut entry.key, nest);
                self.rewrite(&mut entry.value, nest);
            }
            EntryExpr::StructField(field) => self.rewrite(&mut field.value, nest),
        }
    }

    fn comprehension(&mut self, over: &mut ComprehensionExpr, nest: i64) {
        for part in [&mut over.iter_range, &mut over.accu_init, &mut over.result] {
            self.rewrite(part, nest);
        }
        let inner = self.nests;
        self.nests += 1;
        if !appends(over) {
            self.rewrite(&mut over.loop_cond, inner);
            self.rewrite(&mut over.loop_step, inner);
            return look_first(&mut over.loop_cond, NONE, inner);
        }
        let Expr::Call(step) = &mut over.loop_step.expr else {
            return;
        };
        if let [guard, append, _] = step.args.as_mut_slice() {
            self.rewrite(guard, inner);
            look_first(guard, nest, inner);
            self.rewrite(append, nest);
        } else {
            let appended = &mut step.args[1];
            self.rewrite(appended, nest);
            if let Expr::List(list) = &mut appended.expr
                && let Some(first) = list.elements.first_mut()
            {
                look_first(first, nest, NONE);
            }
        }
    }
}

/// Whether the library treats a loop as `map` or `filter`: its step is `@result + [value]`, optionally behind a guard.
fn appends(over: &ComprehensionExpr) -> bool {
    let is_accu = |part: &IdedExpr| matches!(&part.expr, Expr::Ident(name) if *name == over.accu_var);
    let is_append = |part: &IdedExpr| match &part.expr {
        Expr::Call(call) if call.func_name == operators::ADD && call.target.is_none() => {
            matches!(&call.args[..], [accu, list] if is_accu(accu) && matches!(list.expr, Expr::List(_)))
        }
        _ => false,
    };
    let has_form = match &over.loop_step.expr {
        Expr::Call(call) if call.func_name == operators::CONDITIONAL && call.target.is_none() => {
            matches!(&call.args[..], [_, append, otherwise] if is_append(append) && is_accu(otherwise))
        }
        _ => is_append(&over.loop_step),
    };
    has_form && is_accu(&over.result) && matches!(over.loop_cond.expr, Expr::Literal(_))
}

/// Rewrites an expression to `@look(nest, inner) ? expression : null`. A failed check becomes the result.
fn look_first(expression: &mut IdedExpr, nest: i64, inner: i64) {
    let id = expression.id;
    let literal = |value| IdedExpr {
        id,
        expr: Expr::Literal(value),
    };
    let call = |name: &str, args| IdedExpr {
        id,
        expr: Expr::Call(CallExpr {
            func_name: name.to_owned(),
            target: None,
            args,
        }),
    };
    let numbers = [nest, inner].map(|number| literal(LiteralValue::Int(CelInt::from(number))));
    let look = call(LOOK, numbers.to_vec());
    let then = std::mem::take(expression);
    *expression = call(operators::CONDITIONAL, vec![look, then, literal(LiteralValue::Null)]);
}

/// The limits of an evaluation.
#[derive(Debug)]
pub(super) struct CelLimits(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    clock: WorkClock,
    charge: Charge,
    charged: usize,
    turns: u32,
    /// Number of values per nest. `values` is their total.
    nests: Vec<usize>,
    values: usize,
    ended: Option<CelLimitExceeded>,
}

impl CelLimits {
    pub fn new(clock: &WorkClock, memory: &ProbeMemory) -> Self {
        Self(Arc::new(Mutex::new(State {
            clock: clock.clone(),
            charge: memory.charge(),
            charged: 0,
            turns: 0,
            nests: Vec::new(),
            values: 0,
            ended: None,
        })))
    }

    /// Applies the limits to evaluations in a context.
    pub fn hold_in(&self, context: &mut Context<'_, '_>) {
        let state = self.0.clone();
        let look = move |nest: i64, inner: i64| {
            let mut state = state.lock();
            state.look(nest, inner);
            match state.ended {
                None => Ok(true),
                Some(_) => Err(ExecutionError::function_error(LOOK, "stopped")),
            }
        };
        // The library does not define a function with this name.
        let _added = context.add_function(LOOK, look);
    }

    /// Why the evaluation was stopped, if it was.
    pub fn ended(&self) -> Option<CelLimitExceeded> {
        self.0.lock().ended
    }
}

impl State {
    fn look(&mut self, nest: i64, inner: i64) {
        if self.ended.is_some() {
            return;
        }
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(STRIDE) && self.clock.is_over() {
            self.ended = Some(CelLimitExceeded::Time);
        }
        if let Ok(inner) = usize::try_from(inner) {
            self.values -= std::mem::take(self.values_of(inner));
        }
        if let Ok(nest) = usize::try_from(nest) {
            *self.values_of(nest) += 1;
            self.values += 1;
            if self.values * VALUE > self.charged {
                self.charged += CHARGED_AT_ONCE;
                if let Err(no_memory) = self.charge.set(self.charged) {
                    self.ended = Some(CelLimitExceeded::Memory(no_memory));
                }
            }
        }
    }

    fn values_of(&mut self, nest: usize) -> &mut usize {
        if nest >= self.nests.len() {
            self.nests.resize(nest + 1, 0);
        }
        &mut self.nests[nest]
    }
}

/// Granularity of the memory accounting in bytes.
const CHARGED_AT_ONCE: usize = 1 << 20;
