//! The dns prober: one query to one name server over UDP, TCP, TLS or HTTPS, and assertions on the response.

mod file;

pub use file::DnsFile;

mod gauges;
mod message;
mod name;
mod rules;
mod text;
mod types;

pub use message::rcode_number;
pub use name::read_name;
pub use rules::RecordRules;
pub use types::type_number;

use self::message::{DnsQuestion, framed, rcode_name, read};
use super::endpoint::Endpoint;
use super::{ClientOptions, InitialSeries, ProbeFuture, ProbeRequest, Prober, TlsOptions, Variant};
use crate::check::{
    AddressFamily, BodyPlan, Check, DialogueRead, HttpRequest, ProbeFailed, Refusal, RequestMode, Resolver, Tls,
};
use crate::metrics::MetricPage;
use crate::policy::Origin;
use crate::target::{HttpUrl, Target};
use glassbox_verdict::chain::{Link, Stage};
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::{DnsAnswer, ProtocolFacts, Report};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Media type of a DNS message over HTTPS (RFC 8484 section 6).
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/dns-message");

/// Maximum size of a message in bytes: its length field is two bytes long (RFC 1035 section 4.2.2).
const LARGEST: u64 = 65_535;

/// Transport of a query and its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsTransport {
    /// One datagram each way. A query with a truncated response is retried over TCP (RFC 7766 section 5).
    Udp,
    /// TCP (RFC 7766).
    Tcp,
    /// TLS (RFC 7858).
    Tls,
    /// HTTPS (RFC 8484).
    Https,
}

impl DnsTransport {
    const fn port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 53,
            Self::Tls => 853,
            Self::Https => 443,
        }
    }

    const fn scheme(self) -> &'static str {
        match self {
            Self::Udp => "dns",
            Self::Tcp => "dns+tcp",
            Self::Tls => "dns+tls",
            Self::Https => "https",
        }
    }
}

/// The queried name of a module.
#[derive(Debug)]
pub enum QueryName {
    /// It can be encoded.
    Valid(Name),
    /// It cannot be encoded, for this reason. As in `blackbox_exporter`, the file is valid, and every probe of the module
    /// fails.
    Invalid(String),
}

/// Settings of a dns module, built from the configuration.
#[derive(Debug)]
pub struct DnsProber {
    /// Address family of the name server.
    pub family: AddressFamily,
    /// Resolver for the name server's name.
    pub resolver: Arc<Resolver>,
    /// Source address of the query.
    pub source: Option<IpAddr>,
    /// Transport of the query.
    pub transport: DnsTransport,
    /// TLS settings. The files are re-read when they change.
    pub tls: Tls,
    /// The queried name.
    pub name: QueryName,
    /// The queried type.
    pub record_type: u16,
    /// The queried class.
    pub class: u16,
    /// Whether the server should resolve recursively (the RD flag).
    pub recursion_desired: bool,
    /// Accepted response codes; empty accepts only 0, `NOERROR`.
    pub valid_rcodes: Vec<u16>,
    /// Assertions on the answer section.
    pub answers: RecordRules,
    /// Assertions on the authority section.
    pub authorities: RecordRules,
    /// Assertions on the additional section.
    pub additionals: RecordRules,
}

impl DnsProber {
    async fn run(&self, check: &mut Check, requested: &ProbeRequest, variant: Variant<'_>) -> Result<(), ProbeFailed> {
        let mut place = self
            .place(requested, variant)
            .map_err(|refusal| check.refuse(refusal))?;
        place.tls = matches!(self.transport, DnsTransport::Tls | DnsTransport::Https);
        if matches!(variant, Variant::Handshake(_)) {
            return self.shake_hands(check, &place).await;
        }
        let mut answer = self.ask(check, self.transport, requested, &place).await?;
        if answer.metadata.truncation && self.transport == DnsTransport::Udp {
            answer = self.ask(check, DnsTransport::Tcp, requested, &place).await?;
        }
        match self.objection(&answer) {
            None => Ok(()),
            Some((reason, words)) => Err(check.fail(reason, words)),
        }
    }

