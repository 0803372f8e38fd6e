//! The keys of the dns prober.

use super::{DnsProber, DnsTransport, QueryName, RecordRules, rcode_number, read_name, type_number};
use crate::block;
use crate::check::Resolver;
use crate::file::regexps::regexps;
use crate::file::{ConfigIssue, Location, Spanned, at, below};
use crate::probers::Prober;
use crate::probers::blocks::address;
use crate::probers::blocks::tls::{self, TlsFile};
use crate::probers::prober_file::{KeysOfBlock, ProberFile, Warnings};
use hickory_proto::rr::Name;
use std::sync::Arc;

block! {
    /// The keys of the dns prober.
    DnsFile {
        preferred_ip_protocol: Spanned<String>,
        ip_protocol_fallback: bool,
        dns_over_tls: Spanned<bool>,
        tls_config: Spanned<TlsFile>,
        source_ip_address: Spanned<String>,
        transport_protocol: Spanned<String>,
        query_class: Spanned<String>,
        query_name: Spanned<String>,
        query_type: Spanned<String>,
        recursion_desired: bool,
        valid_rcodes: Vec<Spanned<String>>,
        validate_answer_rrs: RecordRulesFile,
        validate_authority_rrs: RecordRulesFile,
        validate_additional_rrs: RecordRulesFile,
    } unserved {}
}

block! {
    /// Assertions on the records of a section.
    RecordRulesFile {
        fail_if_matches_regexp: Vec<Spanned<String>>,
        fail_if_all_match_regexp: Vec<Spanned<String>>,
        fail_if_not_matches_regexp: Vec<Spanned<String>>,
        fail_if_none_matches_regexp: Vec<Spanned<String>>,
    } unserved {}
}

impl ProberFile for DnsFile {
    const DEFAULTS: &'static str = include_str!("defaults.yml");

    fn build(
        written: Option<&Spanned<Self>>,
        resolver: Arc<Resolver>,
        path: &str,
    ) -> Result<Arc<dyn Prober>, ConfigIssue> {
        build(written, resolver, path).map(|prober| Arc::new(prober) as _)
    }

    fn nested_keys() -> Vec<KeysOfBlock> {
        vec![(
            "validate_answer_rrs, validate_authority_rrs or validate_additional_rrs",
            RecordRulesFile::keys(),
        )]
    }

    fn warn(written: Option<&Spanned<Self>>, warnings: &mut Warnings<'_>) {
        let Some(Spanned { value: dns, .. }) = written else {
            let words = "without this block the query is for all records of the root; set dns.query_name";
            return warnings.key("dns", words);
        };
        if let Some(name) = dns.query_name.as_ref().filter(|name| !name.value.is_empty())
            && let Err(why) = read_name(&name.value)
        {
            let words = format!("every probe fails: {:?} is not a valid name: {why}", name.value);
            warnings.value(name, "dns", "query_name", &words);
        }
        warnings.family("dns", dns.preferred_ip_protocol.as_ref());
        warnings.tls("dns", dns.tls_config.as_ref());
        for (key, rules) in [
            ("validate_answer_rrs", &dns.validate_answer_rrs),
            ("validate_authority_rrs", &dns.validate_authority_rrs),
            ("validate_additional_rrs", &dns.validate_additional_rrs),
        ] {
            let patterns = rules
                .iter()
                .flat_map(|rules| rules.fail_if_all_match_regexp.iter().flatten());
            if let Some(first) = patterns.into_iter().next() {
                let words = "despite its name, this assertion fails unless all records match, as in blackbox_exporter";
                warnings.value(first, &format!("dns.{key}"), "fail_if_all_match_regexp", words);
            }
        }
    }
}

/// The classes that `blackbox_exporter` accepts by name (RFC 1035 section 3.2.4, RFC 2136 section 2.4).
const CLASSES: [(&str, u16); 6] = [("IN", 1), ("CS", 2), ("CH", 3), ("HS", 4), ("NONE", 254), ("ANY", 255)];

