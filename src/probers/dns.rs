//! The dns prober: one question to one name server, over UDP, TCP, TLS or HTTPS, and assertions on its answer.

mod gauges;
mod message;
mod rules;
mod text;
mod types;

pub use message::rcode_number;
pub use rules::RecordRules;
pub use types::type_number;

use self::message::{Question, framed, rcode_name, read};
use super::place::Place;
use super::{Aim, Prober, Probing, Resolving, Shape, Way};
use crate::chain::Stage;
use crate::check::{Ask, BodyPlan, Check, Family, Heard, Manner, Resolver, Stopped, Tls};
use crate::metrics::Page;
use crate::policy::Origin;
use crate::reason::Reason;
use crate::report::{DnsAnswer, Report, Spoken};
use crate::target::Target;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The media type of a message over HTTPS (RFC 8484 section 6).
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/dns-message");

/// Bytes of the largest message: its length has two bytes (RFC 1035 section 4.2.2).
const LARGEST: u64 = 65_535;

/// What a question and its answer go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram each; over TCP again where the answer did not fit (RFC 7766 section 5).
    Udp,
    /// RFC 7766.
    Tcp,
    /// RFC 7858.
    Tls,
    /// RFC 8484.
    Https,
}

impl Transport {
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

/// What a dns module does, composed from its configuration.
#[derive(Debug)]
pub struct DnsSettings {
    /// Which addresses of the name server to take.
    pub family: Family,
    /// Whom to ask for them.
    pub resolver: Arc<Resolver>,
    /// The address of this host to ask from.
    pub source: Option<IpAddr>,
    /// What the question goes over.
    pub transport: Transport,
    /// TLS, whose files are read again when they change.
    pub tls: Tls,
    /// The name that is asked for.
    pub name: Name,
    /// The type that is asked for.
    pub record_type: u16,
    /// The class that is asked for.
    pub class: u16,
    /// Whether the server is to ask others (RD).
    pub recursion_desired: bool,
    /// Accepted response codes; none means 0, `NOERROR`.
    pub valid_rcodes: Vec<u16>,
    /// Assertions on the answer section.
    pub answers: RecordRules,
    /// Assertions on the authority section.
    pub authorities: RecordRules,
    /// Assertions on the additional section.
    pub additionals: RecordRules,
}

impl DnsSettings {
    async fn run(&self, check: &mut Check, aim: &Aim, way: Way<'_>) -> Result<(), Stopped> {
        let mut place = self
            .place(aim, way)
            .map_err(|words| check.refuse(Reason::LocalTargetInvalid, words))?;
        place.tls = matches!(self.transport, Transport::Tls | Transport::Https);
        let question = Question::new(&self.name, self.record_type, self.class, self.recursion_desired);
        let mut answer = self.ask(check, self.transport, aim, &place, &question).await?;
        if answer.metadata.truncation && self.transport == Transport::Udp {
            answer = self.ask(check, Transport::Tcp, aim, &place, &question).await?;
        }
        match self.objection(&answer) {
            None => Ok(()),
            Some((reason, words)) => Err(check.refuse(reason, words)),
        }
    }

    async fn ask(
        &self,
        check: &mut Check,
        transport: Transport,
        aim: &Aim,
        place: &Place,
        question: &Question,
    ) -> Result<Message, Stopped> {
        check.begin_leg(shown(transport, aim, place), place.tls);
        let to = place.resolve(check, &self.resolver, self.family).await?;
        let answer = match transport {
            Transport::Udp => self.over_udp(check, to, question).await?,
            Transport::Tcp | Transport::Tls => self.over_stream(check, place, to, question).await?,
            Transport::Https => self.over_https(check, aim, place, to, question).await?,
        };
        check.note(Spoken::Dns(self.facts(&answer)));
        Ok(answer)
    }

    async fn over_udp(&self, check: &mut Check, to: SocketAddr, question: &Question) -> Result<Message, Stopped> {
        check.send_datagram(self.source, to, &question.bytes).await?;
        let came = check
            .await_datagram(|bytes| question.is_answered_by(bytes).then(|| bytes.to_vec()))
            .await?;
        read(check, &came)
    }

    async fn over_stream(
        &self,
        check: &mut Check,
        place: &Place,
        to: SocketAddr,
        question: &Question,
    ) -> Result<Message, Stopped> {
        check.connect_from(self.source, to).await?;
        if place.tls {
            check.secure(&self.tls, &place.tls_name, true).await?;
        }
        check.say(&question.with_length()).await?;
        check.await_word().await?;
        let came = check
            .hear(|bytes, _| match framed(bytes) {
                None => Heard::More(0),
                // RFC 7766 section 7: another question's answer is none.
                Some(message) if !question.is_answered_by(message) => Heard::More(message.len() + 2),
                Some(message) => Heard::Whole(message.len() + 2, message.to_vec()),
            })
            .await?;
        read(check, &came)
    }

