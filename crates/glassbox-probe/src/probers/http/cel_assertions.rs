//! Assertions on a JSON body in CEL, the Common Expression Language (<https://cel.dev>). `body` is the document.

use super::cel_limits::{self, CelLimitExceeded, CelLimits};
use super::functions;
use super::json_text::{self, JsonError};
use crate::check::{ProbeMemory, WorkClock, WorkStopped};
use cel::common::ast::{EntryExpr, Expr};
use cel::{Context, ExecutionError, IdedExpr, Program, Value};
use glassbox_verdict::reason::Reason;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    /// The expression with a limit check in each iteration of each loop.
    program: Arc<IdedExpr>,
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Fails if the expression is invalid or refers to a name other than `body`.
    pub fn new(source: &str) -> Result<Self, String> {
        let program = Program::compile(source).map_err(|errors| one_line(&errors.to_string()))?;
        if let Some(words) = undeclared(program.expression(), &mut vec!["body"]) {
            return Err(words);
        }
        Ok(Self {
            source: source.into(),
            program: Arc::new(cel_limits::loops(program.expression().clone())),
        })
    }

    /// Evaluates the expression for a document.
    fn holds(&self, context: &Context<'_, '_>) -> Result<bool, String> {
        match Value::resolve(&self.program, context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("the result is not a boolean".to_owned()),
            Err(error) => Err(words(&error)),
        }
    }
}

/// An error without the values that it concerns. The document may be large, deeply nested, or contain secrets.
fn words(error: &ExecutionError) -> String {
    use ExecutionError as E;
    match error {
        E::UnsupportedTargetType { target } => format!("unsupported type {}", target.type_of()),
        E::NotSupportedAsMethod { method, target } => {
            format!("method {method:?} is not supported on type {}", target.type_of())
        }
        E::UnsupportedKeyType(value) => format!("a value of type {} cannot be a key", value.type_of()),
        E::ValuesNotComparable(one, other) => {
            format!(
                "values of types {} and {} cannot be compared",
                one.type_of(),
                other.type_of()
            )
        }
        E::UnsupportedBinaryOperator(operator, one, other) => {
            let (one, other) = (one.type_of(), other.type_of());
            format!("operator {operator:?} is not supported on types {one} and {other}")
        }
        E::UnsupportedIndex(index, value) => {
            let (index, value) = (index.type_of(), value.type_of());
            format!("a value of type {index} is not a valid index for type {value}")
        }
        E::FunctionError { function, .. } => format!("function {function:?} failed"),
        E::DivisionByZero(_) => "division by zero".to_owned(),
        E::RemainderByZero(_) => "remainder of a division by zero".to_owned(),
        E::Overflow(operator, ..) => format!("operator {operator:?} overflows"),
        E::IndexOutOfBounds(_) => "index out of bounds".to_owned(),
        E::DuplicateKey(_) => "repeated key".to_owned(),
        E::UnexpectedType { want, .. } => format!("unexpected type: expected {want}"),
        // These contain counts, and names and types of the expression.
        E::InvalidArgumentCount { .. }
        | E::NoSuchKey(_)
        | E::NoSuchOverload(_)
        | E::UndeclaredReference(_)
        | E::MissingArgumentOrTarget => one_line(&error.to_string()),
        _ => "the evaluation failed".to_owned(),
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.source)
    }
}

/// Maximum number of concurrent evaluations per module. An expression may run for a long time.
const AT_ONCE: usize = 4;

/// Nesting depth that fits into the stack of any thread.
const SHALLOW: usize = 128;

/// Stack size in bytes for the deepest document: about 2 KiB per level. Only the used part occupies memory.
const LARGE_STACK: usize = 64 * 1024 * 1024;

/// A module's assertions on the JSON document.
#[derive(Clone, Debug)]
pub struct JsonAssertions {
    /// Fail if this is true.
    pub fail_if_matches: Option<Expression>,
    /// Fail if this is false.
    pub fail_if_not_matches: Option<Expression>,
    places: Arc<Semaphore>,
}

