//! A minimal DER parser (X.690) for finding and reading a public key.

/// `INTEGER`.
pub(super) const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub(super) const BIT_STRING: u8 = 0x03;
/// `SEQUENCE`.
pub(super) const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xa0;

/// Removes the next element from `input` and returns its tag and contents.
pub(super) fn next<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // No certificate in a TLS handshake is longer than 24 bits can express.
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (
                bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
                rest,
            )
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some((tag, contents))
}

/// Removes the next element, which must have this tag, and returns its contents.
pub(super) fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    next(input)
        .filter(|(found, _)| *found == tag)
        .map(|(_, contents)| contents)
}

#[cfg(test)]
mod tests {
    use super::{INTEGER, SEQUENCE, expect, next};

    #[test]
    fn elements_are_taken_one_by_one_and_no_byte_beyond_the_end() {
        let mut input: &[u8] = &[2, 1, 7, 0x30, 0x81, 2, 5, 0];
        assert_eq!(next(&mut input), Some((INTEGER, &[7][..])));
        assert_eq!(expect(&mut input, SEQUENCE), Some(&[5, 0][..]));
        assert_eq!(next(&mut input), None);
        for broken in [
            &[2][..],
            &[2, 2, 0],
            &[2, 0x82, 1],
            &[2, 0x80, 0, 0],
            &[2, 0x84, 0, 0, 0, 0],
        ] {
            assert_eq!(next(&mut { broken }), None, "{broken:?}");
        }
        assert_eq!(expect(&mut &[2, 0][..], SEQUENCE), None);
    }
}
