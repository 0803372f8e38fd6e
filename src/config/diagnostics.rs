//! Builds a module's diagnostics settings (backends, cache bypass, reference request, addresses) and the controls of
//! the process.

use super::file::{BackendFile, ConfigFile, ControlFile, DiagnosticsFile, ModuleFile};
use glassbox_probe::controls::{ControlSpec, Controls};
use glassbox_probe::file::{ConfigIssue, Spanned, at, below, units};
use glassbox_probe::probers::{DiagnosticsSettings, When};
use glassbox_verdict::backend::Backend;
use glassbox_verdict::host_port::HostPort;
use std::net::{IpAddr, SocketAddr};
use url::Url;

/// Maximum number of controls. Every check of the exporter's own network probes all of them.
const MOST_CONTROLS: usize = 16;

pub(super) fn controls(file: &ConfigFile) -> Result<Controls, ConfigIssue> {
    let written = file.controls.as_deref().unwrap_or_default();
    if let Some(first_too_many) = written.get(MOST_CONTROLS) {
        let words = format!("too many controls: maximum {MOST_CONTROLS}");
        return Err(at(first_too_many, "", "controls", words));
    }
    let specs: Result<_, _> = written.iter().map(control).collect();
    specs.map(Controls::new)
}

fn control(file: &Spanned<ControlFile>) -> Result<ControlSpec, ConfigIssue> {
    let wrong = |key: &str, written: &Spanned<String>, words: String| Err(at(written, "controls", key, words));
    let ControlFile {
        name,
        expect,
        address,
        url,
    } = &file.value;
    match (name, address, url) {
        (Some(name), None, None) => {
            let addresses = expect.iter().flatten().map(|text| {
                text.value.parse().map_err(|_| {
                    let words = format!(
                        "invalid IP address {:?}: expected an address such as 192.0.2.1",
                        text.value
                    );
                    at(text, "controls", "expect", words)
                })
            });
            Ok(ControlSpec::Name {
                name: name.value.clone(),
                expect: addresses.collect::<Result<Vec<IpAddr>, _>>()?,
            })
        }
        (None, Some(address), None) if expect.is_none() => match address.value.parse::<SocketAddr>() {
            Ok(address) => Ok(ControlSpec::Address(address)),
            Err(_) => wrong(
                "address",
                address,
                format!(
                    "invalid address {:?}: expected an IP address and a port, such as 192.0.2.1:443",
                    address.value
                ),
            ),
        },
        (None, None, Some(url)) if expect.is_none() => match host_of(&url.value) {
            Some(control) => Ok(ControlSpec::Host(control)),
            None => wrong(
                "url",
                url,
                "invalid URL: expected an http or https URL such as https://control.example/".to_owned(),
            ),
        },
        _ => {
            let words = "a control requires exactly one of name, address and url; expect is allowed only with name";
            Err(at(file, "", "controls", words.to_owned()))
        }
    }
}

fn host_of(url: &str) -> Option<HostPort> {
    let url = Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .filter(|url| url.username().is_empty() && url.password().is_none())?;
    Some(HostPort::new(url.host_str()?, url.port_or_known_default()?))
}

pub(super) fn build(file: &ModuleFile, path: &str) -> Result<DiagnosticsSettings, ConfigIssue> {
    let diagnostics = file.diagnostics.clone().unwrap_or_default();
    let below_diagnostics = below(path, "diagnostics");
    Ok(DiagnosticsSettings {
        backends: backends(file, path)?,
        direct_requests: ask_backends(&diagnostics, &below_diagnostics)?,
        bypass: bypass(&diagnostics, &below_diagnostics)?,
        reference: diagnostics.reference_request.unwrap_or(false),
        all_addresses: all_addresses(file, path)?,
        budget: units::rate(
            diagnostics.budget.as_ref(),
            &below_diagnostics,
            "budget",
            DiagnosticsSettings::default().budget,
        )?,
    })
}

