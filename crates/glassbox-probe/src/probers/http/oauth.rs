//! OAuth 2.0 tokens (RFC 6749 section 4.4, RFC 7523). They are fetched in a separate exchange and kept until they
//! expire.

mod token;

pub use token::Token;

use super::Versions;
use super::route::{Relay, Route};
use crate::check::{
    AddressFamily, BodyPlan, Check, HttpRequest, KeptBody, ProbeFailed, Refusal, RequestMode, Resolver, Tls,
};
use crate::probers::credentials::{SecretSource, basic};
use crate::probers::header_fields::host_field;
use crate::probers::proxies::Proxies;
use crate::secret::Secret;
use crate::secrets::Secrets;
use crate::target::HttpUrl;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use glassbox_verdict::reason::Reason;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method};
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use token::{is_valid, read};
use tokio::sync::Mutex;
use url::form_urlencoded::Serializer;

/// Maximum size of the token server's response in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Lifetime of an assertion, the same as in the library of `blackbox_exporter`.
const ASSERTION: Duration = Duration::from_hours(1);

/// A module's OAuth 2.0 settings.
#[derive(Debug)]
pub struct OAuth2 {
    /// URL of the token server.
    pub token_url: HttpUrl,
    /// The URL as written in the configuration: the default audience of an assertion.
    pub written_token_url: String,
    /// Client id.
    pub client_id: String,
    /// Grant type and its credentials.
    pub grant: Grant,
    /// Requested scopes.
    pub scopes: Vec<String>,
    /// Additional parameters. The values may be secrets.
    pub params: Vec<(String, Secret)>,
    /// TLS settings for the token server. The files are re-read when they change.
    pub tls: Tls,
    /// Proxies for the token server.
    pub proxies: Proxies,
    /// Resolver for the token server's name.
    pub resolver: Arc<Resolver>,
    /// The current token. The lock is held during a fetch, so that a token is not fetched twice at the same time.
    pub kept: Mutex<Option<Token>>,
    /// Whether the server rejected the client secret in a header and needs it in the body.
    pub in_body: AtomicBool,
}

/// The grant of a token request.
#[derive(Debug)]
pub enum Grant {
    /// The client secret.
    Secret(SecretSource),
    /// An assertion signed with the client's key (RFC 7523).
    Assertion(Box<Signing>),
}

/// How assertions are built and signed.
#[derive(Debug)]
pub struct Signing {
    /// Private key as PEM.
    pub key: SecretSource,
    /// Key id; empty for none.
    pub key_id: String,
    /// Signature algorithm: `RS256`, `RS384` or `RS512`.
    pub algorithm: Algorithm,
    /// Issuer; if empty, the client id.
    pub issuer: String,
    /// Audience; if empty, the token URL.
    pub audience: String,
    /// Additional claims.
    pub claims: Map<String, Value>,
}

/// A signature algorithm (RFC 7518 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with SHA-256.
    Rs256,
    /// RSA with SHA-384.
    Rs384,
    /// RSA with SHA-512.
    Rs512,
}

impl Algorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }

    const fn scheme(self) -> SignatureScheme {
        match self {
            Self::Rs256 => SignatureScheme::RSA_PKCS1_SHA256,
            Self::Rs384 => SignatureScheme::RSA_PKCS1_SHA384,
            Self::Rs512 => SignatureScheme::RSA_PKCS1_SHA512,
        }
    }
}

impl OAuth2 {
    /// The `Authorization` header with the current token, or with a new one.
    pub(super) async fn header(&self, check: &mut Check) -> Result<HeaderValue, ProbeFailed> {
        let Ok(mut kept) = tokio::time::timeout(check.left(), self.kept.lock()).await else {
            let words = "The deadline passed while another probe of this module was fetching the token.";
            return Err(check.fail(Reason::LocalCredentials, words));
        };
        if let Some(token) = kept.as_ref().filter(|token| Instant::now() < token.until) {
            return Ok(token.field.clone());
        }
        let token = self.fetch(check).await?;
        Ok(kept.insert(token).field.clone())
    }

    /// Drops a token that the target rejected, so that the next probe fetches a new one.
    pub(super) fn forget(&self, refused: &HeaderValue) {
        if let Ok(mut kept) = self.kept.try_lock()
            && kept.as_ref().is_some_and(|token| token.field == *refused)
        {
            *kept = None;
        }
    }

    async fn fetch(&self, check: &mut Check) -> Result<Token, ProbeFailed> {
        let secret = self.secret(Instant::now() + check.left()).await;
        let secret = secret.map_err(|refusal| check.refuse(refusal))?;
        let in_body = self.in_body.load(Ordering::Relaxed) || matches!(self.grant, Grant::Assertion(_));
        let (status, body) = self.ask(check, &secret, in_body).await?;
        let (status, body) = match status {
            // RFC 6749 section 2.3.1 requires the header, but some servers accept the secret only in the body.
            refused if !is_valid(refused) && !in_body => {
                let second = self.ask(check, &secret, true).await?;
                if is_valid(second.0) {
                    self.in_body.store(true, Ordering::Relaxed);
                }
                second
            }
            _ => (status, body),
        };
        read(status, &body, check.secrets()).map_err(|refusal| check.refuse(refusal))
    }

    /// The client secret or the signed assertion.
    async fn secret(&self, until: Instant) -> Result<Secret, Refusal> {
        match &self.grant {
            Grant::Secret(source) => source.text(until).await,
            Grant::Assertion(signing) => {
                let key = signing.key.text(until).await?;
                Ok(Secret::new(self.assertion(signing, &key)?))
            }
        }
    }

