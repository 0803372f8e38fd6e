//! The `head` element of all HTML pages.

use maud::{Markup, html};

/// The element. `prefix` is added to every path. `script` is the name of the page's script, if it has one.
#[must_use]
pub fn page_head(title: &str, prefix: &str, script: Option<&str>) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            title { (title) }
            link rel="stylesheet" href={ (prefix) "/style.css" };
            @if let Some(script) = script { script src={ (prefix) "/" (script) } defer {} }
        }
    }
}
