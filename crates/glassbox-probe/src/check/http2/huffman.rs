//! The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B).

/// The end-of-string symbol, which no string may contain.
const END: usize = 256;

/// The longest code, in bits.
const LONGEST: usize = 30;

/// The length of each symbol's code, in bits. The code is canonical: shorter codes come first, and codes of one length
/// are in the order of their symbols. The lengths therefore define the whole code.
#[rustfmt::skip]
const LENGTHS: [u8; END + 1] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The codes of one length: the first code, their number, and the position of their symbols in the table.
#[derive(Clone, Copy)]
struct Codes {
    first: u32,
    count: u32,
    symbols: usize,
}

/// The codes by their length, and the symbols in the order of their codes.
struct Table {
    codes: [Codes; LONGEST + 1],
    symbols: [u16; END + 1],
}

static TABLE: Table = table();

const fn table() -> Table {
    let none = Codes {
        first: 0,
        count: 0,
        symbols: 0,
    };
    let mut table = Table {
        codes: [none; LONGEST + 1],
        symbols: [0; END + 1],
    };
    let (mut length, mut code, mut placed) = (1, 0, 0);
    while length <= LONGEST {
        code <<= 1;
        table.codes[length].first = code;
        table.codes[length].symbols = placed;
        let mut symbol: u16 = 0;
        while (symbol as usize) < LENGTHS.len() {
            if LENGTHS[symbol as usize] as usize == length {
                table.symbols[placed] = symbol;
                placed += 1;
                code += 1;
            }
            symbol += 1;
        }
        table.codes[length].count = code - table.codes[length].first;
        length += 1;
    }
    table
}

/// Appends the decoded string: up to 8 bytes for 5 encoded bytes. Returns false for an invalid string: it contains the
/// end-of-string code, or its padding is longer than 7 bits or not a prefix of that code.
pub fn decode(string: &[u8], into: &mut Vec<u8>) -> bool {
    let (mut bits, mut have) = (0_u64, 0);
    for byte in string {
        bits = (bits << 8) | u64::from(*byte);
        have += 8;
        while let Some((symbol, length)) = first_symbol(bits, have) {
            let Ok(byte) = u8::try_from(symbol) else { return false };
            into.push(byte);
            have -= length;
            bits &= (1 << have) - 1;
        }
    }
    have < 8 && bits == (1 << have) - 1
}

/// The first symbol in the lowest `have` bits, and the length of its code. `None` if the code is incomplete.
fn first_symbol(bits: u64, have: usize) -> Option<(u16, usize)> {
    let longest = have.min(LONGEST);
    (5..=longest).find_map(|length| {
        let codes = TABLE.codes[length];
        let code = u32::try_from(bits >> (have - length)).ok()?;
        let place = code.checked_sub(codes.first).filter(|place| *place < codes.count)?;
        Some((TABLE.symbols[codes.symbols + place as usize], length))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::{END, LENGTHS, TABLE, decode};
    use std::fmt::Write as _;

    /// Encodes a string.
    pub fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = String::new();
        for byte in text {
            let length = usize::from(LENGTHS[usize::from(*byte)]);
            let codes = TABLE.codes[length];
            let symbols = &TABLE.symbols[codes.symbols..][..codes.count as usize];
            let place = symbols.iter().position(|symbol| *symbol == u16::from(*byte)).unwrap();
            let code = codes.first + u32::try_from(place).unwrap();
            write!(bits, "{code:0length$b}").unwrap();
        }
        bits.push_str(&"1".repeat(bits.len().next_multiple_of(8) - bits.len()));
        let bytes = bits.as_bytes().chunks(8);
        bytes
            .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
            .collect()
    }

    fn decoded(string: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        decode(string, &mut text).then_some(text)
    }

    #[test]
    fn the_examples_of_the_standard_are_decoded() {
        for (string, text) in [
            (
                &b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..],
                &b"www.example.com"[..],
            ),
            (b"\xa8\xeb\x10\x64\x9c\xbf", b"no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf", b"custom-value"),
            (b"\x64\x02", b"302"),
            (b"\xae\xc3\x77\x1a\x4b", b"private"),
            (b"", b""),
        ] {
            assert_eq!(decoded(string).as_deref(), Some(text));
            assert_eq!(encode(text), string);
        }
    }

    #[test]
    fn every_byte_has_a_code() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encode(&all)), Some(all));
    }

    #[test]
    fn padding_is_the_begin_of_the_end_and_shorter_than_a_byte() {
        // '0' is 00000.
        assert_eq!(decoded(b"\x07").as_deref(), Some(&b"0"[..]));
        for invalid in [
            &b"\x06"[..],
            b"\x00\x00\xff\xff",
            b"\x07\xff",
            b"\xff",
            b"\xff\xff\xff\xff",
        ] {
            assert_eq!(decoded(invalid), None, "{invalid:?}");
        }
        assert_eq!(LENGTHS[END], 30);
    }
}
