//! Builds the credentials of http and websocket modules.

use super::file::{AuthorizationFile, BasicAuthFile, ClientFile, HttpFile, OAuth2File, Spanned};
use super::header_fields::header_value;
use super::issue::ConfigIssue;
use super::read::at;
use glassbox_probe::probers::credentials::{Credentials, SecretSource};
use glassbox_probe::secret::Secret;

/// The authentication keys of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct CredentialKeys<'a> {
    basic_auth: Option<&'a Spanned<BasicAuthFile>>,
    authorization: Option<&'a Spanned<AuthorizationFile>>,
    bearer_token: Option<&'a Spanned<Secret>>,
    bearer_token_file: Option<&'a Spanned<String>>,
    oauth2: Option<&'a Spanned<OAuth2File>>,
}

impl<'a> CredentialKeys<'a> {
    pub const fn of_http(file: &'a HttpFile) -> Self {
        Self {
            basic_auth: file.basic_auth.as_ref(),
            authorization: file.authorization.as_ref(),
            bearer_token: file.bearer_token.as_ref(),
            bearer_token_file: file.bearer_token_file.as_ref(),
            oauth2: file.oauth2.as_ref(),
        }
    }

    pub const fn of_client(file: &'a ClientFile) -> Self {
        Self {
            basic_auth: file.basic_auth.as_ref(),
            authorization: file.authorization.as_ref(),
            bearer_token: file.bearer_token.as_ref(),
            bearer_token_file: file.bearer_token_file.as_ref(),
            oauth2: file.oauth2.as_ref(),
        }
    }
}

/// Builds the credentials. More than one authentication method is an error. An empty token counts as absent.
pub(super) fn build(file: &CredentialKeys<'_>, path: &str) -> Result<Option<Credentials>, ConfigIssue> {
    let token = file.bearer_token.filter(|token| !token.value.reveal().is_empty());
    let token_file = filled(file.bearer_token_file);
    if let (Some(_), Some(second)) = (token, token_file) {
        let words = "at most one of bearer_token & bearer_token_file must be configured";
        return Err(at(second, path, "bearer_token_file", words));
    }
    let bearer = match (token, token_file) {
        (Some(token), _) => {
            header_value(token.value.reveal()).map_err(|words| at(token, path, "bearer_token", words))?;
            Some(SecretSource::Text(token.value.clone()))
        }
        (None, Some(file)) => Some(SecretSource::File(file.value.clone().into())),
        (None, None) => None,
    };
    if let Some(second) = file.oauth2
        && (file.basic_auth.is_some() || file.authorization.is_some() || bearer.is_some())
    {
        let words = "at most one of basic_auth, oauth2 & authorization must be configured";
        return Err(at(second, path, "oauth2", words));
    }
    match (file.basic_auth, file.authorization, bearer) {
        (Some(_), Some(second), _) => {
            let words = "at most one of basic_auth, oauth2 & authorization must be configured";
            Err(at(second, path, "authorization", words))
        }
        (Some(second), None, Some(_)) => {
            let words = "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured";
            Err(at(second, path, "basic_auth", words))
        }
        (None, Some(second), Some(_)) => {
            let words = "authorization is not compatible with bearer_token & bearer_token_file; remove one of them";
            Err(at(second, path, "authorization", words))
        }
        (Some(written), None, None) => basic(&written.value, &format!("{path}.basic_auth")).map(Some),
        (None, Some(written), None) => authorization(&written.value, &format!("{path}.authorization")).map(Some),
        (None, None, Some(token)) => Ok(Some(Credentials::Token {
            scheme: "Bearer".to_owned(),
            token,
        })),
        (None, None, None) => Ok(None),
    }
}

/// The value of a key, unless it is absent or empty.
pub(super) fn filled(written: Option<&Spanned<String>>) -> Option<&Spanned<String>> {
    written.filter(|written| !written.value.is_empty())
}

fn basic(file: &BasicAuthFile, path: &str) -> Result<Credentials, ConfigIssue> {
    let username = file.username.clone().map(Secret::new);
    Ok(Credentials::Basic {
        username: source(username, file.username_file.as_ref(), path, "username")?,
        password: source(file.password.clone(), file.password_file.as_ref(), path, "password")?,
    })
}

fn authorization(file: &AuthorizationFile, path: &str) -> Result<Credentials, ConfigIssue> {
    let scheme = match &file.r#type {
        Some(written) => match written.value.trim() {
            "" => "Bearer",
            basic if basic.eq_ignore_ascii_case("basic") => {
                let words = "authorization type cannot be set to \"basic\", use \"basic_auth\" instead";
                return Err(at(written, path, "type", words));
            }
            other => other,
        },
        None => "Bearer",
    };
    if let Some(written) = &file.credentials {
        header_value(written.value.reveal()).map_err(|words| at(written, path, "credentials", words))?;
    }
    Ok(Credentials::Token {
        scheme: scheme.to_owned(),
        token: source(
            file.credentials.as_ref().map(|written| written.value.clone()),
            file.credentials_file.as_ref(),
            path,
            "credentials",
        )?,
    })
}

/// A secret from `KEY` or from the file in `KEY_file`. Setting both is an error.
pub(super) fn source(
    text: Option<Secret>,
    file: Option<&Spanned<String>>,
    path: &str,
    key: &str,
) -> Result<SecretSource, ConfigIssue> {
    let text = text.filter(|text| !text.reveal().is_empty());
    match (text, filled(file)) {
        (Some(_), Some(second)) => {
            let block = path.rsplit('.').next().unwrap_or_default();
            let words = format!("at most one of {block} {key} & {key}_file must be configured");
            Err(at(second, path, &format!("{key}_file"), words))
        }
        (None, Some(file)) => Ok(SecretSource::File(file.value.clone().into())),
        (text, None) => Ok(SecretSource::Text(text.unwrap_or_default())),
    }
}
