//! The cookies of one probe (RFC 6265): set by its answers, sent by its later requests, gone with it.

use cookie_store::{CookieStore, RawCookie};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use url::Url;

/// Cookies that one probe keeps.
const MOST: usize = 50;

/// Bytes of one cookie.
const LONGEST: usize = 4096;

/// What answers have set so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Cookies(CookieStore);

impl Cookies {
    /// Takes those that the answer from a URL sets. One for all of a public suffix, such as `co.uk`, is for nobody.
    pub fn take(&mut self, url: &Url, headers: &HeaderMap) {
        for field in headers.get_all(SET_COOKIE) {
            let text = field.to_str().ok().filter(|text| text.len() <= LONGEST);
            let Some(cookie) = text.and_then(|text| RawCookie::parse(text).ok()) else {
                continue;
            };
            let is_public = |domain: &str| psl::suffix_str(domain) == Some(domain);
            let too_wide = cookie.domain().is_some_and(|domain| {
                let domain = domain.trim_start_matches('.').to_ascii_lowercase();
                is_public(&domain) && url.host_str() != Some(&domain)
            });
            if !too_wide && self.0.iter_any().count() < MOST {
                // What the standard does not take is left out.
                let _ = self.0.insert_raw(&cookie.into_owned(), url);
            }
        }
    }

    /// Adds those that belong to a URL, after the module's own.
    pub fn add_to(&self, url: &Url, headers: &mut HeaderMap) {
        let set = self
            .0
            .get_request_values(url)
            .map(|(name, value)| format!("{name}={value}"));
        let own = headers
            .get(COOKIE)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let all: Vec<_> = own.into_iter().chain(set).collect();
        if let Ok(mut value) = HeaderValue::try_from(all.join("; "))
            && !all.is_empty()
        {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cookies;
    use http::HeaderMap;
    use http::header::{COOKIE, SET_COOKIE};
    use url::Url;

    fn sent(set: &[&str], from: &str, to: &str) -> String {
        let mut cookies = Cookies::default();
        let fields = set.iter().map(|text| (SET_COOKIE, text.parse().unwrap()));
        cookies.take(&Url::parse(from).unwrap(), &fields.collect());
        let mut headers = HeaderMap::new();
        cookies.add_to(&Url::parse(to).unwrap(), &mut headers);
        headers
            .get(COOKIE)
            .map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_cookie_goes_where_it_belongs() {
        let here = "http://a.example.com/x/";
        assert_eq!(sent(&["s=1"], here, "http://a.example.com/x/y"), "s=1");
        assert_eq!(sent(&["s=1"], here, "http://a.example.com:81/x/y"), "s=1");
        assert_eq!(sent(&["s=1"], here, "http://b.example.com/x/"), "");
        assert_eq!(
            sent(&["s=1; Domain=example.com; Path=/"], here, "http://b.example.com/"),
            "s=1"
        );
        assert_eq!(sent(&["s=1; Domain=com; Path=/"], here, "http://b.com/"), "");
        assert_eq!(sent(&["s=1; Domain=com; Path=/"], here, here), "");
        assert_eq!(
            sent(&["s=1; Domain=co.uk; Path=/"], "http://a.co.uk/", "http://b.co.uk/"),
            ""
        );
        assert_eq!(sent(&["s=1; Path=/y"], here, here), "");
        assert_eq!(
            sent(&["s=1; Secure"], "https://a.example.com/", "http://a.example.com/"),
            ""
        );
        assert_eq!(sent(&["s=1; Max-Age=0"], here, here), "");
        assert_eq!(sent(&["s=1", "s=2"], here, here), "s=2");
        assert_eq!(sent(&["no cookie"], here, here), "");
    }
}
