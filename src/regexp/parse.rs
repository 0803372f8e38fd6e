//! Reads Go's syntax.

use super::RegexpError;
use super::class;
use super::escape::{self, Escape};
use regex_syntax::hir::{Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, Look, Repetition};

/// Groups within groups. Go allows 1000; what is built from them is walked by recursion, on any thread's stack.
const DEEPEST: usize = 100;

/// Operations within operations. Not only groups nest: in `a*(?i)*(?i)*` each star holds the one before.
const TALLEST: usize = 200;

/// The largest count of a repetition, and the largest product of those within each other.
const MOST_REPEATS: u32 = 1000;

const MISSING_PAREN: &str = "missing closing )";
const MISSING_ARGUMENT: &str = "missing argument to repetition operator";
const BAD_COUNT: &str = "invalid repeat count";
const BAD_PERL: &str = "invalid or unsupported Perl syntax";
const BAD_NAME: &str = "invalid named capture";
const TOO_DEEP: &str = "expression nests too deeply";

/// What an expression means, and the names of its groups.
pub(super) struct ParsedPattern {
    pub hir: Hir,
    /// The first is the whole, which has none.
    pub names: Vec<Option<String>>,
}

/// What `(?ims U)` switches.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "flags are what they are")]
pub(super) struct Flags {
    /// `i`: the case of letters does not matter.
    pub fold: bool,
    /// `m`: `^` and `$` are those of lines.
    lines: bool,
    /// `s`: `.` is also the end of a line.
    dot_all: bool,
    /// `U`: what is greedy is not, and the other way round.
    swap_greed: bool,
}

/// One part.
struct Piece {
    hir: Hir,
    /// The largest product of counts within it.
    product: u32,
    /// How many operations hold each other in it.
    height: usize,
}

struct Parser<'p> {
    pattern: &'p str,
    at: usize,
    flags: Flags,
    depth: usize,
    names: Vec<Option<String>>,
}

/// Reads a whole expression.
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
    // The engine itself makes a group of the whole. One of ours would keep it from searching for plain text.
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

    /// What was read since `from`.
    fn since(&self, from: usize) -> &str {
        &self.pattern[from..self.at]
    }

    /// Up to a closing parenthesis that is not ours, or the end.
    fn alternatives(&mut self) -> Result<Piece, RegexpError> {
        let mut branches = vec![self.sequence()?];
        while self.eat("|") {
            branches.push(self.sequence()?);
        }
        Ok(joined(branches, Hir::alternation))
    }

    fn sequence(&mut self) -> Result<Piece, RegexpError> {
        let mut pieces: Vec<Piece> = Vec::new();
        // Where the repetition before began, if what came last is one.
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
                    let set = class::bracket(self.rest(), self.flags.fold)?;
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

    /// A character that stands for itself, for any, or for a place.
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
            // Half a UTF-16 pair is a character to Go, but is in no text.
            Escape::Character(code) => {
                char::from_u32(code).map_or_else(|| plain(Hir::fail()), |known| self.literal(known))
            }
            Escape::Class(class) => plain(Hir::class(Class::Unicode(class))),
        });
        Ok(())
    }

    /// `(…)`, `(?:…)`, `(?P<name>…)`, or flags for what follows, which are no part.
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
                    // Groups are counted in a pattern, which is shorter than that.
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                    // Unlike in Go, the engine's names are unique: ours are kept beside it.
                    name: None,
                    sub: Box::new(inner.hir),
                }),
                product: inner.product,
                height: self.above(inner.height)?,
            },
        }))
    }

    /// The height of what holds a part of this height.
    fn above(&self, height: usize) -> Result<usize, RegexpError> {
        match height + 1 {
            tall if tall > TALLEST => Err(RegexpError::new(TOO_DEEP, self.pattern)),
            tall => Ok(tall),
        }
    }

    /// `P<name>` or `<name>`. Gives the group's index.
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

    /// `i`, `-s` and the like, up to `:`, after which a group follows, or `)`, after which none does.
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

    /// `{2}`, `{2,}` or `{2,5}`; `None` where the brace is one.
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
        // What is no u32 is too large anyhow.
        let number = |text: &str| text.parse().unwrap_or(u32::MAX);
        let (min, max) = (number(min), max.map(number));
        self.at += inner.len() + 2;
        if min > MOST_REPEATS || max.is_some_and(|max| max > MOST_REPEATS || max < min) {
            return Err(RegexpError::new(BAD_COUNT, self.since(from)));
        }
        Ok(Some((min, max)))
    }

    /// Repeats the last part. `from` is where the operator began, `before` where one right before it did.
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
            // As in Go, what is never repeated may hold any counts.
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

/// Several parts as one.
fn joined(pieces: Vec<Piece>, join: fn(Vec<Hir>) -> Hir) -> Piece {
    let tallest = pieces.iter().map(|piece| piece.height).max().unwrap_or(0);
    Piece {
        product: pieces.iter().map(|piece| piece.product).max().unwrap_or(1),
        height: tallest + usize::from(pieces.len() > 1),
        hir: join(pieces.into_iter().map(|piece| piece.hir).collect()),
    }
}

/// Any character; without the end of a line, unless that counts too.
fn any(and_newline: bool) -> ClassUnicode {
    let mut newline = if and_newline {
        ClassUnicode::empty()
    } else {
        ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')])
    };
    newline.negate();
    newline
}
