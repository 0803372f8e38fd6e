//! Matches a page's whole text against a template.

/// Maximum number of words that `...` in a pattern matches.
const A_FEW: usize = 4;

/// Maximum number of words that `**` in a pattern matches.
const MANY: usize = 80;

/// Whether the visible text of a body matches the whole pattern, case-insensitively. Tags, scripts and styles are not
/// visible. In the pattern, `#` matches the status code, `*` one word, `nginx*` a word with this prefix, `...` up to
/// four words, and `**` up to 80 words.
pub(super) fn reads(body: &str, pattern: &str, status: u16) -> bool {
    let words = words_of(body);
    let tokens: Vec<&str> = pattern.split_whitespace().collect();
    fits(&words, &tokens, &status.to_string())
}

fn fits(words: &[&str], tokens: &[&str], status: &str) -> bool {
    let skips = |most: usize, rest: &[&str]| (0..=most.min(words.len())).any(|skip| fits(&words[skip..], rest, status));
    match tokens.split_first() {
        None => words.is_empty(),
        Some((&"**", rest)) => skips(MANY, rest),
        Some((&"...", rest)) => skips(A_FEW, rest),
        Some((token, rest)) => words
            .split_first()
            .is_some_and(|(word, others)| is_word(word, token, status) && fits(others, rest, status)),
    }
}

fn is_word(word: &str, token: &str, status: &str) -> bool {
    match token {
        "#" => word == status,
        _ => match token.strip_suffix('*') {
            Some(start) => word
                .get(..start.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(start)),
            None => word.eq_ignore_ascii_case(token),
        },
    }
}

/// The visible words of a page.
fn words_of(body: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut hidden = false;
    for (place, part) in body.split('<').enumerate() {
        let text = match part.split_once('>') {
            Some((tag, text)) if place > 0 => {
                hidden = hides(tag, hidden);
                text
            }
            _ => part,
        };
        if !hidden {
            words.extend(text.split_whitespace());
        }
    }
    words
}

/// Whether the text after a tag is hidden.
fn hides(tag: &str, hidden: bool) -> bool {
    let name = tag.split(|c: char| !c.is_ascii_alphanumeric() && c != '/').next();
    match name.unwrap_or_default().to_ascii_lowercase().as_str() {
        "script" | "style" => true,
        "/script" | "/style" => false,
        _ => hidden,
    }
}

#[cfg(test)]
mod tests {
    use super::reads;

    #[test]
    fn a_page_reads_so_from_its_first_word_to_its_last() {
        const NGINX: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway\
            </h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n<!-- a padding to disable it -->";
        for (body, pattern, does) in [
            (NGINX, "# Bad Gateway # Bad Gateway nginx*", true),
            (NGINX, "# Bad Gateway # Bad Gateway", false),
            (NGINX, "# Bad Gateway ... nginx*", true),
            (NGINX, "# ** nginx*", true),
            (NGINX, "503 ** nginx*", false),
            ("no healthy upstream\n", "No healthy upstream", true),
            ("{\"detail\":\"no healthy upstream\"}", "no healthy upstream", false),
            (
                "<p>Our partner says: no healthy upstream</p>",
                "no healthy upstream",
                false,
            ),
            ("one two three four five", "one ...", true),
            ("one two three four five six", "one ...", false),
            ("<style>p {}</style><p>one</p><script>x < 3</script>", "one", true),
            ("", "one", false),
        ] {
            assert_eq!(reads(body, pattern, 502), does, "{pattern}: {body}");
        }
    }
}
