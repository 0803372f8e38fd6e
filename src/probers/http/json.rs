//! Assertions on a JSON body in CEL, the Common Expression Language (<https://cel.dev>): `body` is the document.

use super::document::{self, NoDocument};
use crate::reason::Reason;
use cel::common::ast::{EntryExpr, Expr};
use cel::{Context, IdedExpr, Program, Value};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// An expression, compiled.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    program: Arc<Program>,
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// When it is none, or names something else than `body`.
    pub fn new(source: &str) -> Result<Self, String> {
        let program = Program::compile(source).map_err(|errors| one_line(&errors.to_string()))?;
        if let Some(name) = undeclared(program.expression(), &mut vec!["body"]) {
            return Err(format!("undeclared reference to '{name}'; the document is called body"));
        }
        Ok(Self {
            source: source.into(),
            program: Arc::new(program),
        })
    }

    /// What it says of a document.
    fn holds(&self, context: &Context<'_, '_>) -> Result<bool, String> {
        match self.program.execute(context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("its result is neither true nor false".to_owned()),
            Err(error) => Err(one_line(&error.to_string())),
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.source)
    }
}

/// Evaluations of one module that run together: an expression can run long, and cannot be stopped.
const AT_ONCE: usize = 4;

/// What a module asserts.
#[derive(Clone, Debug)]
pub struct JsonAssertions {
    /// Fail if this holds.
    pub fail_if_matches: Option<Expression>,
    /// Fail if this does not hold.
    pub fail_if_not_matches: Option<Expression>,
    places: Arc<Semaphore>,
}

impl JsonAssertions {
    /// These assertions, with places of their own to be evaluated in.
    #[must_use]
    pub fn new(fail_if_matches: Option<Expression>, fail_if_not_matches: Option<Expression>) -> Self {
        Self {
            fail_if_matches,
            fail_if_not_matches,
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Whether nothing is asserted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.fail_if_matches.is_none() && self.fail_if_not_matches.is_none()
    }

    /// A place to be evaluated in, where one is needed: other modules do not wait for this one's expressions.
    ///
    /// # Errors
    /// When none comes free within `time`.
    pub(super) async fn place(&self, time: Duration) -> Result<Option<OwnedSemaphorePermit>, String> {
        if self.is_empty() {
            return Ok(None);
        }
        let place = tokio::time::timeout(time, self.places.clone().acquire_owned()).await;
        // They are never closed.
        place.map(Result::ok).map_err(|_| {
            format!("{AT_ONCE} evaluations of this module's CEL expressions took all of this probe's time")
        })
    }

    /// What is wrong with a body of at most so many JSON values. An expression can run long.
    pub(super) fn objection(&self, body: &[u8], most_values: usize) -> Option<(Reason, String)> {
        if self.is_empty() {
            return None;
        }
        let document = match document::read(body, most_values) {
            Ok(document) => document,
            Err(NoDocument::Invalid(error)) => {
                return Some((Reason::ContentJson, format!("The body is no JSON: {error}.")));
            }
            Err(NoDocument::TooLarge) => {
                let words = format!("The body's JSON has more than {most_values} values: limits.json_values.");
                return Some((Reason::ContentJsonTooLarge, words));
            }
        };
        let mut context = Context::default();
        context.add_variable_from_value("body", document);
        let says = |expression: &Expression, unwanted: bool, words: &str| match expression.holds(&context) {
            Ok(holds) if holds == unwanted => Some(format!("The body {words} {:?}.", expression.source)),
            Ok(_) => None,
            Err(error) => Some(format!("{:?} cannot be said of the body: {error}.", expression.source)),
        };
        let matches = self.fail_if_matches.as_ref();
        let unwanted = matches.and_then(|expression| says(expression, true, "fits the CEL expression"));
        let objection = unwanted.or_else(|| {
            let not_matches = self.fail_if_not_matches.as_ref();
            not_matches.and_then(|expression| says(expression, false, "does not fit the CEL expression"))
        });
        objection.map(|words| (Reason::ContentJson, words))
    }
}

impl Default for JsonAssertions {
    fn default() -> Self {
        Self::new(None, None)
    }
}

/// The types that CEL knows by name.
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

/// A name that stands for nothing. `known` are the names that stand for something here.
fn undeclared<'e>(expression: &'e IdedExpr, known: &mut Vec<&'e str>) -> Option<&'e str> {
    match &expression.expr {
        Expr::Ident(name) => {
            let declared = name.starts_with('@') || known.contains(&name.as_str()) || TYPES.contains(&name.as_str());
            (!declared).then_some(name)
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

    fn objection(fail_if: Option<&str>, fail_if_not: Option<&str>, body: &str) -> Option<String> {
        let compiled = |source: Option<&str>| source.map(|source| Expression::new(source).unwrap());
        let assertions = JsonAssertions::new(compiled(fail_if), compiled(fail_if_not));
        assertions.objection(body.as_bytes(), 100).map(|(_, words)| words)
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
            ("body.a == 1", "not json", "The body is no JSON: "),
            ("body.missing == 1", "{}", "cannot be said of the body"),
            ("body.a", r#"{"a": 1}"#, "neither true nor false"),
        ] {
            let said = objection(Some(expression), None, body).unwrap();
            assert!(said.contains(words), "{said}");
            let said = objection(None, Some(expression), body).unwrap();
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(objection(None, None, "{}"), None);
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