fn backends(file: &ModuleFile, path: &str) -> Result<Vec<Backend>, ConfigIssue> {
    let Some(written) = &file.backends else {
        return Ok(Vec::new());
    };
    let path = below(path, "backends");
    let backends = written
        .iter()
        .map(|file| backend(file, &path))
        .collect::<Result<Vec<_>, _>>()?;
    match (Backend::check_all(&backends), written.first()) {
        (Err(error), Some(first)) => Err(first.location.issue(&path, error.to_string())),
        _ => Ok(backends),
    }
}

fn backend(file: &Spanned<BackendFile>, path: &str) -> Result<Backend, ConfigIssue> {
    let BackendFile {
        name,
        address,
        tls,
        host,
        sni,
        reachable,
    } = &file.value;
    let (Some(name), Some(address)) = (name, address) else {
        let words = "a backend requires name and address, for example {name: app, address: 10.0.0.7:8080}";
        return Err(file.location.issue(path, words));
    };
    let backend =
        Backend::new(&name.value, &address.value).map_err(|error| file.location.issue(path, error.to_string()))?;
    if let Some(host) = host
        .as_ref()
        .filter(|host| http::HeaderValue::from_str(&host.value).is_err())
    {
        return Err(at(
            host,
            path,
            "host",
            "invalid host: expected a valid header value".to_owned(),
        ));
    }
    Ok(Backend {
        tls: tls.unwrap_or(false),
        authority: host
            .as_ref()
            .map(|host| host.value.clone())
            .filter(|host| !host.is_empty()),
        sni: sni.as_ref().map(|sni| sni.value.clone()).filter(|sni| !sni.is_empty()),
        reachable: reachable.unwrap_or(false),
        trusted: true,
        ..backend
    })
}

fn ask_backends(file: &DiagnosticsFile, path: &str) -> Result<When, ConfigIssue> {
    let Some(written) = &file.backends else {
        return Ok(When::OnFailure);
    };
    when(&written.value).ok_or_else(|| {
        let words = format!(
            "invalid value {:?}: expected always, on_failure or never (or false)",
            written.value
        );
        at(written, path, "backends", words)
    })
}

fn bypass(file: &DiagnosticsFile, path: &str) -> Result<When, ConfigIssue> {
    let Some(written) = &file.cache_bypass else {
        return Ok(When::Never);
    };
    let nth = |text: &str| match text.parse::<u32>().ok()? {
        0 => None,
        1 => Some(When::Always),
        nth => Some(When::Every(nth)),
    };
    when(&written.value).or_else(|| nth(&written.value)).ok_or_else(|| {
        let words = format!(
            "invalid value {:?}: expected always, on_failure, never (or false), or N for every Nth probe",
            written.value
        );
        at(written, path, "cache_bypass", words)
    })
}

fn when(text: &str) -> Option<When> {
    match text {
        "always" => Some(When::Always),
        "on_failure" => Some(When::OnFailure),
        "never" | "false" => Some(When::Never),
        _ => None,
    }
}

fn all_addresses(file: &ModuleFile, path: &str) -> Result<bool, ConfigIssue> {
    match &file.addresses {
        None => Ok(false),
        Some(written) => match written.value.as_str() {
            "first" => Ok(false),
            "all" => Ok(true),
            other => {
                let words = format!("invalid value {other:?}: expected first or all");
                Err(at(written, path, "addresses", words))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::DiagnosticsFile;
    use glassbox_probe::diagnostics::DIAGNOSTICS;

    /// Keys of the block that belong to all diagnostics.
    const OF_ALL: [&str; 1] = ["budget"];

    #[test]
    fn each_key_of_the_block_is_the_name_of_a_diagnostic() {
        for key in DiagnosticsFile::keys().iter().filter(|key| !OF_ALL.contains(key)) {
            assert!(DIAGNOSTICS.iter().any(|row| row.name == *key), "{key}");
        }
    }
}
