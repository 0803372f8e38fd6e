//! Builds a module's diagnostics settings and backends, and the controls of the process.

use super::file::{BackendFile, ConfigFile, ControlFile, Members, ModuleFile};
use glassbox_probe::controls::{ControlSpec, Controls};
use glassbox_probe::file::{ConfigIssue, Spanned, at, below};
use glassbox_probe::probers::DiagnosticsSettings;
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
    Ok(DiagnosticsSettings {
        backends: backends(file, path)?,
        all_addresses: all_addresses(file, path)?,
        ..diagnostics.settings(&below(path, "diagnostics"))?
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
        members,
        tls,
        host,
        sni,
        reachable,
    } = &file.value;
    let machines: Vec<&Spanned<String>> = match (address, members) {
        (Some(address), None) => vec![address],
        (None, Some(Members(members))) => members.iter().collect(),
        _ => Vec::new(),
    };
    let (Some(name), [_, ..]) = (name, machines.as_slice()) else {
        let words = "a backend requires a name, and either address or members, for example \
                     {name: app, address: 10.0.0.7:8080} or {name: app, members: [10.0.0.7:8080, 10.0.0.8:8080]}";
        return Err(file.location.issue(path, words));
    };
    let backend = if let Some(address) = address {
        Backend::new(&name.value, &address.value)
    } else {
        let members: Vec<&str> = machines.iter().map(|member| member.value.as_str()).collect();
        Backend::pool(&name.value, &members)
    };
    let backend = backend.map_err(|error| file.location.issue(path, error.to_string()))?;
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