    async fn ask(
        &self,
        check: &mut Check,
        transport: DnsTransport,
        requested: &ProbeRequest,
        place: &Endpoint,
    ) -> Result<Message, ProbeFailed> {
        check.begin_exchange(shown(transport, requested, place), place.tls);
        let to = place.resolve(check, &self.resolver, self.family).await?;
        let name = match &self.name {
            QueryName::Valid(name) => name,
            QueryName::Invalid(why) => {
                let words = format!("The module's query_name is not a valid DNS name: {why}.");
                return Err(check.fail(Reason::LocalTargetInvalid, words));
            }
        };
        let question = &DnsQuestion::new(name, self.record_type, self.class, self.recursion_desired);
        let answer = match transport {
            DnsTransport::Udp => self.over_udp(check, to, question).await?,
            DnsTransport::Tcp | DnsTransport::Tls => self.over_stream(check, place, to, question).await?,
            DnsTransport::Https => self.over_https(check, requested, place, to, question).await?,
        };
        check.note(ProtocolFacts::Dns(self.facts(&answer)));
        Ok(answer)
    }

    /// Performs a TLS handshake without a query.
    async fn shake_hands(&self, check: &mut Check, place: &Endpoint) -> Result<(), ProbeFailed> {
        check.begin_exchange(place.url(DnsTransport::Tls.scheme()), true);
        let to = place.resolve(check, &self.resolver, self.family).await?;
        check.connect_from(self.source, to).await?;
        check.secure(&self.tls, &place.tls_name, true).await
    }

    async fn over_udp(
        &self,
        check: &mut Check,
        to: SocketAddr,
        question: &DnsQuestion,
    ) -> Result<Message, ProbeFailed> {
        check.send_datagram(self.source, to, &question.bytes).await?;
        let came = check
            .await_datagram(|bytes| question.is_answered_by(bytes).then(|| bytes.to_vec()))
            .await?;
        read(check, &came)
    }

    async fn over_stream(
        &self,
        check: &mut Check,
        place: &Endpoint,
        to: SocketAddr,
        question: &DnsQuestion,
    ) -> Result<Message, ProbeFailed> {
        check.connect_from(self.source, to).await?;
        if place.tls {
            check.secure(&self.tls, &place.tls_name, true).await?;
        }
        check.write(&question.with_length()).await?;
        check.await_data().await?;
        let came = check
            .hear(|bytes, _| match framed(bytes) {
                None => DialogueRead::More(0),
                // A response to another question is ignored (RFC 7766 section 7).
                Some(message) if !question.is_answered_by(message) => DialogueRead::More(message.len() + 2),
                Some(message) => DialogueRead::Whole(message.len() + 2, message.to_vec()),
            })
            .await?;
        read(check, &came)
    }

    async fn over_https(
        &self,
        check: &mut Check,
        requested: &ProbeRequest,
        place: &Endpoint,
        to: SocketAddr,
        question: &DnsQuestion,
    ) -> Result<Message, ProbeFailed> {
        let url = doh_url(&requested.target).map_err(|refusal| check.refuse(refusal))?;
        check.connect_from(self.source, to).await?;
        check.secure(&self.tls, &place.tls_name, false).await?;
        let authority = HeaderValue::from_str(&url.authority());
        let authority = authority.map_err(|_| check.fail(Reason::LocalTargetInvalid, "The host is invalid."))?;
        check
            .send(HttpRequest {
                method: Method::POST,
                scheme: url.scheme(),
                target: url.target().into(),
                authority,
                headers: HeaderMap::from_iter([(ACCEPT, MEDIA_TYPE), (CONTENT_TYPE, MEDIA_TYPE)]),
                body: question.bytes.clone().into(),
                mode: RequestMode::Normal,
            })
            .await?;
        check.wait().await?;
        let body = check
            .receive(|reply| BodyPlan {
                read: true,
                keep: (reply.status == 200).then_some(LARGEST),
                judge: reply.status != 200,
                ..BodyPlan::default()
            })
            .await?;
        match check.reply().map(|reply| reply.status) {
            Some(200) => read(check, &body),
            Some(status) => Err(check.fail(Reason::HttpStatus, format!("The response status is {status}."))),
            None => Err(check.fail_without_reply()),
        }
    }

    fn place(&self, requested: &ProbeRequest, variant: Variant<'_>) -> Result<Endpoint, Refusal> {
        let is_https = self.transport == DnsTransport::Https;
        let target = if is_https {
            doh_url(&requested.target)?.host_port().clone()
        } else {
            let parsed = requested.target.host_port(Some(self.transport.port()));
            parsed.map_err(|error| Refusal::of_target(format!("{error}.")))?
        };
        let own_name = self.tls.server_name().or(requested.hostname.as_deref());
        Ok(Endpoint::new(target, is_https, own_name, variant))
    }

