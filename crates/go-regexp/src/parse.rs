//! Parser for Go's syntax.

use super::escape::{self, Escape};
use super::{RegexpError, bracket, class};
use regex_syntax::hir::{Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, Look, Repetition};

/// Maximum nesting depth of groups. Go allows 1000, but here the parsed expression is traversed recursively on the
/// stack of any thread.
const DEEPEST: usize = 100;

/// Maximum nesting depth of operations. Operations nest without groups as well: in `a*(?i)*(?i)*`, each star contains
/// the previous one.
const TALLEST: usize = 200;

/// Maximum count of a repetition, and maximum product of the counts of nested repetitions.
const MOST_REPEATS: u32 = 1000;

const MISSING_PAREN: &str = "missing closing )";
const MISSING_ARGUMENT: &str = "missing argument to repetition operator";
const BAD_COUNT: &str = "invalid repeat count";
const BAD_PERL: &str = "invalid or unsupported Perl syntax";
const BAD_NAME: &str = "invalid named capture";
const TOO_DEEP: &str = "expression nests too deeply";

/// A parsed expression and the names of its groups.
pub(super) struct ParsedPattern {
    pub hir: Hir,
    /// Names by group index. Group 0 is the whole match and has no name.
    pub names: Vec<Option<String>>,
}

/// The flags that `(?imsU)` sets.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each flag of the syntax is a bool")]
pub(super) struct Flags {
    /// `i`: ignore case.
    pub fold: bool,
    /// `m`: `^` and `$` match at the start and end of each line.
    lines: bool,
    /// `s`: `.` also matches a line feed.
    dot_all: bool,
    /// `U`: swap greedy and non-greedy.
    swap_greed: bool,
}

/// A part of an expression.
struct Piece {
    hir: Hir,
    /// Maximum product of nested repetition counts in this part.
    product: u32,
    /// Nesting depth of operations in this part.
    height: usize,
}

struct Parser<'p> {
    pattern: &'p str,
    at: usize,
    flags: Flags,
    depth: usize,
    names: Vec<Option<String>>,
}

