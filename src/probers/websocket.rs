//! The websocket prober: an HTTP request that switches protocols (RFC 6455), and a dialogue in messages.

mod frames;
mod gauges;

use super::credentials::Credentials;
use super::fields::Fields;
use super::files::Unusable;
use super::place::Place;
use super::script::{Expect, Match, Script, look};
use super::{Aim, Prober, Probing, Resolving, Shape, Way};
use crate::chain::Stage;
use crate::check::{Ask, BodyPlan, Check, Family, Manner, Resolver, Stopped, Tls};
use crate::metrics::Page;
use crate::policy::Origin;
use crate::reason::Reason;
use crate::report::{Dialogue, Mismatch, Report, Spoken};
use crate::target::Target;
use bytes::Bytes;
use frames::{Message, masked_close, masked_text};
use http::header::{
    AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;
use url::Url;

/// What a websocket module does, composed from its configuration.
#[derive(Debug)]
pub struct WebsocketSettings {
    /// Which addresses to take.
    pub family: Family,
    /// Whom to ask for them.
    pub resolver: Arc<Resolver>,
    /// TLS for wss targets, whose files are read again when they change.
    pub tls: Tls,
    /// What `basic_auth` or `authorization` say.
    pub credentials: Option<Credentials>,
    /// The module's header fields.
    pub fields: Fields,
    /// What is said and heard, a message each.
    pub script: Script,
}

impl WebsocketSettings {
    async fn run(&self, check: &mut Check, aim: &Aim, way: Way<'_>) -> Result<(), Stopped> {
        let invalid = |words| (Reason::LocalTargetInvalid, words);
        let url = ws_url(&aim.target).map_err(invalid);
        let place = url
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|url| self.place(aim, url, way).map_err(invalid));
        let (url, place) = match (url, place) {
            (Ok(url), Ok(place)) => (url, place),
            (Err((reason, words)), _) | (_, Err((reason, words))) => return Err(check.refuse(reason, words)),
        };
        let headers = self.headers(check, place.trusted).await?;
        check.begin_leg(crate::target::shown_url(&url), place.tls);
        let to = place.resolve(check, &self.resolver, self.family).await?;
        check.connect(to).await?;
        if place.tls {
            check.secure(&self.tls, &place.tls_name, true).await?;
        }
        if matches!(way, Way::Handshake(_)) {
            return Ok(());
        }
        self.switch(check, url, headers).await?;
        if !place.trusted {
            return Ok(());
        }
        let mut dialogue = Dialogue::default();
        let played = self.play(check, &mut dialogue).await;
        check.note(Spoken::Dialogue(dialogue));
        played
    }

    /// The handshake (RFC 6455 section 4.1).
    async fn switch(&self, check: &mut Check, url: Url, mut headers: HeaderMap) -> Result<(), Stopped> {
        let key = generate_key();
        let refuse = |check: &mut Check, words: &str| check.refuse(Reason::LocalTargetInvalid, words);
        let field = HeaderValue::from_str(&key).map_err(|_| refuse(check, "The key cannot be written."))?;
        let authority = HeaderValue::from_str(url.authority().rsplit('@').next().unwrap_or_default());
        let authority = authority.map_err(|_| refuse(check, "The host cannot be written in a header."))?;
        headers.insert(SEC_WEBSOCKET_KEY, field);
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        check
            .send(Ask {
                method: Method::GET,
                url,
                authority,
                headers,
                body: Bytes::new(),
                manner: Manner::Upgrade,
            })
            .await?;
        check.wait().await?;
        check
            .receive(|reply| BodyPlan {
                read: reply.status != 101,
                judge: true,
                ..BodyPlan::default()
            })
            .await?;
        let Some(reply) = check.reply() else {
            return Err(check.refuse(Reason::WebsocketNotUpgraded, "There is no answer to judge."));
        };
        let status = reply.status;
        let accepts = reply.headers.get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        match status {
            101 if accepts == Some(derive_accept_key(key.as_bytes()).as_bytes()) => Ok(()),
            101 => {
                let words = "The server switched protocols, and Sec-WebSocket-Accept is not the answer to our key.";
                Err(check.refuse(Reason::WebsocketInvalid, words))
            }
            _ if (200..400).contains(&status) => {
                let words = format!("The server answered {status} and did not switch protocols.");
                Err(check.refuse(Reason::WebsocketNotUpgraded, words))
            }
            _ => Err(check.refuse(Reason::HttpStatus, format!("The answer has the status {status}."))),
        }
    }

    async fn play(&self, check: &mut Check, dialogue: &mut Dialogue) -> Result<(), Stopped> {
        for step in &self.script.0 {
            let heard = match &step.expect {
                None => None,
                Some(expect) => {
                    let heard = self.hear(check, expect).await;
                    if heard.is_err() {
                        dialogue.mismatch = Some(Mismatch::Regexp);
                    }
                    heard?
                }
            };
            let words = step.words(heard.as_ref());
            if !words.is_empty() {
                check.say(&masked_text(&words)).await?;
            }
            dialogue.steps += 1;
        }
        // A server that is left without a word logs an error.
        check.say(&masked_close()).await
    }

    /// One message, which must be what is expected.
    async fn hear(&self, check: &mut Check, expect: &Expect) -> Result<Option<Match>, Stopped> {
        check.await_word().await?;
        let mut message = Message::within(check.limits().matched_body);
        let text = check.hear(|bytes, _| message.take(bytes)).await?;
        let matched = match expect {
            Expect::Regexp(wanted) => look(wanted, text, Instant::now() + check.left()).await,
            Expect::Bytes(wanted) if *wanted == text => return Ok(None),
            Expect::Bytes(_) => Ok(None),
        };
        let (reason, words) = match matched {
            Ok(Some(matched)) => return Ok(Some(matched)),
            Ok(None) => (Reason::ContentExpect, "The message is not what the module expects."),
            Err(late) => late.while_looking(),
        };
        Err(check.refuse(reason, words))
    }

    async fn headers(&self, check: &mut Check, trusted: bool) -> Result<HeaderMap, Stopped> {
        let own = if trusted {
            self.own(Instant::now() + check.left()).await
        } else {
            Ok(HeaderMap::new())
        };
        let mut headers = own.map_err(|unusable| check.refuse(unusable.reason, unusable.words))?;
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(super::USER_AGENT_WORDS));
        Ok(headers)
    }

    /// The module's own fields. What its files hold is read for this probe.
    async fn own(&self, until: Instant) -> Result<HeaderMap, Unusable> {
        let mut headers = HeaderMap::new();
        if let Some(credentials) = &self.credentials {
            headers.insert(AUTHORIZATION, credentials.header(until).await?);
        }
        for (name, value) in self.fields.all(until).await? {
            headers.append(name, value);
        }
        Ok(headers)
    }

    fn place(&self, aim: &Aim, url: &Url, way: Way<'_>) -> Result<Place, String> {
        let target = Target::new(&url[url::Position::BeforeHost..url::Position::AfterPort]);
        let secured = url.scheme() == "wss";
        let port = url.port_or_known_default().unwrap_or(80);
        let server_name = self.tls.server_name();
        let aim = Aim { target, ..aim.clone() };
        Place::new(&aim, Some(port), secured, server_name, way)
    }
}