    fn objection(&self, answer: &Message) -> Option<(Reason, String)> {
        let rcode = u16::from(answer.metadata.response_code);
        let accepted = match self.valid_rcodes.as_slice() {
            [] => rcode == 0,
            codes => codes.contains(&rcode),
        };
        if !accepted {
            let words = format!("The server returned response code {}.", rcode_name(rcode));
            return Some((Reason::ContentRcode, words));
        }
        [
            (&self.answers, "answer", &answer.answers),
            (&self.authorities, "authority", &answer.authorities),
            (&self.additionals, "additional", &answer.additionals),
        ]
        .into_iter()
        .find_map(|(rules, section, records)| {
            let lines: Vec<String> = records.iter().map(text::line).collect();
            rules.objection(section, &lines)
        })
        .map(|words| (Reason::ContentBody, words))
    }

    fn facts(&self, answer: &Message) -> DnsAnswer {
        let zone = |record: &Record| match &record.data {
            RData::SOA(soa) => Some(soa.serial),
            _ => None,
        };
        let asks_for_zone = RecordType::from(self.record_type) == RecordType::SOA;
        DnsAnswer {
            rcode: answer.metadata.response_code.into(),
            answers: answer.answers.len(),
            authorities: answer.authorities.len(),
            // The library keeps the EDNS record separately.
            additionals: answer.additionals.len() + usize::from(answer.edns.is_some()),
            serial: asks_for_zone.then(|| answer.answers.iter().filter_map(zone).next_back().unwrap_or(0)),
            truncated: answer.metadata.truncation,
        }
    }
}

/// The URL of the query for display.
fn shown(transport: DnsTransport, requested: &ProbeRequest, place: &Endpoint) -> String {
    if transport == DnsTransport::Https
        && let Ok(url) = doh_url(&requested.target)
    {
        return url.shown();
    }
    place.url(transport.scheme())
}

/// The URL of a DNS-over-HTTPS server: as configured, or with the path of the examples in RFC 8484.
fn doh_url(target: &Target) -> Result<HttpUrl, Refusal> {
    let written = target.written().trim();
    let text = if written.starts_with("https://") {
        written.to_owned()
    } else if written.contains("://") {
        return Err(Refusal::of_target("DNS over HTTPS requires an https URL or a host."));
    } else {
        format!("https://{written}/dns-query")
    };
    let url = HttpUrl::parse(&text).map_err(|error| {
        Refusal::of_target(format!(
            "{error}; expected a target such as https://ns.example/dns-query."
        ))
    })?;
    if url.user().is_none() {
        Ok(url)
    } else {
        Err(Refusal::of_target(
            "DNS over HTTPS does not support a user name in the URL.",
        ))
    }
}

impl Prober for DnsProber {
    fn probe<'a>(&'a self, check: &'a mut Check, requested: &'a ProbeRequest, variant: Variant<'a>) -> ProbeFuture<'a> {
        Box::pin(self.run(check, requested, variant))
    }

    fn host(&self, requested: &ProbeRequest) -> Result<(String, AddressFamily), Refusal> {
        Ok((self.place(requested, Variant::Original)?.host().to_owned(), self.family))
    }

    fn has_module_fields(&self, _: &ProbeRequest) -> bool {
        false
    }

    /// A DNS server has no gateway and no application behind it that the prober could tell apart.
    fn can_judge(&self, link: Link) -> bool {
        !matches!(link, Link::Upstream | Link::Origin)
    }

    fn origin(&self, requested: &ProbeRequest) -> Option<Origin> {
        Some(self.place(requested, Variant::Original).ok()?.origin("dns"))
    }

    fn client_options(&self) -> ClientOptions {
        ClientOptions {
            tls: Some(TlsOptions::of(&self.tls)),
            ..ClientOptions::default()
        }
    }

    fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    fn gauges(&self, report: &Report, page: &mut MetricPage) -> Duration {
        gauges::write(report, page)
    }

    fn initial_series(&self, _: &Target) -> InitialSeries {
        let stream = self.transport != DnsTransport::Udp;
        InitialSeries::of(&[
            (Stage::Resolve, true),
            (Stage::Connect, stream),
            (
                Stage::Secure,
                matches!(self.transport, DnsTransport::Tls | DnsTransport::Https),
            ),
            (Stage::Send, true),
            (Stage::Wait, true),
            (Stage::Receive, stream),
        ])
    }
}
