//! The websocket prober: an HTTP request that switches protocols (RFC 6455), and a dialogue in messages.

mod file;

pub use file::WebsocketFile;

mod frames;
mod gauges;
mod handshake;

use super::credentials::Credentials;
use super::endpoint::Endpoint;
use super::header_fields::{Fields, INVALID_HOST};
use super::script::{Expect, Match, Script, TranscriptMasks, Waiting, look};
use super::{ClientOptions, InitialSeries, ProbeFuture, ProbeRequest, Prober, TlsOptions, Variant};
use crate::check::{AddressFamily, BodyPlan, Check, HttpRequest, ProbeFailed, Refusal, RequestMode, Resolver, Tls};
use crate::metrics::MetricPage;
use crate::policy::Origin;
use crate::target::{HttpUrl, Scheme, Target, UrlError};
use bytes::Bytes;
use frames::{Message, masked_close, masked_text};
use glassbox_verdict::chain::Stage;
use glassbox_verdict::reason::Reason;
use glassbox_verdict::report::{Dialogue, Mismatch, ProtocolFacts, Report, RequestParts};
use http::header::{AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tungstenite::handshake::client::generate_key;

/// Settings of a websocket module, built from the configuration.
#[derive(Debug)]
pub struct WebsocketProber {
    /// Address family of the target.
    pub family: AddressFamily,
    /// Resolver for the target's name.
    pub resolver: Arc<Resolver>,
    /// TLS settings for wss targets. The files are re-read when they change.
    pub tls: Tls,
    /// Credentials from `basic_auth` or `authorization`.
    pub credentials: Option<Credentials>,
    /// The module's header fields.
    pub fields: Fields,
    /// The steps of the dialogue, one message each.
    pub script: Script,
}

impl WebsocketProber {
    async fn run(&self, check: &mut Check, requested: &ProbeRequest, variant: Variant<'_>) -> Result<(), ProbeFailed> {
        let url = ws_url(&requested.target).map_err(|refusal| check.refuse(refusal))?;
        let place = self.place(requested, &url, variant);
        let mut headers = self.headers(check, place.trusted).await?;
        let host = handshake::host(&mut headers, requested.hostname.as_deref(), &url);
        let host = host.ok_or_else(|| check.fail(Reason::LocalTargetInvalid, INVALID_HOST))?;
        check.begin_exchange(url.shown(), place.tls);
        check.set_parts(RequestParts {
            module_fields: place.trusted,
            body: false,
        });
        let to = place.resolve(check, &self.resolver, self.family).await?;
        check.connect(to).await?;
        let only_handshake = matches!(variant, Variant::Handshake(_));
        if place.tls || only_handshake {
            check.secure(&self.tls, &place.tls_name, true).await?;
        }
        if only_handshake {
            return Ok(());
        }
        let masks = masks(&headers, &url);
        self.switch(check, url, host, headers).await?;
        if !place.trusted {
            return Ok(());
        }
        let (mut dialogue, mut waiting) = (Dialogue::default(), Waiting::default());
        self.script.add_secrets(check);
        let played = self.play(check, &mut dialogue, &mut waiting).await;
        if played.is_err() {
            dialogue.failed = Some(self.script.failed_step(dialogue.steps, &waiting, masks));
        }
        check.note(ProtocolFacts::Dialogue(dialogue));
        played
    }

    /// Performs the handshake (RFC 6455 section 4.1).
    async fn switch(
        &self,
        check: &mut Check,
        url: HttpUrl,
        authority: HeaderValue,
        mut headers: HeaderMap,
    ) -> Result<(), ProbeFailed> {
        let key = generate_key();
        let field = HeaderValue::from_str(&key).map_err(|_| {
            check.fail(
                Reason::LocalTargetInvalid,
                "The Sec-WebSocket-Key header could not be built.",
            )
        })?;
        let asked = handshake::OfferedProtocols::of(&headers);
        headers.insert(SEC_WEBSOCKET_KEY, field);
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        check
            .send(HttpRequest {
                method: Method::GET,
                scheme: url.scheme(),
                target: url.target().into(),
                authority,
                headers,
                body: Bytes::new(),
                mode: RequestMode::Upgrade,
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
            return Err(check.fail_without_reply());
        };
        let status = reply.status;
        match status {
            101 => match asked.objection(&key, &reply.headers) {
                None => Ok(()),
                Some(words) => Err(check.fail(Reason::WebsocketInvalid, words)),
            },
            _ if (200..400).contains(&status) => {
                let words = format!("The server returned status {status} and did not switch protocols.");
                Err(check.fail(Reason::WebsocketNotUpgraded, words))
            }
            _ => Err(check.fail(Reason::HttpStatus, format!("The response status is {status}."))),
        }
    }

    async fn play(&self, check: &mut Check, dialogue: &mut Dialogue, waiting: &mut Waiting) -> Result<(), ProbeFailed> {
        for step in &self.script.0 {
            *waiting = Waiting::of(step);
            let heard = match &step.expect {
                None => None,
                Some(expect) => {
                    let mut message = Message::within(check.limits().matched_body);
                    let heard = self.hear(check, expect, &mut message, waiting).await;
                    dialogue.close_code = message.close_code();
                    if heard.is_err() && !check.failed_because(&[Reason::WebsocketInvalid]) {
                        dialogue.mismatch = Some(Mismatch::Regexp);
                    }
                    heard?
                }
            };
            *waiting = Waiting::default();
            let words = step.words(heard.as_ref());
            if !words.is_empty() {
                check.write(&masked_text(&words)).await?;
            }
            dialogue.steps += 1;
        }
        // The dialogue is complete, although the last message was processed after the deadline.
        if check.left().is_zero() {
            return Ok(());
        }
        // Without a close frame, many servers log an error.
        check.write(&masked_close()).await
    }

    /// Receives one message, which must match the expectation.
    async fn hear(
        &self,
        check: &mut Check,
        expect: &Expect,
        message: &mut Message,
        waiting: &mut Waiting,
    ) -> Result<Option<Match>, ProbeFailed> {
        check.await_data().await?;
        let text = check.hear(|bytes, _| message.take(bytes)).await;
        if text.is_err() {
            waiting.received.unfinished(message.begun());
        }
        let text = text?;
        waiting.received.line(&text);
        let matched = match expect {
            Expect::Regexp(wanted) => look(wanted, text, &check.work_limits()).await,
            Expect::Bytes(wanted) if *wanted == text => return Ok(None),
            Expect::Bytes(_) => Ok(None),
        };
        let (reason, words) = match matched {
            Ok(Some(matched)) => return Ok(Some(matched)),
            Ok(None) => (
                Reason::ContentExpect,
                "The message does not match what the module expects.",
            ),
            Err(late) => late.while_looking(),
        };
        Err(check.fail(reason, words))
    }

    async fn headers(&self, check: &mut Check, trusted: bool) -> Result<HeaderMap, ProbeFailed> {
        let own = if trusted {
            self.own(Instant::now() + check.left()).await
        } else {
            Ok(HeaderMap::new())
        };
        let mut headers = own.map_err(|refusal| check.refuse(refusal))?;
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(super::USER_AGENT_WORDS));
        Ok(headers)
    }

    /// The module's header fields, with the contents of its files at the time of this probe.
    async fn own(&self, until: Instant) -> Result<HeaderMap, Refusal> {
        let mut headers = HeaderMap::new();
        if let Some(credentials) = &self.credentials {
            headers.insert(AUTHORIZATION, credentials.header(until).await?);
        }
        for (name, value) in self.fields.all(until).await? {
            headers.append(name, value);
        }
        Ok(headers)
    }

    fn place(&self, requested: &ProbeRequest, url: &HttpUrl, variant: Variant<'_>) -> Endpoint {
        let own_name = self.tls.server_name().or(requested.hostname.as_deref());
        Endpoint::new(url.host_port().clone(), url.scheme().is_secure(), own_name, variant)
    }
}

/// The masks for data from the server: the module's header fields and the secret parts of the URL.
fn masks(headers: &HeaderMap, url: &HttpUrl) -> TranscriptMasks {
    let mut masks = TranscriptMasks::default();
    let own = headers.iter().filter(|(name, _)| *name != USER_AGENT);
    for (_, value) in own {
        masks.add(value.as_bytes());
    }
    let user = url.user().map(|user| [Some(&user.name), user.password.as_ref()]);
    let secrets = user.into_iter().flatten().flatten().map(Vec::as_slice);
    for secret in secrets.chain(url.query()) {
        masks.add(secret);
        masks.add(&percent_encoding::percent_decode(secret).collect::<Vec<_>>());
    }
    masks
}

fn ws_url(target: &Target) -> Result<HttpUrl, Refusal> {
    let example = "example: wss://example.org/path";
    let wrong = |scheme: &str| Refusal::of_target(format!("invalid scheme {scheme:?}: expected ws or wss; {example}."));
    match HttpUrl::parse(target.written()) {
        Ok(url) if matches!(url.scheme(), Scheme::Ws | Scheme::Wss) => Ok(url),
        Ok(url) => Err(wrong(url.scheme().as_str())),
        Err(UrlError::OtherScheme(scheme)) => Err(wrong(&scheme)),
        Err(error) => Err(Refusal::of_target(format!("{error}; {example}."))),
    }
}

impl Prober for WebsocketProber {
    fn probe<'a>(&'a self, check: &'a mut Check, requested: &'a ProbeRequest, variant: Variant<'a>) -> ProbeFuture<'a> {
        Box::pin(self.run(check, requested, variant))
    }

    fn host(&self, requested: &ProbeRequest) -> Result<(String, AddressFamily), Refusal> {
        let url = ws_url(&requested.target)?;
        Ok((
            self.place(requested, &url, Variant::Original).host().to_owned(),
            self.family,
        ))
    }

    fn has_module_fields(&self, _: &ProbeRequest) -> bool {
        self.credentials.is_some() || !self.fields.is_empty() || !self.script.is_empty()
    }

    fn origin(&self, requested: &ProbeRequest) -> Option<Origin> {
        ws_url(&requested.target).ok().map(|url| Origin::of(&url))
    }

    fn client_options(&self) -> ClientOptions {
        let named = self.fields.0.iter().map(|(name, _)| name.to_string());
        ClientOptions {
            headers: named
                .chain(self.credentials.iter().map(|_| AUTHORIZATION.to_string()))
                .collect(),
            tls: Some(TlsOptions::of(&self.tls)),
            ..ClientOptions::default()
        }
    }

    fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    fn gauges(&self, report: &Report, page: &mut MetricPage) -> Duration {
        gauges::write(report, !self.script.is_empty(), page)
    }

    fn initial_series(&self, target: &Target) -> InitialSeries {
        let secured = ws_url(target).is_ok_and(|url| url.scheme().is_secure());
        InitialSeries::of(&[
            (Stage::Resolve, true),
            (Stage::Connect, true),
            (Stage::Secure, secured),
            (Stage::Send, true),
            (Stage::Wait, true),
            (Stage::Receive, true),
        ])
    }
}