/// Parses an expression.
pub(super) fn parse(pattern: &str) -> Result<ParsedPattern, RegexpError> {
    let mut parser = Parser {
        pattern,
        at: 0,
        flags: Flags::default(),
        depth: 0,
        names: vec![None],
    };
    let whole = parser.alternatives()?;
    if parser.at < pattern.len() {
        return Err(RegexpError::new("unexpected )", pattern));
    }
    // The engine adds a group for the whole match. An additional one would prevent its optimization for literals.
    Ok(ParsedPattern {
        hir: whole.hir,
        names: parser.names,
    })
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.pattern[self.at..]
    }

    fn eat(&mut self, text: &str) -> bool {
        let is_next = self.rest().starts_with(text);
        if is_next {
            self.at += text.len();
        }
        is_next
    }

    /// Returns the part of the pattern that was consumed since `from`.
    fn since(&self, from: usize) -> &str {
        &self.pattern[from..self.at]
    }

    /// Parses alternatives up to an unmatched closing parenthesis or the end.
    fn alternatives(&mut self) -> Result<Piece, RegexpError> {
        let mut branches = vec![self.sequence()?];
        while self.eat("|") {
            branches.push(self.sequence()?);
        }
        Ok(joined(branches, Hir::alternation))
    }

    fn sequence(&mut self) -> Result<Piece, RegexpError> {
        let mut pieces: Vec<Piece> = Vec::new();
        // Start of the preceding repetition operator, if it directly precedes this position.
        let mut repeated = None;
        while let Some(next) = self.rest().chars().next() {
            let from = self.at;
            match next {
                '|' | ')' => break,
                '*' | '+' | '?' => {
                    self.at += 1;
                    let (min, max) = match next {
                        '*' => (0, None),
                        '+' => (1, None),
                        _ => (0, Some(1)),
                    };
                    self.repeat(&mut pieces, (min, max), from, repeated)?;
                    repeated = Some(from);
                    continue;
                }
                '{' => {
                    if let Some(count) = self.count()? {
                        self.repeat(&mut pieces, count, from, repeated)?;
                        repeated = Some(from);
                        continue;
                    }
                    self.at += 1;
                    pieces.push(self.literal('{'));
                }
                '(' => pieces.extend(self.group()?),
                '[' => {
                    let set = bracket::parse(self.rest(), self.flags.fold)?;
                    self.at += set.length;
                    pieces.push(plain(Hir::class(Class::Unicode(set.class))));
                }
                '\\' => self.escape(&mut pieces)?,
                _ => {
                    self.at += next.len_utf8();
                    pieces.push(self.simple(next));
                }
            }
            repeated = None;
        }
        Ok(joined(pieces, Hir::concat))
    }

    /// Parses a literal character, `.`, `^` or `$`.
    fn simple(&self, character: char) -> Piece {
        let lines = self.flags.lines;
        match character {
            '.' => plain(Hir::class(Class::Unicode(any(self.flags.dot_all)))),
            '^' => plain(Hir::look(if lines { Look::StartLF } else { Look::Start })),
            '$' => plain(Hir::look(if lines { Look::EndLF } else { Look::End })),
            _ => self.literal(character),
        }
    }

    fn literal(&self, character: char) -> Piece {
        if self.flags.fold {
            let one = ClassUnicode::new([ClassUnicodeRange::new(character, character)]);
            return plain(Hir::class(Class::Unicode(class::folded(one))));
        }
        plain(Hir::literal(character.to_string().into_bytes()))
    }

    fn escape(&mut self, pieces: &mut Vec<Piece>) -> Result<(), RegexpError> {
        if self.eat("\\Q") {
            let (quoted, after) = match self.rest().split_once("\\E") {
                Some((quoted, _)) => (quoted.to_owned(), quoted.len() + 2),
                None => (self.rest().to_owned(), self.rest().len()),
            };
            self.at += after;
            pieces.extend(quoted.chars().map(|character| self.literal(character)));
            return Ok(());
        }
        let look = match self.rest().as_bytes().get(1) {
            Some(b'A') => Some(Look::Start),
            Some(b'z') => Some(Look::End),
            Some(b'b') => Some(Look::WordAscii),
            Some(b'B') => Some(Look::WordAsciiNegate),
            _ => None,
        };
        if let Some(look) = look {
            self.at += 2;
            pieces.push(plain(Hir::look(look)));
            return Ok(());
        }
        let (escaped, length) = escape::read(self.rest(), self.flags.fold)?;
        self.at += length;
        pieces.push(match escaped {
            // Go accepts a surrogate as a character, but no string contains one.
            Escape::Character(code) => {
                char::from_u32(code).map_or_else(|| plain(Hir::fail()), |known| self.literal(known))
            }
            Escape::Class(class) => plain(Hir::class(Class::Unicode(class))),
        });
        Ok(())
    }

    /// Parses `(…)`, `(?:…)`, `(?P<name>…)`, or flags, for which it returns `None`.
    fn group(&mut self) -> Result<Option<Piece>, RegexpError> {
        let outer = self.flags;
        let index = if self.eat("(?") {
            let named = |begin: &str| self.rest().starts_with(begin) && self.rest().len() > begin.len();
            if named("P<") || named("<") {
                Some(self.name()?)
            } else if self.switches()? {
                None
            } else {
                return Ok(None);
            }
        } else {
            self.at += 1;
            self.names.push(None);
            Some(self.names.len() - 1)
        };
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(RegexpError::new(TOO_DEEP, self.pattern));
        }
        let inner = self.alternatives()?;
        if !self.eat(")") {
            return Err(RegexpError::new(MISSING_PAREN, self.pattern));
        }
        self.depth -= 1;
        self.flags = outer;
        Ok(Some(match index {
            None => inner,
            Some(index) => Piece {
                hir: Hir::capture(Capture {
                    // The number of groups is limited by the length of the pattern.
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                    // The engine requires unique names, but Go does not. Therefore the names are stored separately.
                    name: None,
                    sub: Box::new(inner.hir),
                }),
                product: inner.product,
                height: self.above(inner.height)?,
            },
        }))
    }

    /// Returns the nesting depth of an operation that contains a part of depth `height`.
    fn above(&self, height: usize) -> Result<usize, RegexpError> {
        match height + 1 {
            tall if tall > TALLEST => Err(RegexpError::new(TOO_DEEP, self.pattern)),
            tall => Ok(tall),
        }
    }

    /// Parses `P<name>` or `<name>`. Returns the index of the group.
    fn name(&mut self) -> Result<usize, RegexpError> {
        let from = self.at - "(?".len();
        let begin = self.rest().find('<').unwrap_or_default() + 1;
        let Some(end) = self.rest().find('>') else {
            return Err(RegexpError::new(BAD_NAME, &self.pattern[from..]));
        };
        let name = self.rest()[begin..end].to_owned();
        self.at += end + 1;
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(letter) {
            return Err(RegexpError::new(BAD_NAME, self.since(from)));
        }
        self.names.push(Some(name));
        Ok(self.names.len() - 1)
    }

    /// Parses flags such as `i` or `-s` up to `:` or `)`. Returns whether a group follows, which `:` indicates.
    fn switches(&mut self) -> Result<bool, RegexpError> {
        let from = self.at - "(?".len();
        let mut flags = self.flags;
        let (mut on, mut saw) = (true, false);
        while let Some(letter) = self.rest().chars().next() {
            self.at += letter.len_utf8();
            match letter {
                'i' => flags.fold = on,
                'm' => flags.lines = on,
                's' => flags.dot_all = on,
                'U' => flags.swap_greed = on,
                '-' if on => {
                    (on, saw) = (false, false);
                    continue;
                }
                ':' | ')' if on || saw => {
                    self.flags = flags;
                    return Ok(letter == ':');
                }
                _ => break,
            }
            saw = true;
        }
        Err(RegexpError::new(BAD_PERL, self.since(from)))
    }

    /// Parses `{2}`, `{2,}` or `{2,5}`. Returns `None` if the brace is a literal.
    fn count(&mut self) -> Result<Option<(u32, Option<u32>)>, RegexpError> {
        let from = self.at;
        let Some((inner, _)) = self.rest()[1..].split_once('}') else {
            return Ok(None);
        };
        let is_number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits && (text.len() == 1 || !text.starts_with('0'))
        };
        let (min, max) = match inner.split_once(',') {
            None => (inner, Some(inner)),
            Some((min, "")) => (min, None),
            Some((min, max)) => (min, Some(max)),
        };
        if !is_number(min) || !max.is_none_or(is_number) {
            return Ok(None);
        }
        // A number that does not fit into u32 exceeds the maximum in any case.
        let number = |text: &str| text.parse().unwrap_or(u32::MAX);
        let (min, max) = (number(min), max.map(number));
        self.at += inner.len() + 2;
        if min > MOST_REPEATS || max.is_some_and(|max| max > MOST_REPEATS || max < min) {
            return Err(RegexpError::new(BAD_COUNT, self.since(from)));
        }
        Ok(Some((min, max)))
    }

    /// Repeats the last part. `from` is the start of the operator, and `before` is the start of a directly preceding
    /// operator.
    fn repeat(
        &mut self,
        pieces: &mut Vec<Piece>,
        (min, max): (u32, Option<u32>),
        from: usize,
        before: Option<usize>,
    ) -> Result<(), RegexpError> {
        let counted = self.since(from).starts_with('{');
        let lazy = self.eat("?");
        if let Some(before) = before {
            return Err(RegexpError::new(
                "invalid nested repetition operator",
                self.since(before),
            ));
        }
        let Some(last) = pieces.pop() else {
            return Err(RegexpError::new(MISSING_ARGUMENT, self.since(from)));
        };
        let product = match (counted, max) {
            // As in Go, a part whose maximum count is 0 may contain any counts.
            (true, Some(0)) => 1,
            (true, most) => last.product * most.unwrap_or(min).max(1),
            (false, _) => last.product,
        };
        if product > MOST_REPEATS {
            return Err(RegexpError::new(BAD_COUNT, self.since(from)));
        }
        let height = self.above(last.height)?;
        let hir = Hir::repetition(Repetition {
            min,
            max,
            greedy: lazy == self.flags.swap_greed,
            sub: Box::new(last.hir),
        });
        pieces.push(Piece { hir, product, height });
        Ok(())
    }
}

const fn plain(hir: Hir) -> Piece {
    Piece {
        hir,
        product: 1,
        height: 0,
    }
}

/// Joins several parts.
fn joined(pieces: Vec<Piece>, join: fn(Vec<Hir>) -> Hir) -> Piece {
    let tallest = pieces.iter().map(|piece| piece.height).max().unwrap_or(0);
    Piece {
        product: pieces.iter().map(|piece| piece.product).max().unwrap_or(1),
        height: tallest + usize::from(pieces.len() > 1),
        hir: join(pieces.into_iter().map(|piece| piece.hir).collect()),
    }
}

/// Returns the class of all characters, optionally without the line feed.
fn any(and_newline: bool) -> ClassUnicode {
    let mut newline = if and_newline {
        ClassUnicode::empty()
    } else {
        ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')])
    };
    newline.negate();
    newline
}
