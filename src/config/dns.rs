//! Composes a dns module from its keys.

use super::address;
use super::file::{At, DnsFile, RecordRulesFile};
use super::problem::{Place, Problem, at};
use super::regexps::regexps;
use super::tls;
use super::tree::below;
use crate::check::Resolver;
use crate::probers::dns::{DnsSettings, RecordRules, Transport, rcode_number, read_name, type_number};
use hickory_proto::rr::Name;
use std::sync::Arc;

/// The classes that the peer knows by name (RFC 1035 section 3.2.4, RFC 2136 section 2.4).
const CLASSES: [(&str, u16); 6] = [("IN", 1), ("CS", 2), ("CH", 3), ("HS", 4), ("NONE", 254), ("ANY", 255)];

/// Checks every key and gives what runs. A module without the block asks for everything at the root, as with the peer.
pub(super) fn compose(file: Option<&At<DnsFile>>, resolver: Arc<Resolver>, path: &str) -> Result<DnsSettings, Problem> {
    let name = match file {
        None => Name::root(),
        Some(file) => query_name(file, path)?,
    };
    let defaults = DnsFile::default();
    let file = file.map_or(&defaults, |file| &file.value);
    Ok(DnsSettings {
        family: address::family(file.preferred_ip_protocol.as_ref(), file.ip_protocol_fallback),
        resolver,
        source: address::source(file.source_ip_address.as_ref(), path)?,
        transport: transport(file, path)?,
        tls: tls::compose(file.tls_config.as_ref(), tls::Offer::Http2, path)?,
        name,
        record_type: match &file.query_type {
            Some(written) if !written.value.is_empty() => type_number(&written.value).ok_or_else(|| {
                let words = format!(
                    "query type {:?} is not valid; write one in capitals, such as A or SOA",
                    written.value
                );
                at(written, path, "query_type", words)
            })?,
            _ => 255,
        },
        class: class(file, path)?,
        recursion_desired: file.recursion_desired.unwrap_or(true),
        valid_rcodes: rcodes(file, path)?,
        answers: rules(file.validate_answer_rrs.as_ref(), path, "validate_answer_rrs")?,
        authorities: rules(file.validate_authority_rrs.as_ref(), path, "validate_authority_rrs")?,
        additionals: rules(file.validate_additional_rrs.as_ref(), path, "validate_additional_rrs")?,
    })
}

/// A name that ends with its dot, written or not.
fn query_name(file: &At<DnsFile>, path: &str) -> Result<Name, Problem> {
    let Some(written) = file.value.query_name.as_ref().filter(|name| !name.value.is_empty()) else {
        return Err(at(file, path, "query_name", "query name must be set for DNS module"));
    };
    read_name(&written.value).map_err(|why| {
        let words = format!("{:?} is not a valid name: {why}", written.value);
        at(written, path, "query_name", words)
    })
}

fn transport(file: &DnsFile, path: &str) -> Result<Transport, Problem> {
    let written = file
        .transport_protocol
        .as_ref()
        .filter(|written| !written.value.is_empty());
    let over_tls = file.dns_over_tls.as_ref().filter(|over| over.value);
    match (written.map(|written| written.value.as_str()), over_tls) {
        (Some("tcp"), Some(_)) => Ok(Transport::Tls),
        (Some("tcp"), None) => Ok(Transport::Tcp),
        (Some("https"), None) => Ok(Transport::Https),
        (None | Some("udp"), None) => Ok(Transport::Udp),
        (None | Some("udp" | "https"), Some(over)) => {
            let words = "DNS over TLS goes over TCP; add transport_protocol: tcp";
            Err(at(over, path, "dns_over_tls", words))
        }
        (Some(other), _) => {
            let words = format!("{other:?} is no transport of DNS; write udp, tcp or https");
            let place = written.map_or(Place::START, |written| written.place);
            Err(place.problem(below(path, "transport_protocol"), words))
        }
    }
}

fn class(file: &DnsFile, path: &str) -> Result<u16, Problem> {
    let Some(written) = file.query_class.as_ref().filter(|written| !written.value.is_empty()) else {
        return Ok(1);
    };
    let known = CLASSES.iter().find(|(name, _)| *name == written.value);
    known.map(|(_, number)| *number).ok_or_else(|| {
        let words = format!(
            "query class {:?} is not valid; write IN, CS, CH, HS, NONE or ANY",
            written.value
        );
        at(written, path, "query_class", words)
    })
}

fn rcodes(file: &DnsFile, path: &str) -> Result<Vec<u16>, Problem> {
    let codes = file.valid_rcodes.iter().flatten().map(|written| {
        rcode_number(&written.value).ok_or_else(|| {
            let words = format!(
                "{:?} is no response code; write one such as NOERROR or NXDOMAIN",
                written.value
            );
            at(written, path, "valid_rcodes", words)
        })
    });
    codes.collect()
}

fn rules(file: Option<&RecordRulesFile>, path: &str, key: &str) -> Result<RecordRules, Problem> {
    let Some(file) = file else {
        return Ok(RecordRules::default());
    };
    let path = below(path, key);
    let patterns = |written: &Option<Vec<At<String>>>, key| regexps(written.as_deref(), &path, key);
    Ok(RecordRules {
        fail_if_matches: patterns(&file.fail_if_matches_regexp, "fail_if_matches_regexp")?,
        fail_if_all_match: patterns(&file.fail_if_all_match_regexp, "fail_if_all_match_regexp")?,
        fail_if_not_matches: patterns(&file.fail_if_not_matches_regexp, "fail_if_not_matches_regexp")?,
        fail_if_none_matches: patterns(&file.fail_if_none_matches_regexp, "fail_if_none_matches_regexp")?,
    })
}