/// As in `blackbox_exporter`, a module without the block queries all records
/// of the root.
fn build(file: Option<&Spanned<DnsFile>>, resolver: Arc<Resolver>, path: &str) -> Result<DnsProber, ConfigIssue> {
    let name = match file {
        None => QueryName::Valid(Name::root()),
        Some(file) => query_name(file, path)?,
    };
    let defaults = DnsFile::default();
    let file = file.map_or(&defaults, |file| &file.value);
    Ok(DnsProber {
        family: address::family(file.preferred_ip_protocol.as_ref(), file.ip_protocol_fallback),
        resolver,
        source: address::source(file.source_ip_address.as_ref(), path)?,
        transport: transport(file, path)?,
        tls: tls::build(file.tls_config.as_ref(), tls::AlpnOffer::Http2, path)?,
        name,
        record_type: match &file.query_type {
            Some(written) if !written.value.is_empty() => type_number(&written.value).ok_or_else(|| {
                let words = format!(
                    "query type {:?} is not valid: expected a type in capitals, such as A or SOA",
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

/// The absolute query name, with or without a final dot in the file.
fn query_name(file: &Spanned<DnsFile>, path: &str) -> Result<QueryName, ConfigIssue> {
    let Some(written) = file.value.query_name.as_ref().filter(|name| !name.value.is_empty()) else {
        return Err(at(file, path, "query_name", "query name must be set for DNS module"));
    };
    Ok(match read_name(&written.value) {
        Ok(name) => QueryName::Valid(name),
        Err(why) => QueryName::Invalid(format!("{:?} is not a valid name: {why}", written.value)),
    })
}

fn transport(file: &DnsFile, path: &str) -> Result<DnsTransport, ConfigIssue> {
    let written = file
        .transport_protocol
        .as_ref()
        .filter(|written| !written.value.is_empty());
    let over_tls = file.dns_over_tls.as_ref().filter(|over| over.value);
    match (written.map(|written| written.value.as_str()), over_tls) {
        (Some("tcp"), Some(_)) => Ok(DnsTransport::Tls),
        (Some("tcp"), None) => Ok(DnsTransport::Tcp),
        (Some("https"), None) => Ok(DnsTransport::Https),
        (None | Some("udp"), None) => Ok(DnsTransport::Udp),
        (None | Some("udp" | "https"), Some(over)) => {
            let words = "dns_over_tls requires TCP; set transport_protocol: tcp";
            Err(at(over, path, "dns_over_tls", words))
        }
        (Some(other), _) => {
            let words = format!("invalid transport protocol {other:?}: expected udp, tcp or https");
            let location = written.map_or(Location::START, |written| written.location);
            Err(location.issue(below(path, "transport_protocol"), words))
        }
    }
}

fn class(file: &DnsFile, path: &str) -> Result<u16, ConfigIssue> {
    let Some(written) = file.query_class.as_ref().filter(|written| !written.value.is_empty()) else {
        return Ok(1);
    };
    let known = CLASSES.iter().find(|(name, _)| *name == written.value);
    known.map(|(_, number)| *number).ok_or_else(|| {
        let words = format!(
            "query class {:?} is not valid: expected IN, CS, CH, HS, NONE or ANY",
            written.value
        );
        at(written, path, "query_class", words)
    })
}

fn rcodes(file: &DnsFile, path: &str) -> Result<Vec<u16>, ConfigIssue> {
    let codes = file.valid_rcodes.iter().flatten().map(|written| {
        rcode_number(&written.value).ok_or_else(|| {
            let words = format!(
                "invalid response code {:?}: expected a name such as NOERROR or NXDOMAIN",
                written.value
            );
            at(written, path, "valid_rcodes", words)
        })
    });
    codes.collect()
}

fn rules(file: Option<&RecordRulesFile>, path: &str, key: &str) -> Result<RecordRules, ConfigIssue> {
    let Some(file) = file else {
        return Ok(RecordRules::default());
    };
    let path = below(path, key);
    let patterns = |written: &Option<Vec<Spanned<String>>>, key| regexps(written.as_deref(), &path, key);
    Ok(RecordRules {
        fail_if_matches: patterns(&file.fail_if_matches_regexp, "fail_if_matches_regexp")?,
        fail_if_all_match: patterns(&file.fail_if_all_match_regexp, "fail_if_all_match_regexp")?,
        fail_if_not_matches: patterns(&file.fail_if_not_matches_regexp, "fail_if_not_matches_regexp")?,
        fail_if_none_matches: patterns(&file.fail_if_none_matches_regexp, "fail_if_none_matches_regexp")?,
    })
}