    async fn over_https(
        &self,
        check: &mut Check,
        aim: &Aim,
        place: &Place,
        to: SocketAddr,
        question: &Question,
    ) -> Result<Message, Stopped> {
        let url = doh_url(&aim.target).map_err(|words| check.refuse(Reason::LocalTargetInvalid, words))?;
        check.connect_from(self.source, to).await?;
        check.secure(&self.tls, &place.tls_name, false).await?;
        let authority = HeaderValue::from_str(url.authority());
        let authority = authority.map_err(|_| check.refuse(Reason::LocalTargetInvalid, "The host is no host."))?;
        check
            .send(Ask {
                method: Method::POST,
                url,
                authority,
                headers: HeaderMap::from_iter([(ACCEPT, MEDIA_TYPE), (CONTENT_TYPE, MEDIA_TYPE)]),
                body: question.bytes.clone().into(),
                manner: Manner::Usual,
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
            status => {
                let words = format!("The answer has the status {}.", status.unwrap_or_default());
                Err(check.refuse(Reason::HttpStatus, words))
            }
        }
    }

    fn place(&self, aim: &Aim, way: Way<'_>) -> Result<Place, String> {
        let server_name = self.tls.server_name();
        let port = Some(self.transport.port());
        if self.transport != Transport::Https {
            return Place::new(aim, port, false, server_name, way);
        }
        let url = doh_url(&aim.target)?;
        let target = Target::new(url.host_str().unwrap_or_default().to_owned() + &port_of(&url));
        Place::new(&Aim { target, ..aim.clone() }, port, true, server_name, way)
    }

    fn objection(&self, answer: &Message) -> Option<(Reason, String)> {
        let rcode = u16::from(answer.metadata.response_code);
        let accepted = match self.valid_rcodes.as_slice() {
            [] => rcode == 0,
            codes => codes.contains(&rcode),
        };
        if !accepted {
            let words = format!("The server answered with the code {}.", rcode_name(rcode));
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
            // The library keeps the one of EDNS apart.
            additionals: answer.additionals.len() + usize::from(answer.edns.is_some()),
            serial: asks_for_zone.then(|| answer.answers.iter().filter_map(zone).next_back().unwrap_or(0)),
            truncated: answer.metadata.truncation,
        }
    }
}

/// What is asked, as it may be shown.
fn shown(transport: Transport, aim: &Aim, place: &Place) -> String {
    if transport == Transport::Https
        && let Ok(url) = doh_url(&aim.target)
    {
        return crate::target::shown_url(&url);
    }
    place.url(transport.scheme())
}

/// The URL of a name server that is asked over HTTPS: as written, or with the path that RFC 8484 shows.
fn doh_url(target: &Target) -> Result<Url, String> {
    let written = target.written().trim();
    let text = if written.starts_with("https://") {
        written.to_owned()
    } else if written.contains("://") {
        return Err("DNS over HTTPS needs an https URL, or a host.".to_owned());
    } else {
        format!("https://{written}/dns-query")
    };
    let url = Url::parse(&text)
        .map_err(|error| format!("{error}; a target here looks like https://ns.example/dns-query."))?;
    if url.has_host() && url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err("DNS over HTTPS needs a host, and takes no user.".to_owned())
    }
}

fn port_of(url: &Url) -> String {
    url.port().map_or_else(String::new, |port| format!(":{port}"))
}

impl Prober for DnsSettings {
    fn probe<'a>(&'a self, check: &'a mut Check, aim: &'a Aim, way: Way<'a>) -> Probing<'a> {
        Box::pin(self.run(check, aim, way))
    }

    fn addresses<'a>(&'a self, check: &'a mut Check, aim: &'a Aim) -> Resolving<'a> {
        Box::pin(async move {
            let place = self.place(aim, Way::Asked);
            let place = place.map_err(|words| check.refuse(Reason::LocalTargetInvalid, words))?;
            check.resolve_all(&self.resolver, &place.host, self.family).await
        })
    }

    fn has_own_fields(&self, _: &Aim) -> bool {
        false
    }

    fn origin(&self, aim: &Aim) -> Option<Origin> {
        Some(self.place(aim, Way::Asked).ok()?.origin("dns"))
    }

    fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    fn gauges(&self, report: &Report, page: &mut Page) -> Duration {
        gauges::write(report, page)
    }

    fn shape(&self, _: &Target) -> Shape {
        let stream = self.transport != Transport::Udp;
        Shape::of(&[
            (Stage::Resolve, true),
            (Stage::Connect, stream),
            (
                Stage::Secure,
                matches!(self.transport, Transport::Tls | Transport::Https),
            ),
            (Stage::Send, true),
            (Stage::Wait, true),
            (Stage::Receive, stream),
        ])
    }
}
