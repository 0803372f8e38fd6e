//! The credentials of an HTTP client: the blocks `basic_auth` and `authorization`, and a bearer token.

use super::header_fields::header_value;
use super::oauth::OAuth2File;
use crate::block;
use crate::file::{ConfigIssue, Spanned, at, filled};
use crate::probers::credentials::{Credentials, SecretSource};
use crate::secret::Secret;

block! {
    /// Basic authentication credentials.
    BasicAuthFile {
        username: String,
        username_file: Spanned<String>,
        password: Secret,
        password_file: Spanned<String>,
    } unserved { username_ref, password_ref, }
}

block! {
    /// The contents of an `Authorization` header.
    AuthorizationFile {
        r#type: Spanned<String>,
        credentials: Spanned<Secret>,
        credentials_file: Spanned<String>,
    } unserved { credentials_ref, }
}

/// The authentication keys of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CredentialKeys<'a> {
    /// The key of this name.
    pub basic_auth: Option<&'a Spanned<BasicAuthFile>>,
    /// The key of this name.
    pub authorization: Option<&'a Spanned<AuthorizationFile>>,
    /// The key of this name.
    pub bearer_token: Option<&'a Spanned<Secret>>,
    /// The key of this name.
    pub bearer_token_file: Option<&'a Spanned<String>>,
    /// The key of this name.
    pub oauth2: Option<&'a Spanned<OAuth2File>>,
}

/// Builds the credentials. More than one authentication method is an error. An empty token counts as absent.
pub(crate) fn build(file: &CredentialKeys<'_>, path: &str) -> Result<Option<Credentials>, ConfigIssue> {
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
pub(crate) fn source(
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
