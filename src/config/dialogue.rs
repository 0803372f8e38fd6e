//! Builds the settings of tcp and unix modules and the steps of `query_response`.

use super::address;
use super::file::{LabelFile, Spanned, StepFile, TcpFile, TlsFile, UnixFile};
use super::issue::ConfigIssue;
use super::read::at;
use super::regexps::regexp;
use super::tls;
use super::tree::below;
use glassbox_probe::check::Resolver;
use glassbox_probe::probers::script::{Expect, Script, Step};
use glassbox_probe::probers::tcp::TcpProber;
use glassbox_probe::probers::unix::UnixProber;
use std::sync::Arc;

/// Validates the keys and builds the tcp prober.
pub(super) fn tcp(file: &TcpFile, resolver: Arc<Resolver>, path: &str) -> Result<TcpProber, ConfigIssue> {
    Ok(TcpProber {
        family: address::family(file.preferred_ip_protocol.as_ref(), file.ip_protocol_fallback),
        resolver,
        source: address::source(file.source_ip_address.as_ref(), path)?,
        begins_with_tls: is_set(file.tls.as_ref()),
        tls: tls::build(file.tls_config.as_ref(), tls::AlpnOffer::Nothing, path)?,
        script: script(file.query_response.as_deref(), path)?,
    })
}

/// Validates the keys and builds the unix prober.
pub(super) fn unix(file: &UnixFile, resolver: Arc<Resolver>, path: &str) -> Result<UnixProber, ConfigIssue> {
    let steps = file.query_response.iter().flatten();
    let begins_tls = steps.filter_map(|step| step.value.starttls.as_ref()).chain(&file.tls);
    let names = |tls: &Spanned<TlsFile>| {
        let verifies = !tls.value.insecure_skip_verify.unwrap_or(false);
        !verifies || tls.value.server_name.as_ref().is_some_and(|name| !name.is_empty())
    };
    if let Some(written) = begins_tls.into_iter().find(|begins| begins.value)
        && !file.tls_config.as_ref().is_some_and(names)
    {
        let words = "TLS over a Unix socket requires the name in the certificate; set tls_config.server_name";
        return Err(at(written, path, "tls", words));
    }
    Ok(UnixProber {
        resolver,
        begins_with_tls: is_set(file.tls.as_ref()),
        tls: tls::build(file.tls_config.as_ref(), tls::AlpnOffer::Nothing, path)?,
        script: script(file.query_response.as_deref(), path)?,
    })
}

fn is_set(written: Option<&Spanned<bool>>) -> bool {
    written.is_some_and(|written| written.value)
}

/// The steps of a `query_response`.
pub(super) fn script(written: Option<&[Spanned<StepFile>]>, path: &str) -> Result<Script, ConfigIssue> {
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
