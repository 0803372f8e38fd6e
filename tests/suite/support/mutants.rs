//! Almost valid input: seeds with a few random faults, reproducible by number.

/// Tokens that often break parsers.
const TOKENS: [&[u8]; 24] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\0",
    b"\x1b[31m",
    b"\xff\xfe",
    b"\xe2\x80\xae",
    b"\xf0\x9f\x98",
    b"\"",
    b"\\",
    b";",
    b",",
    b":",
    b"=",
    b"{",
    b"<script>",
    b"%00",
    b"0",
    b"-1",
    b"65536",
    b"4294967296",
    b"18446744073709551616",
    b"1e309",
    b"99999999999999999999999999999999999999999999",
];

/// Endless iterator over the unchanged seeds, followed by faulty copies of them.
pub struct Mutants {
    seeds: Vec<Vec<u8>>,
    next: usize,
    state: u64,
}

impl Mutants {
    /// The mutants are the same for the same seeds and number.
    pub fn of(seeds: Vec<Vec<u8>>, number: u64) -> Self {
        assert!(!seeds.is_empty());
        Self {
            seeds,
            next: 0,
            state: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// A random number below `end`, from xorshift64*.
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let wide = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(wide).unwrap() % end.max(1)
    }

    fn fault(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = (at + 1 + self.below(16)).min(bytes.len());
        match self.below(8) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(self.below(256)).unwrap();
                }
            }
            2 => drop(bytes.drain(at.min(end)..end)),
            3 => {
                let again = bytes[at.min(end)..end].to_vec();
                let times = 1 + self.below(40);
                bytes.splice(at..at, again.repeat(times));
            }
            4 => bytes.truncate(at),
            5 => {
                let other = self.below(self.seeds.len());
                let from = self.below(self.seeds[other].len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&self.seeds[other][from..]);
            }
            _ => {
                let token = TOKENS[self.below(TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
        }
    }
}

impl Iterator for Mutants {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.next += 1;
        if let Some(seed) = self.seeds.get(self.next - 1) {
            return Some(seed.clone());
        }
        let seed = self.below(self.seeds.len());
        let mut bytes = self.seeds[seed].clone();
        for _ in 0..=self.below(4) {
            self.fault(&mut bytes);
        }
        Some(bytes)
    }
}