    /// Runs one exchange with the token server.
    async fn ask(&self, check: &mut Check, secret: &Secret, in_body: bool) -> Result<(u16, KeptBody), ProbeFailed> {
        check.begin_exchange(self.token_url.shown(), self.token_url.scheme().is_secure());
        check.fetch_credentials();
        let host = self.token_url.host().as_str();
        let server_name = self.tls.server_name();
        let route = Route {
            url: &self.token_url,
            place: self.token_url.host_port(),
            own_host: host,
            direct: false,
            resolver: &self.resolver,
            family: AddressFamily {
                prefers_ip4: true,
                fallback: true,
            },
            proxies: &self.proxies,
            tls: &self.tls,
            tls_name: server_name.unwrap_or(host),
            versions: Versions::Agreed,
        };
        let relay = route.open(check).await?;
        self.hide(check.secrets_mut(), secret);
        let ask = self.request(secret, in_body, relay.as_ref());
        // The credentials or the host of the token server are at fault, not the target.
        let ask = ask.map_err(|refusal| check.fail(Reason::LocalCredentials, refusal.message))?;
        check.send(ask).await?;
        check.wait().await?;
        let body = check
            .receive(|_| BodyPlan {
                read: true,
                keep: Some(LARGEST),
                ..BodyPlan::default()
            })
            .await?;
        match check.reply().map(|reply| reply.status) {
            Some(status) => Ok((status, body)),
            None => Err(check.fail_without_reply()),
        }
    }

    /// Registers the secrets that the token server may repeat.
    fn hide(&self, secrets: &mut Secrets, secret: &Secret) {
        secrets.add(secret.reveal().as_bytes());
        for (_, value) in &self.params {
            secrets.add(value.reveal().as_bytes());
        }
        if let Grant::Assertion(signing) = &self.grant {
            secrets.add_json(&signing.claims);
        }
    }

    /// The token request. With `relay`, it is written in the form for a proxy that forwards it.
    fn request(&self, secret: &Secret, in_body: bool, relay: Option<&Relay<'_>>) -> Result<HttpRequest, Refusal> {
        let mut headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("application/json")),
            (
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            ),
        ]);
        if !in_body {
            let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encoded(&self.client_id), encoded(secret.reveal()));
            headers.insert(AUTHORIZATION, basic(pair.as_bytes())?);
        }
        let mut target = self.token_url.target();
        if let Some(Relay(proxy)) = relay {
            target = [self.token_url.origin().as_bytes(), &target].concat();
            if let Some(value) = proxy.authorization() {
                headers.insert(PROXY_AUTHORIZATION, value);
            }
        }
        Ok(HttpRequest {
            method: Method::POST,
            scheme: self.token_url.scheme(),
            target: target.into(),
            authority: host_field(&self.token_url.authority())?,
            headers,
            body: Bytes::from(self.form(secret, in_body)),
            mode: relay.map_or(RequestMode::Normal, |_| RequestMode::Relayed),
        })
    }

    fn form(&self, secret: &Secret, in_body: bool) -> String {
        let mut form = Serializer::new(String::new());
        let own_grant = self.params.iter().any(|(name, _)| name == "grant_type");
        match self.grant {
            Grant::Secret(_) => {
                // As in the library of `blackbox_exporter`, a parameter may override the grant type.
                if !own_grant {
                    form.append_pair("grant_type", "client_credentials");
                }
                if in_body {
                    form.append_pair("client_id", &self.client_id);
                    form.append_pair("client_secret", secret.reveal());
                }
            }
            Grant::Assertion(_) => {
                form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
                form.append_pair("assertion", secret.reveal());
            }
        }
        if !self.scopes.is_empty() {
            form.append_pair("scope", &self.scopes.join(" "));
        }
        for (name, value) in &self.params {
            form.append_pair(name, value.reveal());
        }
        form.finish()
    }

    /// A signed assertion (RFC 7523 section 3).
    fn assertion(&self, signing: &Signing, key: &Secret) -> Result<String, Refusal> {
        let unusable = |what| Refusal::of_file(format!("client_certificate_key is not {what}."));
        let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes());
        let key = key.map_err(|_| unusable("a private key in PEM format"))?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| unusable("a usable RSA key"))?;
        let mut head = json!({ "alg": signing.algorithm.name(), "typ": "JWT" });
        if !signing.key_id.is_empty() {
            head["kid"] = json!(signing.key_id);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let or = |text: &str, other: &str| Some(text).filter(|text| !text.is_empty()).unwrap_or(other).to_owned();
        let mut claims = signing.claims.clone();
        claims.insert("iss".to_owned(), json!(or(&signing.issuer, &self.client_id)));
        claims.insert("sub".to_owned(), json!(self.client_id));
        claims.insert("aud".to_owned(), json!(or(&signing.audience, &self.written_token_url)));
        claims.insert("iat".to_owned(), json!(now.as_secs()));
        claims.insert("exp".to_owned(), json!((now + ASSERTION).as_secs()));
        claims.insert(
            "jti".to_owned(),
            json!(format!("{:016x}", getrandom::u64().unwrap_or_default())),
        );
        let packed = |value: &Value| BASE64URL.encode(value.to_string());
        let text = format!("{}.{}", packed(&head), packed(&Value::Object(claims)));
        let signer = key.choose_scheme(&[signing.algorithm.scheme()]);
        let signature = signer.and_then(|signer| signer.sign(text.as_bytes()).ok());
        let signature = signature.ok_or_else(|| unusable("an RSA key"))?;
        Ok(format!("{text}.{}", BASE64URL.encode(signature)))
    }
}
