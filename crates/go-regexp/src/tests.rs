//! Examples of Go's dialect: patterns with matching and non-matching strings, and invalid patterns with their error
//! messages.

use super::{Regexp, expand};

/// Expected result of a pattern.
enum Does {
    Match,
    Miss,
    Refuse(&'static str),
}
use Does::{Match, Miss, Refuse};

const MISSING_PAREN: &str = "missing closing )";
const MISSING_BRACKET: &str = "missing closing ]";
const ARGUMENT: &str = "missing argument to repetition operator";
const NESTED: &str = "invalid nested repetition operator";
const COUNT: &str = "invalid repeat count";
const ESCAPE: &str = "invalid escape sequence";
const PERL: &str = "invalid or unsupported Perl syntax";
const RANGE: &str = "invalid character class range";
const NAME: &str = "invalid named capture";

const ROWS: &[(&str, &[u8], Does)] = &[
    // Literals and anchors.
    ("", b"", Match),
    ("", b"x", Match),
    ("abc", b"xabcx", Match),
    ("abc", b"xABCx", Miss),
    ("^abc$", b"abc", Match),
    ("^abc$", b"abc\n", Miss),
    ("^b", b"a\nb", Miss),
    ("a$", b"a\nb", Miss),
    (r"\Ab", b"a\nb", Miss),
    (r"a\z", b"ba", Match),
    (r"a\z", b"a\n", Miss),
    ("a.c", b"abc", Match),
    ("a.c", b"a\nc", Miss),
    ("a|b", b"b", Match),
    ("a||b", b"", Match),
    ("(|a)", b"", Match),
    ("()", b"", Match),
    ("é", "café".as_bytes(), Match),
    ("^.$", "é".as_bytes(), Match),
    ("^..$", "é".as_bytes(), Miss),
    // Braces that are not counts are literals.
    (r#"{"a":1}"#, br#"{"a":1}"#, Match),
    (r#"{"status": ?"ok"}"#, br#"{"status":"ok"}"#, Match),
    ("a{,5}", b"a{,5}", Match),
    ("a{,5}", b"aaa", Miss),
    ("a{x}", b"a{x}", Match),
    ("a{", b"a{", Match),
    ("}", b"}", Match),
    ("{", b"{", Match),
    ("{}", b"{}", Match),
    ("a{1", b"a{1", Match),
    ("a{01}", b"a{01}", Match),
    ("a{1,01}", b"a{1,01}", Match),
    ("a{ 1}", b"a{ 1}", Match),
    ("{1}", b"", Refuse(ARGUMENT)),
    // Counts.
    ("^a{2}$", b"aa", Match),
    ("^a{2}$", b"aaa", Miss),
    ("^a{2,}$", b"aaa", Match),
    ("^a{2,3}$", b"aaaa", Miss),
    ("^a{0}$", b"", Match),
    ("^a{0,0}b$", b"b", Match),
    ("^ab{2}$", b"abb", Match),
    ("a{1000}", b"a", Miss),
    ("a{1001}", b"", Refuse(COUNT)),
    ("a{1,1001}", b"", Refuse(COUNT)),
    ("a{2,1}", b"", Refuse(COUNT)),
    ("a{99999999999}", b"", Refuse(COUNT)),
    ("(a{100}){10}", b"a", Miss),
    ("(a{100}){11}", b"", Refuse(COUNT)),
    ("((a{10}){10}){11}", b"", Refuse(COUNT)),
    ("((a{1000}){0}){1000}", b"", Match),
    ("(a{1000})*", b"", Match),
    // Nested repetitions.
    ("a*?", b"", Match),
    ("(a*)*", b"aa", Match),
    ("(?:a*)*", b"aa", Match),
    ("(a+)?b", b"aab", Match),
    ("a**", b"", Refuse(NESTED)),
    ("a++", b"", Refuse(NESTED)),
    ("a*+", b"", Refuse(NESTED)),
    ("a+*", b"", Refuse(NESTED)),
    ("a??+", b"", Refuse(NESTED)),
    ("a*??", b"", Refuse(NESTED)),
    ("x{2}{3}", b"", Refuse(NESTED)),
    ("x{2}*", b"", Refuse(NESTED)),
    ("x*{2}", b"", Refuse(NESTED)),
    ("*", b"", Refuse(ARGUMENT)),
    ("+a", b"", Refuse(ARGUMENT)),
    ("?", b"", Refuse(ARGUMENT)),
    ("(*a)", b"", Refuse(ARGUMENT)),
    ("a|*", b"", Refuse(ARGUMENT)),
    ("(?i)*", b"", Refuse(ARGUMENT)),
    ("^*", b"", Match),
    ("$*", b"", Match),
    (r"\b+a", b"a", Match),
    ("a(?i)*", b"", Match),
    // Groups and flags.
    ("(?i)abc", b"aBC", Match),
    ("(?i:a)b", b"Ab", Match),
    ("(?i:a)b", b"AB", Miss),
    ("(a(?i)b)c", b"aBc", Match),
    ("(a(?i)b)c", b"aBC", Miss),
    ("(?i)a(?-i)b", b"Ab", Match),
    ("(?i)a(?-i)b", b"AB", Miss),
    ("a(?i)b|c", b"C", Match),
    ("(?s)a.c", b"a\nc", Match),
    ("(?s-i:a.c)", b"a\nc", Match),
    ("(?m)^b$", b"a\nb\nc", Match),
    ("(?m)^b$", b"a\r\nb\r\nc", Miss),
    ("(?is)A.c", b"a\nC", Match),
    ("(?U)a+", b"aa", Match),
    ("(?P<n>a)", b"a", Match),
    ("(?<n>a)", b"a", Match),
    ("(?P<n1_>a)", b"a", Match),
    ("(?x)a", b"", Refuse(PERL)),
    ("(?=a)", b"", Refuse(PERL)),
    ("(?!a)", b"", Refuse(PERL)),
    ("(?<=a)", b"", Refuse(NAME)),
    ("(?<!a)", b"", Refuse(NAME)),
    ("(?>a)", b"", Refuse(PERL)),
    ("(?#a)", b"", Refuse(PERL)),
    ("(?P=n)", b"", Refuse(PERL)),
    ("(?P>n)", b"", Refuse(PERL)),
    ("(?-)", b"", Refuse(PERL)),
    ("(?i-)", b"", Refuse(PERL)),
    ("(?i-s-m)", b"", Refuse(PERL)),
    ("(?P<n>a)(?P<n>b)", b"ab", Match),
    ("(?P<>a)", b"", Refuse(NAME)),
    ("(?P<n-m>a)", b"", Refuse(NAME)),
    ("(?P<n", b"", Refuse(NAME)),
    ("(a", b"", Refuse(MISSING_PAREN)),
    ("a)", b"", Refuse("unexpected )")),
    (")", b"", Refuse("unexpected )")),
    // Escapes.
    (r"\.\*\?\+\(\)\[\]\{\}\|\^\$\\", br".*?+()[]{}|^$\", Match),
    (r"\<html\>", b"<html>", Match),
    (r"\<html\>", b"html", Miss),
    (r"\-\_\/\:\@\#\%\&\=\!\~\`\,\;\'", b"-_/:@#%&=!~`,;'", Match),
    (r#"\""#, b"\"", Match),
    (r"^\a\f\n\r\t\v$", b"\x07\x0c\n\r\t\x0b", Match),
    (r"^\012$", b"\n", Match),
    (r"^\101$", b"A", Match),
    (r"^\0$", b"\0", Match),
    (r"^\08$", b"\x008", Match),
    (r"^\1234$", b"S4", Match),
    (r"^\12$", b"\n", Match),
    (r"^\x41$", b"A", Match),
    (r"^\x{41}$", b"A", Match),
    (r"^\x{000041}$", b"A", Match),
    (r"^\x{1F600}$", "😀".as_bytes(), Match),
    (r"\x{110000}", b"", Refuse(ESCAPE)),
    (r"\x{}", b"", Refuse(ESCAPE)),
    (r"\x{41", b"", Refuse(ESCAPE)),
    (r"\x4", b"", Refuse(ESCAPE)),
    (r"\xZZ", b"", Refuse(ESCAPE)),
    (r"(a)\1", b"", Refuse(ESCAPE)),
    (r"\8", b"", Refuse(ESCAPE)),
    (r"\Z", b"", Refuse(ESCAPE)),
    (r"\C", b"", Refuse(ESCAPE)),
    (r"\h", b"", Refuse(ESCAPE)),
    (r"\y", b"", Refuse(ESCAPE)),
    (r"\G", b"", Refuse(ESCAPE)),
    (r"\K", b"", Refuse(ESCAPE)),
    (r"\R", b"", Refuse(ESCAPE)),
    (r"\X", b"", Refuse(ESCAPE)),
    (r"\u0041", b"", Refuse(ESCAPE)),
    (r"\e", b"", Refuse(ESCAPE)),
    (r"\é", b"", Refuse(ESCAPE)),
    ("a\\", b"", Refuse("trailing backslash at end of expression")),
    (r"\Qa.b\E", b"a.b", Match),
    (r"\Qa.b\E", b"axb", Miss),
    (r"\Qa.b", b"a.b", Match),
    (r"^\Qab\E*$", b"abbb", Match),
    (r"^\Qab\E*$", b"abab", Miss),
    (r"\Q\E", b"", Match),
    (r"\Q\E*", b"", Refuse(ARGUMENT)),
    (r"\Q\\E", br"\", Match),
    (r"(?i)\Qa.B\E", b"A.b", Match),
    // Perl classes contain only ASCII characters.
    (r"^\d+$", b"0123456789", Match),
    (r"\d", "٣".as_bytes(), Miss),
    (r"\w", "é".as_bytes(), Miss),
    (r"^\w+$", b"aZ_9", Match),
    (r"\s", b"\x0b", Miss),
    (r"\s", b"\x0c", Match),
    (r"\s", "\u{a0}".as_bytes(), Miss),
    (r"^\D$", "é".as_bytes(), Match),
    (r"^\W$", "é".as_bytes(), Match),
    (r"^\S$", b"\x0b", Match),
    (r"\bfoo\b", b"a foo b", Match),
    (r"\bfoo\b", b"afoo", Miss),
    (r"\bfoo\b", "éfoo".as_bytes(), Match),
    (r"\Boo", b"foo", Match),
    // Bracket expressions.
    ("[abc]", b"b", Match),
    ("[^abc]", b"b", Miss),
    ("[^a]", b"\n", Match),
    ("[a-c]", b"b", Match),
    ("[]a]", b"]", Match),
    ("[^]a]", b"]", Miss),
    ("[^]a]", b"b", Match),
    ("[a-]", b"-", Match),
    ("[-a]", b"-", Match),
    ("[a-c-e]", b"-", Match),
    ("[a-c-e]", b"d", Miss),
    ("[[a]", b"[", Match),
    ("[a-z&&[^b]]", b"b]", Match),
    ("[a-z&&[^b]]", b"c", Miss),
    ("[a-z&&[^b]]", b"&]", Match),
    ("[a~~b]", b"~", Match),
    ("[a-z&&b]", b"&", Match),
    (r"[\d]", b"7", Match),
    (r"[^\d]", b"7", Miss),
    (r"[\D]", b"7", Miss),
    (r"[\w-]", b"-", Match),
    (r"[\]]", b"]", Match),
    (r"[\n\x41\101]", b"A", Match),
    (r"[\pL]", "é".as_bytes(), Match),
    ("[[:alpha:]]", b"x", Match),
    ("[[:^alpha:]]", b"x", Miss),
    ("[^[:alpha:]]", b"x", Miss),
    ("[[:word:]]", b"_", Match),
    ("[[:space:]]", b"\x0b", Match),
    ("[[:digit:][:upper:]]", b"Q", Match),
    ("[[:alpha:]]", "é".as_bytes(), Miss),
    ("[:alpha:]", b"p", Match),
    ("[[:foo:]]", b"", Refuse(RANGE)),
    ("[z-a]", b"", Refuse(RANGE)),
    ("[a--b]", b"", Refuse(RANGE)),
    (r"[a-\d]", b"", Refuse(ESCAPE)),
    ("[a", b"", Refuse(MISSING_BRACKET)),
    ("[", b"", Refuse(MISSING_BRACKET)),
    ("[]", b"", Refuse(MISSING_BRACKET)),
    ("[^]", b"", Refuse(MISSING_BRACKET)),
    (r"[\b]", b"", Refuse(ESCAPE)),
    // Unicode.
    (r"\pL", "é".as_bytes(), Match),
    (r"\PL", "é".as_bytes(), Miss),
    (r"\p{Lu}", b"A", Match),
    (r"\p{Lu}", b"a", Miss),
    (r"(?i)\p{Lu}", b"a", Match),
    (r"\p{Greek}", "α".as_bytes(), Match),
    (r"\p{^Greek}", "α".as_bytes(), Miss),
    (r"\P{^Greek}", "α".as_bytes(), Match),
    (r"\p{Any}", b"\n", Match),
    (r"\p{Alphabetic}", b"", Refuse(RANGE)),
    (r"\p{Foo}", b"", Refuse(RANGE)),
    (r"\p{Greek", b"", Refuse(RANGE)),
    (r"\p", b"", Refuse(RANGE)),
    ("(?i)k", "\u{212a}".as_bytes(), Match),
    ("(?i)[k]", "\u{212a}".as_bytes(), Match),
    ("(?i)[^k]", b"K", Miss),
    ("(?i)[[:upper:]]", b"a", Match),
    ("(?i)straße", "STRASSE".as_bytes(), Miss),
    ("(?i)ſ", b"S", Match),
    // Each byte that is not valid UTF-8 is read as one U+FFFD.
    ("a.c", b"a\xffc", Match),
    ("^a..c$", b"a\xff\xfec", Match),
    ("^.$", b"\xe2\x82", Miss),
    ("^..$", b"\xe2\x82", Match),
    (r"\x{FFFD}", b"\xff", Match),
    ("[^a]", b"\xff", Match),
    (r"\xff", b"\xff", Miss),
    (r"\xff", "ÿ".as_bytes(), Match),
    // Patterns that require Go's parser.
    ("(?)a", b"a", Match),
    ("(?:)*", b"", Match),
    ("()*", b"", Match),
    ("^?a", b"ba", Match),
    ("^{2}a", b"a", Match),
    ("(?:^)+a", b"ba", Miss),
    ("a*(?i)*b", b"aaB", Match),
    (r"^ab\Q\E*$", b"abb", Match),
    (r"a*\Q\E*", b"", Match),
    ("(a{1000}){0,}", b"", Match),
    ("((a{1000}){0,}){2}", b"", Refuse(COUNT)),
    ("(?:(?:a{1000})*){2}", b"", Refuse(COUNT)),
    (
        "((((((((((x{2}){2}){2}){2}){2}){2}){2}){2}){2}){2})",
        b"",
        Refuse(COUNT),
    ),
    ("(a{500}|b){3}", b"", Refuse(COUNT)),
    ("(a{0,1}){1000}", b"", Match),
    ("a{0}{2}", b"", Refuse(NESTED)),
    ("{1001}", b"", Refuse(COUNT)),
    ("(|*)", b"", Refuse(ARGUMENT)),
    ("(?i:*)", b"", Refuse(ARGUMENT)),
    ("(?-:a)", b"", Refuse(PERL)),
    ("(?i-i)A", b"a", Miss),
    ("(?s-s)a.c", b"a\nc", Miss),
    ("(?m)(?-m)^b", b"a\nb", Miss),
    (r"(?m)\Ab", b"a\nb", Miss),
    (r"(?m)a\z", b"a\nb", Miss),
    ("(?m)a$", b"a\nb", Match),
    ("(?m)^$", b"a\n", Match),
    ("(?P<1>a)", b"a", Match),
    ("(?P<\u{e9}>a)", b"", Refuse(NAME)),
    ("(?P<", b"", Refuse(PERL)),
    ("(?<", b"", Refuse(PERL)),
    ("(?'n'a)", b"", Refuse(PERL)),
    ("(?|a)", b"", Refuse(PERL)),
    ("(?", b"", Refuse(PERL)),
    ("(?i", b"", Refuse(PERL)),
    (r"\E", b"", Refuse(ESCAPE)),
    (r"[\Qa]", b"", Refuse(ESCAPE)),
    (r"[\z]", b"", Refuse(ESCAPE)),
    ("[\\", b"", Refuse("trailing backslash at end of expression")),
    (r"^\777$", "\u{1ff}".as_bytes(), Match),
    (r"^\18$", b"\x018", Refuse(ESCAPE)),
    (r"\x{D800}", b"", Miss),
    (r"^[^\x{D800}-\x{DFFF}]$", b"a", Match),
    (r"^[\x{D7FF}-\x{E000}]$", "\u{e000}".as_bytes(), Match),
    (r"[\x{DC00}-\x{D800}]", b"", Refuse(RANGE)),
    ("[^\\x00-\\x{10FFFF}]", b"a", Miss),
    (r"^[\d-z]$", b"-", Match),
    (r"^[\d-z]$", b"a", Miss),
    ("^[--/]$", b".", Match),
    ("^[]-a]$", b"^", Match),
    ("^[[:alpha:]-z]$", b"-", Match),
    ("[[:alpha:", b"", Refuse(MISSING_BRACKET)),
    ("^[[:alpha:]+$", b"", Refuse(MISSING_BRACKET)),
    ("[[:ALPHA:]]", b"", Refuse(RANGE)),
    ("^[[:alpha:x]+$", b"[:alphx", Match),
    ("[[.a.]]", b"a]", Match),
    ("[[=a=]]", b"=]", Match),
    (r"(?i)^\w$", "\u{17f}".as_bytes(), Match),
    (r"(?i)^\W$", "\u{212a}".as_bytes(), Miss),
    (r"^\w$", "\u{212a}".as_bytes(), Miss),
    ("(?i)[^[:lower:]]", b"A", Miss),
    (r"(?i)\P{Lu}", b"aA", Miss),
    (r"(?i)\Qk", "\u{212a}".as_bytes(), Match),
    (r"(?i)\x6b", "\u{212a}".as_bytes(), Match),
    ("(?i)\u{130}", b"i", Miss),
    ("(?i)\u{1e9e}", "\u{df}".as_bytes(), Match),
    (r"\p{Zl}", "\u{2028}".as_bytes(), Match),
    (r"\P{Zp}", "\u{2029}".as_bytes(), Miss),
    (r"\p{Cs}", b"a", Miss),
    (r"\P{Cs}", b"a", Match),
    (r"\p{greek}", "\u{3b1}".as_bytes(), Match),
    (r"\p{Uppercase_Letter}", b"A", Match),
    (r"\p{LC}", b"a", Match),
    (r"\p{ASCII}", b"a", Match),
    (r"\p{Thai}", "\u{e01}".as_bytes(), Match),
    (r"\p{Grek}", b"", Refuse(RANGE)),
    (r"\p{IsGreek}", b"", Refuse(RANGE)),
    (r"\p{sc=Greek}", b"", Refuse(RANGE)),
    (r"\p{White_Space}", b"", Refuse(RANGE)),
    (r"\p{}", b"", Refuse(RANGE)),
    (r"\p^", b"", Refuse(RANGE)),
    (r"^\pNa$", b"7a", Match),
    ("^...$", b"\xed\xa0\x80", Match),
    ("^....$", b"\xf0\x9f\x98\x80", Miss),
    ("^....$", b"\xf0\x9f\x98a", Match),
    (r"\bfoo\b", b"\xfffoo\xff", Match),
    (r"^\PL$", b"\xff", Match),
    ("[\u{fffd}]", b"\x80", Match),
    // Examples from `blackbox_exporter`.
    ("^SSH-2.0-", b"SSH-2.0-OpenSSH_9.2", Match),
    ("^+OK", b"OK", Match),
    (r"^:[^ ]+ 001", b":irc.example 001 x", Match),
    (
        r"Invalid credentials|<title>.*\bLogin\b",
        b"<title>Please Login now",
        Match,
    ),
];

#[test]
fn expressions_mean_what_they_mean_in_go() {
    assert!(ROWS.len() >= 300, "{} rows", ROWS.len());
    let mut wrong = Vec::new();
    for (pattern, text, does) in ROWS {
        match (Regexp::new(pattern), does) {
            (Ok(regexp), Match) if regexp.is_match(text) => {}
            (Ok(regexp), Miss) if !regexp.is_match(text) => {}
            (Err(error), Refuse(words)) if error.to_string().starts_with(words) => {}
            (Ok(regexp), _) => wrong.push(format!("{pattern:?} is accepted; is_match: {}", regexp.is_match(text))),
            (Err(error), _) => wrong.push(format!("{pattern:?}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_refusal_shows_the_place_as_go_does() {
    for (pattern, words) in [
        ("a**", "invalid nested repetition operator: `**`"),
        ("a*??b", "invalid nested repetition operator: `*??`"),
        ("x{2}{3}y", "invalid nested repetition operator: `{2}{3}`"),
        ("a|*?b", "missing argument to repetition operator: `*?`"),
        ("a{1001}b", "invalid repeat count: `{1001}`"),
        (r"a\hb", r"invalid escape sequence: `\h`"),
        (r"\x", r"invalid escape sequence: `\x`"),
        (r"\x4", r"invalid escape sequence: `\x4`"),
        (r"\xZZa", r"invalid escape sequence: `\xZZ`"),
        (r"\x{}a", r"invalid escape sequence: `\x{}`"),
        (r"\x{41", r"invalid escape sequence: `\x{41`"),
        (r"\x{4g}", r"invalid escape sequence: `\x{4g`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"(a)\1b", r"invalid escape sequence: `\1`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        ("(?P<", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?<=a)", "invalid named capture: `(?<=a)`"),
        ("[a--b]", "invalid character class range: `a--`"),
        (r"\p{Greek", r"invalid character class range: `\p{Greek`"),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("[b-a]c", "invalid character class range: `b-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"a\p{Foo}b", r"invalid character class range: `\p{Foo}`"),
        ("x[a", "missing closing ]: `[a`"),
        ("(a", "missing closing ): `(a`"),
        ("a)b", "unexpected ): `a)b`"),
        ("(?P<n-m>a)", "invalid named capture: `(?P<n-m>`"),
        ("a\\", "trailing backslash at end of expression: ``"),
    ] {
        assert_eq!(Regexp::new(pattern).unwrap_err().to_string(), words, "{pattern}");
    }
}

#[test]
fn what_nests_without_end_is_refused() {
    for pattern in ["(".repeat(100_000), "(?:".repeat(100_000), "(?i:".repeat(1000)] {
        let error = Regexp::new(&pattern).unwrap_err().to_string();
        assert!(error.starts_with("expression nests too deeply"), "{}", &error[..60]);
    }
    let deep = format!("{}a{}", "(".repeat(90), ")".repeat(90));
    assert!(Regexp::new(&deep).is_ok_and(|regexp| regexp.is_match(b"a")));
    // Each group has four operations: repetition, capture, alternation and concatenation.
    let mixed = |levels: usize| format!("{}a{}", "(b|".repeat(levels), "c)+".repeat(levels));
    assert!(Regexp::new(&mixed(45)).is_ok_and(|regexp| regexp.is_match(b"b")));
    // Stars that are nested without a group.
    for flat in [
        mixed(60),
        format!("a{}", "*(?i)".repeat(100_000)),
        format!("a{}", r"*\Q\E".repeat(1000)),
    ] {
        let error = Regexp::new(&flat).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.starts_with("expression nests too deeply")));
    }
}

#[test]
fn groups_are_found_in_bytes_of_the_original() {
    let regexp = Regexp::new("(?P<first>.)-(?P<rest>.*)(z)?").unwrap();
    let found = regexp.captures(b"\xff\xfe\xe2\x82-ab\xff").unwrap();
    assert_eq!(found.group(0), Some(3..8));
    assert_eq!(found.named("first"), Some(3..4));
    assert_eq!(found.named("rest"), Some(5..8));
    assert_eq!(found.group(3), None);
    assert_eq!(found.group(9), None);
    assert_eq!(found.named("nobody"), None);
    assert!(regexp.captures(b"none").is_none());
    let twice = Regexp::new("(?P<n>x)|(?P<n>y)").unwrap().captures(b"y").unwrap();
    assert_eq!(twice.named("n"), Some(0..1));
    let lazy = Regexp::new("(?U)a(.+)c").unwrap().captures(b"abcbc").unwrap();
    assert_eq!(lazy.group(1), Some(1..2));
    let greedy = Regexp::new("a(.+)c").unwrap().captures(b"abcbc").unwrap();
    assert_eq!(greedy.group(1), Some(1..4));
}

#[test]
fn templates_are_filled_as_in_go() {
    let text = b"PING \xffx:42";
    let found = Regexp::new(r"(?P<word>\w+) (?P<who>[^:]+):(?P<1x>\d+)(!)?")
        .unwrap()
        .captures(text)
        .unwrap();
    let fill = |template: &str| expand(template.as_bytes(), text, &found);
    for (template, filled) in [
        ("", &b""[..]),
        ("PONG $2", b"PONG \xffx"),
        ("${word}!", b"PING!"),
        ("$word!", b"PING!"),
        ("$wordy", b""),
        ("$1x", b"42"),
        ("${1}x", b"PINGx"),
        ("$0", b"PING \xffx:42"),
        ("$4.", b"."),
        ("$9.", b"."),
        ("$01|", b"|"),
        ("$00|", b"|"),
        ("$9999999999|", b"|"),
        ("$1\u{b2}", b"PING\xc2\xb2"),
        ("${1\u{345}}", b"${1\xcd\x85}"),
        ("$$$1", b"$PING"),
        ("$$1", b"$1"),
        ("a$", b"a$"),
        ("$ 1", b"$ 1"),
        ("${1", b"${1"),
        ("${}", b"${}"),
        ("${a b}", b"${a b}"),
        ("$-", b"$-"),
        ("$1$3", b"PING42"),
        ("$\u{e9}x|", b"|"),
    ] {
        assert_eq!(fill(template), filled, "{template}");
    }
    assert_eq!(expand(b"\xff$1", text, &found), b"\xffPING");
}

#[test]
fn a_large_text_is_searched_alike_and_can_be_given_up() {
    let long = |end: &str| format!("{}{end}", "error é \n".repeat(5000)).into_bytes();
    let mut broken = long("stack");
    broken.extend_from_slice(b"\xff\xfe tail");
    for (pattern, texts) in [
        ("stack", [long("stack"), long("")]),
        ("(?i)STACK$", [long("stack"), long("stack.")]),
        ("^error", [long(""), b"x".repeat(70_000)]),
        (r"\bstack\b", [long(" stack"), long("stacks")]),
        (r"(?m)^stack$", [long("stack"), long("stack x")]),
        (r"k\x{FFFD}\x{FFFD} t", [broken.clone(), long("stack")]),
        (r"é.{0,20}(stack|trace)", [long("é trace"), b"trace".repeat(9000)]),
        (r"[^a]{60000}", [b"b".repeat(60_000), b"b".repeat(59_999)]),
    ] {
        let Ok(regexp) = Regexp::new(pattern) else {
            // Go does not support this repetition either.
            continue;
        };
        for text in &texts {
            assert_eq!(
                regexp.is_match_until(text, || false),
                Some(regexp.is_match(text)),
                "{pattern}"
            );
        }
        assert_ne!(regexp.is_match(&texts[0]), regexp.is_match(&texts[1]), "{pattern}");
        assert_eq!(regexp.is_match_until(&texts[1], || true), None, "{pattern}");
    }
    // The regular engine handles a pattern that can match an empty string.
    assert_eq!(
        Regexp::new("x*").unwrap().is_match_until(&long(""), || true),
        Some(true)
    );
}

#[test]
fn a_search_that_takes_long_asks_whether_it_is_over() {
    let regexp = Regexp::new("(?i)(error|exception).{0,1000}(stack|trace)").unwrap();
    let text = b"error ".repeat(1 << 16);
    let asked = std::cell::Cell::new(0);
    let found = regexp.is_match_until(&text, || {
        asked.set(asked.get() + 1);
        asked.get() > 3
    });
    assert_eq!((found, asked.get()), (None, 4));
}
