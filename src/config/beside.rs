//! Composes what is asked beside the front: hops, bypass, reference request, addresses, controls.

use super::file::{At, ConfigFile, ControlFile, HopFile, ModuleFile};
use super::problem::{Problem, at};
use super::tree::below;
use crate::controls::{ControlSpec, Controls};
use crate::hop::Hop;
use crate::probers::{Beside, When};
use std::net::{IpAddr, SocketAddr};
use url::{Host, Url};

/// Controls, at most: each is asked with every look at our own side.
const MOST_CONTROLS: usize = 16;

pub(super) fn controls(file: &ConfigFile) -> Result<Controls, Problem> {
    let written = file.controls.as_deref().unwrap_or_default();
    if let Some(first_too_many) = written.get(MOST_CONTROLS) {
        let words = format!("there may be at most {MOST_CONTROLS} controls; leave out from here on");
        return Err(at(first_too_many, "", "controls", words));
    }
    let specs: Result<_, _> = written.iter().map(control).collect();
    specs.map(Controls::new)
}

fn control(file: &At<ControlFile>) -> Result<ControlSpec, Problem> {
    let wrong = |key: &str, written: &At<String>, words: String| Err(at(written, "controls", key, words));
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
                    let words = format!("{:?} is no address; write one such as 192.0.2.1", text.value);
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
                    "{:?} is no address with a port; write one such as 192.0.2.1:443",
                    address.value
                ),
            ),
        },
        (None, None, Some(url)) if expect.is_none() => match host_of(&url.value) {
            Some((host, port)) => Ok(ControlSpec::Host { host, port }),
            None => wrong(
                "url",
                url,
                "this is no URL; write one such as https://control.example/".to_owned(),
            ),
        },
        _ => {
            let words = "a control has one of name, address and url; expect goes with name only";
            Err(at(file, "", "controls", words.to_owned()))
        }
    }
}

fn host_of(url: &str) -> Option<(String, u16)> {
    let url = Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .filter(|url| url.username().is_empty() && url.password().is_none())?;
    let host = match url.host()? {
        Host::Ipv6(address) => address.to_string(),
        host => host.to_string(),
    };
    Some((host, url.port_or_known_default()?))
}

pub(super) fn compose(file: &ModuleFile, path: &str) -> Result<Beside, Problem> {
    Ok(Beside {
        hops: hops(file, path)?,
        drill: drill(file, path)?,
        bypass: bypass(file, path)?,
        reference: file.reference_request.unwrap_or(false),
        all_addresses: all_addresses(file, path)?,
    })
}

fn hops(file: &ModuleFile, path: &str) -> Result<Vec<Hop>, Problem> {
    let Some(written) = &file.hops else {
        return Ok(Vec::new());
    };
    let path = below(path, "hops");
    let hops = written
        .iter()
        .map(|file| hop(file, &path))
        .collect::<Result<Vec<_>, _>>()?;
    match (Hop::check_all(&hops), written.first()) {
        (Err(error), Some(first)) => Err(first.place.problem(&path, error.to_string())),
        _ => Ok(hops),
    }
}

fn hop(file: &At<HopFile>, path: &str) -> Result<Hop, Problem> {
    let HopFile {
        name,
        address,
        tls,
        host,
        sni,
        reachable,
    } = &file.value;
    let (Some(name), Some(address)) = (name, address) else {
        let words = "a hop needs a name and an address, for example {name: app, address: 10.0.0.7:8080}";
        return Err(file.place.problem(path, words));
    };
    let hop = Hop::new(&name.value, &address.value).map_err(|error| file.place.problem(path, error.to_string()))?;
    if let Some(host) = host
        .as_ref()
        .filter(|host| http::HeaderValue::from_str(&host.value).is_err())
    {
        return Err(at(
            host,
            path,
            "host",
            "the host cannot be written in a header".to_owned(),
        ));
    }
    Ok(Hop {
        tls: tls.unwrap_or(false),
        authority: host
            .as_ref()
            .map(|host| host.value.clone())
            .filter(|host| !host.is_empty()),
        sni: sni.as_ref().map(|sni| sni.value.clone()).filter(|sni| !sni.is_empty()),
        reachable: reachable.unwrap_or(false),
        trusted: true,
        ..hop
    })
}

fn drill(file: &ModuleFile, path: &str) -> Result<When, Problem> {
    match &file.drill {
        None => Ok(When::OnFailure),
        Some(written) => match written.value.as_str() {
            "on_failure" => Ok(When::OnFailure),
            "always" => Ok(When::Always),
            "never" => Ok(When::Never),
            other => {
                let words = format!("{other:?} is no time to drill; write on_failure, always or never");
                Err(at(written, path, "drill", words))
            }
        },
    }
}

fn bypass(file: &ModuleFile, path: &str) -> Result<When, Problem> {
    let Some(written) = &file.bypass_cache else {
        return Ok(When::Never);
    };
    match (written.value.as_str(), written.value.parse::<u32>()) {
        ("never", _) => Ok(When::Never),
        ("on_failure", _) => Ok(When::OnFailure),
        (_, Ok(1)) => Ok(When::Always),
        (_, Ok(nth)) if nth > 1 => Ok(When::Every(nth)),
        (other, _) => {
            let words =
                format!("{other:?} is no time to pass the caches; write never, on_failure, or N for every Nth probe");
            Err(at(written, path, "bypass_cache", words))
        }
    }
}

fn all_addresses(file: &ModuleFile, path: &str) -> Result<bool, Problem> {
    match &file.addresses {
        None => Ok(false),
        Some(written) => match written.value.as_str() {
            "first" => Ok(false),
            "all" => Ok(true),
            other => {
                let words = format!("{other:?} does not say which addresses to probe; write first or all");
                Err(at(written, path, "addresses", words))
            }
        },
    }
}