impl JsonAssertions {
    /// The assertions with their own evaluation permits.
    #[must_use]
    pub fn new(fail_if_matches: Option<Expression>, fail_if_not_matches: Option<Expression>) -> Self {
        Self {
            fail_if_matches,
            fail_if_not_matches,
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Whether there are no assertions.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.fail_if_matches.is_none() && self.fail_if_not_matches.is_none()
    }

    /// Acquires a permit for the evaluation, if there are assertions. Each module has its own permits, so that modules
    /// do not wait for each other.
    ///
    /// # Errors
    /// Fails if no permit becomes free within `time`.
    pub(super) async fn place(&self, time: Duration) -> Result<Option<OwnedSemaphorePermit>, String> {
        if self.is_empty() {
            return Ok(None);
        }
        let place = tokio::time::timeout(time, self.places.clone().acquire_owned()).await;
        // The semaphore is never closed.
        place.map(Result::ok).map_err(|_| {
            format!("{AT_ONCE} other evaluations of this module's CEL expressions ran until the deadline of this probe")
        })
    }

    /// Which assertion failed for a body of up to `most_values` JSON values. The evaluation stops at the deadline.
    pub(super) fn objection(
        &self,
        body: &[u8],
        most_values: usize,
        clock: &WorkClock,
        memory: &ProbeMemory,
    ) -> Result<Option<(Reason, String)>, WorkStopped> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut charge = memory.charge();
        if let Err(no_memory) = charge.set(cel_limits::held_by_document(body.len(), most_values)) {
            return Ok(Some((
                Reason::LocalOverloaded,
                format!("Parsing the JSON body: {no_memory}."),
            )));
        }
        if json_text::depth(body) <= SHALLOW {
            return self.objection_here(body, most_values, clock, memory);
        }
        // Comparing or dropping a value recurses into nested values. A deep document needs more stack than a thread has
        // by default.
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(LARGE_STACK);
            let judging = thread.spawn_scoped(scope, || self.objection_here(body, most_values, clock, memory));
            match judging.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(objection)) => objection,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                Err(error) => Ok(Some((
                    Reason::LocalOverloaded,
                    format!("Failed to start a thread for a deeply nested JSON document: {error}."),
                ))),
            }
        })
    }

    fn objection_here(
        &self,
        body: &[u8],
        most_values: usize,
        clock: &WorkClock,
        memory: &ProbeMemory,
    ) -> Result<Option<(Reason, String)>, WorkStopped> {
        let document = match json_text::read(body, most_values) {
            Ok(document) => document,
            Err(error @ JsonError::Invalid { .. }) => {
                return Ok(Some((
                    Reason::ContentJson,
                    format!("The body is not valid JSON: {error}."),
                )));
            }
            Err(JsonError::TooLarge) => {
                let words = format!("The body's JSON has more than {most_values} values (limits.json_values).");
                return Ok(Some((Reason::ContentJsonTooLarge, words)));
            }
        };
        let mut context = Context::default();
        context.add_variable_from_value("body", document);
        let bounds = CelLimits::new(clock, memory);
        bounds.hold_in(&mut context);
        functions::add_to(&mut context);
        let says = |expression: &Expression, unwanted: bool, words: &str| match expression.holds(&context) {
            Ok(holds) if holds == unwanted => Some(format!("The body {words} {:?}.", expression.source)),
            Ok(_) => None,
            Err(error) => Some(format!("CEL expression {:?} failed: {error}.", expression.source)),
        };
        let matches = self.fail_if_matches.as_ref();
        let unwanted = matches.and_then(|expression| says(expression, true, "matches the CEL expression"));
        let objection = unwanted.or_else(|| {
            let not_matches = self.fail_if_not_matches.as_ref();
            not_matches.and_then(|expression| says(expression, false, "does not match the CEL expression"))
        });
        match bounds.ended() {
            // The result is then meaningless.
            Some(CelLimitExceeded::Time) => Err(WorkStopped),
            Some(CelLimitExceeded::Memory(no_memory)) => {
                let words = format!("Evaluating the CEL expressions: {no_memory}.");
                Ok(Some((Reason::LocalOverloaded, words)))
            }
            None => Ok(objection.map(|words| (Reason::ContentJson, words))),
        }
    }
}

impl Default for JsonAssertions {
    fn default() -> Self {
        Self::new(None, None)
    }
}

