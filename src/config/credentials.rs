//! Composes the credentials of an http module.

use super::file::{AuthorizationFile, BasicAuthFile, HttpFile};
use super::problem::{Problem, at};
use crate::probers::http::{Credentials, Source};
use crate::secret::Secret;

/// At most one way to authenticate may be configured.
pub(super) fn compose(file: &HttpFile, path: &str) -> Result<Option<Credentials>, Problem> {
    let bearers = [
        file.bearer_token
            .as_ref()
            .map(|token| (at(token, path, "bearer_token", ""), Source::Text(token.value.clone()))),
        file.bearer_token_file.as_ref().map(|token| {
            (
                at(token, path, "bearer_token_file", ""),
                Source::File(token.value.clone().into()),
            )
        }),
    ];
    let mut bearers = bearers.into_iter().flatten();
    let bearer = bearers.next();
    if let Some((place, _)) = bearers.next() {
        return Err(refusal(
            place,
            "at most one of bearer_token & bearer_token_file must be configured",
        ));
    }
    if let Some((place, token)) = bearer {
        if file.basic_auth.is_some() || file.authorization.is_some() {
            let words = "at most one of basic_auth, authorization, bearer_token & bearer_token_file must be configured";
            return Err(refusal(place, words));
        }
        return Ok(Some(Credentials::Token {
            scheme: "Bearer".to_owned(),
            token,
        }));
    }
    match (&file.basic_auth, &file.authorization) {
        (Some(_), Some(second)) => Err(at(
            second,
            path,
            "authorization",
            "at most one of basic_auth, oauth2 & authorization must be configured",
        )),
        (Some(basic_auth), None) => basic(&basic_auth.value, at(basic_auth, path, "basic_auth", "")).map(Some),
        (None, Some(written)) => authorization(&written.value, at(written, path, "authorization", "")).map(Some),
        (None, None) => Ok(None),
    }
}

fn refusal(place: Problem, words: &str) -> Problem {
    Problem {
        words: words.to_owned(),
        ..place
    }
}

fn basic(file: &BasicAuthFile, place: Problem) -> Result<Credentials, Problem> {
    file.refuse_what_comes_later(&place.key)?;
    if file.username.is_some() && file.username_file.is_some() {
        return Err(refusal(
            place,
            "at most one of basic_auth username & username_file must be configured",
        ));
    }
    if file.password.is_some() && file.password_file.is_some() {
        return Err(refusal(
            place,
            "at most one of basic_auth password & password_file must be configured",
        ));
    }
    Ok(Credentials::Basic {
        username: source(file.username.clone().map(Secret::new), file.username_file.as_deref()),
        password: source(file.password.clone(), file.password_file.as_deref()),
    })
}

fn authorization(file: &AuthorizationFile, place: Problem) -> Result<Credentials, Problem> {
    file.refuse_what_comes_later(&place.key)?;
    if file.credentials.is_some() && file.credentials_file.is_some() {
        let words = "at most one of authorization credentials & authorization credentials_file must be configured";
        return Err(refusal(place, words));
    }
    let scheme = match file.kind.as_ref().map(|kind| kind.value.trim()) {
        None | Some("") => "Bearer".to_owned(),
        Some(kind) if kind.eq_ignore_ascii_case("basic") => {
            return Err(refusal(
                place,
                "authorization type cannot be set to \"basic\", use \"basic_auth\" instead",
            ));
        }
        Some(kind) => kind.to_owned(),
    };
    Ok(Credentials::Token {
        scheme,
        token: source(file.credentials.clone(), file.credentials_file.as_deref()),
    })
}

fn source(text: Option<Secret>, file: Option<&str>) -> Source {
    match file {
        Some(path) => Source::File(path.into()),
        None => Source::Text(text.unwrap_or_default()),
    }
}
