//! Reads the representations of a field block one by one (RFC 7541 section 6), without a dynamic table.

use super::huffman;
use std::ops::Range;

/// The block is not valid HPACK, so its reader rejects it.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid;

/// An encoded string.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    is_huffman: bool,
    bytes: &'a [u8],
}

impl<'a> Text<'a> {
    /// The decoded text. `room` is the buffer for a compressed string.
    pub fn read<'b>(self, room: &'b mut Vec<u8>) -> Result<&'b [u8], Invalid>
    where
        'a: 'b,
    {
        if !self.is_huffman {
            return Ok(self.bytes);
        }
        room.clear();
        huffman::decode(self.bytes, room).then_some(&room[..]).ok_or(Invalid)
    }
}

/// The name of a field.
#[derive(Clone, Copy, Debug)]
pub enum Name<'a> {
    /// A name of the static table that is relevant here.
    Known(&'static [u8]),
    /// Any other name of the static table.
    Static,
    /// A name of the dynamic table.
    Dynamic,
    /// A literal name.
    Literal(Text<'a>),
}

/// One field and its representation.
#[derive(Clone, Debug)]
pub struct FieldLine<'a> {
    pub name: Name<'a>,
    /// The literal value. `None` for an indexed field: values of the static table are valid, and values of the dynamic
    /// table were checked when they were added.
    pub value: Option<Text<'a>>,
    /// The first bits of a literal with a literal name that has the same effect on the dynamic table.
    pub prefix: u8,
    /// The position of the representation in the block.
    pub place: Range<usize>,
    /// The position of its value, including the length. Empty for an indexed field.
    pub value_place: Range<usize>,
}

/// The fields of a block. Reading stops at the first invalid field.
pub struct FieldLines<'a> {
    length: usize,
    rest: &'a [u8],
    /// No field was read yet, so the size of the dynamic table may change (RFC 7541 section 4.2).
    may_resize: bool,
}

impl<'a> FieldLines<'a> {
    pub const fn of(block: &'a [u8]) -> Self {
        Self {
            length: block.len(),
            rest: block,
            may_resize: true,
        }
    }

    const fn offset(&self) -> usize {
        self.length - self.rest.len()
    }

    fn field(&mut self, first: u8) -> Result<FieldLine<'a>, Invalid> {
        let start = self.offset();
        let mut field = FieldLine {
            name: Name::Static,
            value: None,
            prefix: 0,
            place: start..start,
            value_place: start..start,
        };
        if first >= 0x80 {
            field.name = indexed(self.integer(7)?)?;
            field.value_place = self.offset()..self.offset();
        } else {
            let (bits, prefix) = if first >= 0x40 { (6, 0x40) } else { (4, first & 0x10) };
            field.prefix = prefix;
            field.name = match self.integer(bits)? {
                0 => Name::Literal(self.text()?),
                index => indexed(index)?,
            };
            let value_start = self.offset();
            field.value = Some(self.text()?);
            field.value_place = value_start..self.offset();
        }
        field.place.end = self.offset();
        Ok(field)
    }

    /// Reads an integer with a prefix of this number of bits (RFC 7541 section 5.1), up to five bytes long.
    fn integer(&mut self, bits: u32) -> Result<usize, Invalid> {
        let mask = (1_usize << bits) - 1;
        let mut integer = usize::from(self.byte()?) & mask;
        if integer < mask {
            return Ok(integer);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            integer += usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(integer);
            }
        }
        Err(Invalid)
    }

    fn text(&mut self) -> Result<Text<'a>, Invalid> {
        let is_huffman = *self.rest.first().ok_or(Invalid)? >= 0x80;
        let length = self.integer(7)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Invalid)?;
        self.rest = rest;
        Ok(Text { is_huffman, bytes })
    }

    fn byte(&mut self) -> Result<u8, Invalid> {
        let (byte, rest) = self.rest.split_first().ok_or(Invalid)?;
        self.rest = rest;
        Ok(*byte)
    }

    /// The next field, after any updates of the table size at the start of the block.
    fn read(&mut self) -> Result<Option<FieldLine<'a>>, Invalid> {
        while let Some(first) = self.rest.first().copied() {
            if !(0x20..0x40).contains(&first) {
                self.may_resize = false;
                return self.field(first).map(Some);
            }
            if !self.may_resize {
                return Err(Invalid);
            }
            self.integer(5)?;
        }
        Ok(None)
    }
}

impl<'a> Iterator for FieldLines<'a> {
    type Item = Result<FieldLine<'a>, Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read().transpose();
        if matches!(read, Some(Err(Invalid))) {
            self.rest = &[];
        }
        read
    }
}

/// The name at an index of the tables.
fn indexed(index: usize) -> Result<Name<'static>, Invalid> {
    Ok(match index {
        0 => return Err(Invalid),
        1 => Name::Known(b":authority"),
        2 | 3 => Name::Known(b":method"),
        4 | 5 => Name::Known(b":path"),
        6 | 7 => Name::Known(b":scheme"),
        8..=14 => Name::Known(b":status"),
        28 => Name::Known(b"content-length"),
        57 => Name::Known(b"transfer-encoding"),
        _ if index <= 61 => Name::Static,
        _ => Name::Dynamic,
    })
}

#[cfg(test)]
mod tests {
    use super::super::huffman::tests::encode;
    use super::{FieldLines, Invalid, Name};

    /// The literal names and values of a block.
    fn read(block: &[u8]) -> Result<Vec<String>, Invalid> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        FieldLines::of(block)
            .map(|field| {
                let field = field?;
                let mut room = Vec::new();
                let name = match field.name {
                    Name::Known(name) => text(name),
                    Name::Literal(name) => text(name.read(&mut room)?),
                    other => format!("{other:?}"),
                };
                let value = field.value.map(|value| value.read(&mut room).map(text)).transpose()?;
                Ok(format!("{name}: {}", value.unwrap_or_default()))
            })
            .collect()
    }

    #[test]
    fn the_responses_of_the_standard_are_read() {
        // RFC 7541 appendix C.5.1 and C.6.1.
        let expected = [
            ":status: 302",
            "Static: private",
            "Static: Mon, 21 Oct 2013 20:13:21 GMT",
            "Static: https://www.example.com",
        ];
        let values = [
            "302",
            "private",
            "Mon, 21 Oct 2013 20:13:21 GMT",
            "https://www.example.com",
        ];
        for compressed in [false, true] {
            let mut block = Vec::new();
            for (first, value) in [0x48, 0x58, 0x61, 0x6e].into_iter().zip(values) {
                let string = if compressed {
                    encode(value.as_bytes())
                } else {
                    value.into()
                };
                let length = u8::try_from(string.len()).unwrap() | if compressed { 0x80 } else { 0 };
                block.extend([first, length]);
                block.extend(string);
            }
            assert_eq!(read(&block), Ok(expected.map(str::to_owned).to_vec()));
        }
    }

    #[test]
    fn what_is_not_valid_is_not_read() {
        for block in [
            &b"\x80"[..],
            b"\xff\xff\xff",
            b"\xff\xff\xff\xff\xff\x01",
            b"\x00",
            b"\x00\x01x",
            b"\x00\x02x",
            b"\x00\x01x\x81\x00",
            b"\x88\x20",
            b"\x3f",
        ] {
            assert_eq!(read(block), Err(Invalid), "{block:x?}");
        }
        for block in [&b""[..], b"\x20\x3f\xe1\x1f\x88", b"\xbe", b"\x20"] {
            assert!(read(block).is_ok(), "{block:x?}");
        }
    }
}
