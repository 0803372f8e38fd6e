//! The steps of a dialogue: the block `query_response`.

use crate::block;
use crate::file::read::ConfiguredBody;
use crate::file::regexps::regexp;
use crate::file::{ConfigIssue, Spanned, at, below};
use crate::probers::script::{Expect, Script, Step};

block! {
    /// A step of `query_response`.
    StepFile {
        expect: Spanned<String>,
        expect_bytes: Spanned<ConfiguredBody>,
        labels: Vec<Spanned<LabelFile>>,
        send: ConfiguredBody,
        starttls: Spanned<bool>,
    } unserved {}
}

block! {
    /// A label whose value contains groups of the match.
    LabelFile {
        name: Spanned<String>,
        value: String,
    } unserved {}
}

/// Whether a key is present and true.
pub(crate) fn is_set(written: Option<&Spanned<bool>>) -> bool {
    written.is_some_and(|written| written.value)
}

/// The steps of a `query_response`.
pub(crate) fn script(written: Option<&[Spanned<StepFile>]>, path: &str) -> Result<Script, ConfigIssue> {
    let path = below(path, "query_response");
    let steps = written.unwrap_or_default().iter();
    steps
        .map(|file| step(file, &path))
        .collect::<Result<_, _>>()
        .map(Script)
}

fn step(file: &Spanned<StepFile>, path: &str) -> Result<Step, ConfigIssue> {
    let StepFile {
        expect,
        expect_bytes,
        labels,
        send,
        starttls,
    } = &file.value;
    let pattern = expect.as_ref().filter(|written| !written.value.is_empty());
    let bytes = expect_bytes.as_ref().filter(|bytes| !bytes.value.0.is_empty());
    let expect = match (pattern, bytes) {
        (Some(_), Some(second)) => {
            let words = "expect and expect_bytes cannot be used in the same step; write two steps";
            return Err(at(second, path, "expect_bytes", words));
        }
        (Some(pattern), None) => Some(Expect::Regexp(regexp(pattern, path, "expect")?)),
        (None, Some(bytes)) => Some(Expect::Bytes(bytes.value.0.clone())),
        (None, None) => None,
    };
    Ok(Step {
        expect,
        labels: self::labels(labels.as_deref(), path)?,
        send: send.clone().unwrap_or_default().0,
        starttls: is_set(starttls.as_ref()),
    })
}

fn labels(written: Option<&[Spanned<LabelFile>]>, path: &str) -> Result<Vec<(String, String)>, ConfigIssue> {
    let path = below(path, "labels");
    let mut labels: Vec<(String, String)> = Vec::new();
    for file in written.unwrap_or_default() {
        let Some(name) = &file.value.name else {
            return Err(at(
                file,
                &path,
                "name",
                "missing label name: expected a name such as version",
            ));
        };
        if !is_label(&name.value) {
            let words = format!(
                "invalid label name {:?}: expected letters, digits and underscores, not starting with a digit or __",
                name.value
            );
            return Err(at(name, &path, "name", words));
        }
        if labels.iter().any(|(known, _)| *known == name.value) {
            let words = format!("duplicate label {:?} in this step", name.value);
            return Err(at(name, &path, "name", words));
        }
        labels.push((name.value.clone(), file.value.value.clone().unwrap_or_default()));
    }
    Ok(labels)
}

/// Whether a name is a valid label name in the Prometheus data model.
fn is_label(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter) && !name.starts_with("__") && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}