fn ws_url(target: &Target) -> Result<Url, String> {
    let example = "a target here looks like wss://example.org/path";
    let url = Url::parse(target.written().trim()).map_err(|error| format!("{error}; {example}."))?;
    match url.scheme() {
        "ws" | "wss" if url.has_host() => Ok(url),
        other => Err(format!("{other:?} is no scheme of WebSockets; {example}.")),
    }
}

impl Prober for WebsocketSettings {
    fn probe<'a>(&'a self, check: &'a mut Check, aim: &'a Aim, way: Way<'a>) -> Probing<'a> {
        Box::pin(self.run(check, aim, way))
    }

    fn addresses<'a>(&'a self, check: &'a mut Check, aim: &'a Aim) -> Resolving<'a> {
        Box::pin(async move {
            let place = ws_url(&aim.target).and_then(|url| self.place(aim, &url, Way::Asked));
            let place = place.map_err(|words| check.refuse(Reason::LocalTargetInvalid, words))?;
            check.resolve_all(&self.resolver, &place.host, self.family).await
        })
    }

    fn has_own_fields(&self, _: &Aim) -> bool {
        self.credentials.is_some() || !self.fields.is_empty() || !self.script.is_empty()
    }

    fn origin(&self, aim: &Aim) -> Option<Origin> {
        ws_url(&aim.target).ok().map(|url| Origin::of(&url))
    }

    fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    fn gauges(&self, report: &Report, page: &mut Page) -> Duration {
        gauges::write(report, !self.script.is_empty(), page)
    }

    fn shape(&self, target: &Target) -> Shape {
        let secured = ws_url(target).is_ok_and(|url| url.scheme() == "wss");
        Shape::of(&[
            (Stage::Resolve, true),
            (Stage::Connect, true),
            (Stage::Secure, secured),
            (Stage::Send, true),
            (Stage::Wait, true),
            (Stage::Receive, true),
        ])
    }
}