/// The type names of CEL.
const TYPES: [&str; 10] = [
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// The first undeclared name in an expression; `None` if all names are declared. `known` are the declared variables.
fn undeclared<'e>(expression: &'e IdedExpr, known: &mut Vec<&'e str>) -> Option<String> {
    match &expression.expr {
        Expr::Ident(name) => {
            let declared = name.starts_with('@') || known.contains(&name.as_str()) || TYPES.contains(&name.as_str());
            (!declared).then(|| format!("undeclared reference to '{name}'; the document is named body"))
        }
        Expr::Call(call) if !functions::is_declared(call) => {
            let name = &call.func_name;
            Some(format!(
                "undeclared reference to the function '{name}': expected one of CEL's own, with its number of arguments"
            ))
        }
        Expr::Call(call) => call
            .target
            .iter()
            .map(|target| &**target)
            .chain(&call.args)
            .find_map(|part| undeclared(part, known)),
        Expr::List(list) => list.elements.iter().find_map(|element| undeclared(element, known)),
        Expr::Select(select) => undeclared(&select.operand, known),
        Expr::Map(map) => map.entries.iter().find_map(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => undeclared(&entry.key, known).or_else(|| undeclared(&entry.value, known)),
            EntryExpr::StructField(field) => undeclared(&field.value, known),
        }),
        Expr::Comprehension(over) => {
            let outer = undeclared(&over.iter_range, known).or_else(|| undeclared(&over.accu_init, known));
            let before = known.len();
            known.extend([over.iter_var.as_str(), over.accu_var.as_str()]);
            known.extend(over.iter_var2.as_deref());
            let inner = [&over.loop_cond, &over.loop_step, &over.result];
            let found = outer.or_else(|| inner.into_iter().find_map(|part| undeclared(part, known)));
            known.truncate(before);
            found
        }
        Expr::Struct(_) | Expr::Literal(_) | Expr::Unspecified => None,
    }
}

fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Expression, JsonAssertions};
    use crate::check::{MemoryPool, ProbeMemory, WorkClock, WorkStopped};
    use glassbox_verdict::reason::Reason;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    fn objection(fail_if: Option<&str>, fail_if_not: Option<&str>, body: &str) -> Option<String> {
        let compiled = |source: Option<&str>| source.map(|source| Expression::new(source).unwrap());
        let assertions = JsonAssertions::new(compiled(fail_if), compiled(fail_if_not));
        let memory = ProbeMemory::default();
        let objection = assertions.objection(body.as_bytes(), 100, &WorkClock::never(), &memory);
        objection.unwrap().map(|(_, words)| words)
    }

    #[test]
    fn an_expression_is_asked_of_the_document() {
        let body = r#"{"status": "up", "count": 3, "jobs": [{"name": "a", "ok": true}, {"name": "b", "ok": false}]}"#;
        for (expression, holds) in [
            ("body.status == 'up'", true),
            ("body.count > 2", true),
            ("body.count > 2.5", true),
            ("body.count == 3.0", true),
            ("body.jobs.exists(job, job.name == 'b' && !job.ok)", true),
            ("body.jobs.all(job, job.ok)", false),
            ("size(body.jobs) == 2", true),
            ("has(body.missing)", false),
            ("body['status'].startsWith('u')", true),
            ("body.status.matches('^[a-z]+$')", true),
            ("'status' in body", true),
            ("body.jobs.map(job, job.name) == ['a', 'b']", true),
            ("body.jobs.filter(job, job.ok).size() == 1", true),
            ("type(body.status) == string", true),
            ("timestamp('2024-02-29T23:59:58.5+05:30').getHours() == 18", true),
            ("timestamp('2024-02-29T23:59:58Z').getHours('+05:30') == 5", true),
            ("timestamp('2024-02-29T23:59:58Z').getDayOfYear() == 59", true),
            (
                "timestamp(1700000000) - duration('20s') == timestamp('2023-11-14T22:13:00Z')",
                true,
            ),
            ("duration('1h30m').getMinutes() == 90", true),
            ("body.jobs.all(job, timestamp(0) < timestamp(1))", true),
        ] {
            assert_eq!(objection(Some(expression), None, body).is_some(), holds, "{expression}");
            assert_eq!(
                objection(None, Some(expression), body).is_some(),
                !holds,
                "{expression}"
            );
        }
    }

    #[test]
    fn what_cannot_be_said_of_a_body_is_an_objection() {
        for (expression, body, words) in [
            ("body.a == 1", "not json", "The body is not valid JSON: "),
            ("body.missing == 1", "{}", "CEL expression \"body.missing == 1\" failed"),
            ("body.a", r#"{"a": 1}"#, "not a boolean"),
            (
                "timestamp(body.a) > timestamp(0)",
                r#"{"a": "today"}"#,
                "function \"timestamp\" failed",
            ),
            (
                "timestamp(body.a) > timestamp(0)",
                r#"{"a": 1}"#,
                "function \"timestamp\" failed",
            ),
            (
                "timestamp(-62135596801) < timestamp(0)",
                "{}",
                "function \"timestamp\" failed",
            ),
            (
                "duration(body.a) > duration('1s')",
                r#"{"a": "1d"}"#,
                "function \"duration\" failed",
            ),
        ] {
            let said = objection(Some(expression), None, body).unwrap();
            assert!(said.contains(words), "{said}");
            let said = objection(None, Some(expression), body).unwrap();
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(objection(None, None, "{}"), None);
    }

    #[test]
    fn an_error_has_nothing_of_the_document() {
        let body = r#"{"a": {"password": "hunter2"}, "l": ["hunter2"], "t": "hunter2"}"#;
        for expression in [
            "body.a + 1 == 2",
            "body.a - 1 == 2",
            "-body.t == 2",
            "body.l[5] == 2",
            "body.l[body.a] == 2",
            "{body.a: 1} == 2",
            "body.t.getHours() == 2",
            "body.a < body.l",
            "int(body.t) == 2",
            "1 / (size(body.t) - 7) == 2",
        ] {
            let said = objection(Some(expression), None, body).unwrap_or_default();
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    /// The library's own error formatting would recurse through all levels and abort the process.
    #[test]
    fn an_error_about_a_deep_document_is_told_without_it() {
        let deep = format!("{{\"a\":{}1{}}}", "{\"a\":".repeat(1_999), "}".repeat(1_999));
        let assertions = JsonAssertions::new(Some(Expression::new("body.a + 1 == 2").unwrap()), None);
        let objection = assertions.objection(deep.as_bytes(), 50_000, &WorkClock::never(), &ProbeMemory::default());
        let (reason, words) = objection.unwrap().unwrap();
        assert_eq!(reason, Reason::ContentJson);
        assert!(words.contains("operator") || words.contains("overload"), "{words}");
    }

    fn numbers(count: usize) -> Vec<u8> {
        format!("[{}0]", "0,".repeat(count - 1)).into_bytes()
    }

    #[test]
    fn an_expression_that_runs_long_stops_by_its_clock() {
        for expression in [
            "body.all(a, body.all(b, body.all(c, a == b)))",
            "!body.exists(a, body.exists(b, body.exists(c, a != b)))",
            "body.map(a, body.filter(b, body.exists(c, c != b))).size() == 1",
            "body.all(a, body.map(b, body.map(c, c).size()).size() > 0)",
            "false || body.all(a, body.all(b, body.all(c, true)) || true)",
        ] {
            let assertions = JsonAssertions::new(Some(Expression::new(expression).unwrap()), None);
            let begun = Instant::now();
            let clock = WorkClock::until(begun + Duration::from_millis(50));
            let objection = assertions.objection(&numbers(40_000), 50_000, &clock, &ProbeMemory::default());
            assert_eq!(objection, Err(WorkStopped), "{expression}");
            // Without the limits, this takes minutes.
            assert!(begun.elapsed() < Duration::from_secs(20), "{expression}");
        }
    }

    #[test]
    fn what_an_expression_makes_is_counted_while_it_lasts() {
        const MOST: usize = 4 << 20;
        let evaluated = |expression: &str, most| {
            let assertions = JsonAssertions::new(None, Some(Expression::new(expression).unwrap()));
            let memory = ProbeMemory::new(Arc::new(MemoryPool::default()), most);
            assertions
                .objection(&numbers(500), 50_000, &WorkClock::never(), &memory)
                .unwrap()
        };
        let large = "body.map(a, body.map(b, b)).size() == 500";
        assert_eq!(evaluated(large, usize::MAX), None);
        let (reason, words) = evaluated(large, MOST).unwrap();
        assert_eq!(reason, Reason::LocalOverloaded, "{words}");
        // The same number of values in total, but only a few hundred at the same time.
        assert_eq!(evaluated("body.all(a, body.map(b, b).size() == 500)", MOST), None);
        assert_eq!(
            evaluated("body.filter(a, body.map(b, b).size() == 1).size() == 0", MOST),
            None
        );
    }

    #[test]
    fn a_deep_document_is_judged_whatever_stack_a_thread_has() {
        let nested = |depth: usize, end: &str| "{\"a\":[".repeat(depth) + end + &"]}".repeat(depth);
        let deep = |end: &str| {
            let compiled = Expression::new("body == body && size(body.a) == 1").unwrap();
            let assertions = JsonAssertions::new(None, Some(compiled));
            let body = nested(1000, end);
            let small = std::thread::Builder::new().stack_size(256 * 1024);
            let judged = small.spawn(move || {
                let memory = ProbeMemory::default();
                assertions.objection(body.as_bytes(), 20_000, &WorkClock::never(), &memory)
            });
            judged.unwrap().join().unwrap().unwrap().map(|(_, words)| words)
        };
        assert_eq!(deep("1"), None);
        assert!(deep("x").is_some_and(|words| words.contains("is not valid JSON")));
        assert!(deep("[]").is_some_and(|words| words.contains("2000")));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for wrong in [
            "body.",
            "body ==",
            "(body",
            "foo == 1",
            "body.all(x, y == 1)",
            "[x]",
            "{'a': x}.a == 1",
        ] {
            assert!(Expression::new(wrong).is_err(), "{wrong}");
        }
    }
}
