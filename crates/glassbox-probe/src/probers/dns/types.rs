//! Record types: numbers, names, and fields of their data.

/// One field of a record's data.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    U8,
    U16,
    U32,
    Ip4,
    Ip6,
    Name,
    /// A character string in quotes.
    Text,
    /// All remaining character strings.
    Texts,
    /// A character string without quotes.
    Word,
    /// All remaining bytes, in quotes.
    Quoted,
    /// All remaining bytes, in hexadecimal.
    Hex,
    /// All remaining bytes, in upper-case hexadecimal.
    UpperHex,
    /// All remaining bytes, in base64.
    Base64,
    /// The number of a record type, written by its name.
    Type,
    /// All remaining bytes: a bitmap of types (RFC 4034 section 4.1.2).
    Types,
    /// A time (RFC 4034 section 3.2).
    Time,
    /// A salt with its length (RFC 5155 section 3.3).
    Salt,
    /// A hash with its length, in base32 (RFC 5155 section 3.3).
    Hash,
    /// All remaining bytes: service parameters (RFC 9460 section 2.1).
    Parameters,
}

use Field::{
    Base64, Hash, Hex, Ip4, Ip6, Parameters, Quoted, Salt, Text, Texts, Time, Type, Types, U8, U16, U32, UpperHex, Word,
};

/// A record type. The fields are empty if the type has no data or is written as in RFC 3597.
#[derive(Debug)]
pub struct TypeRow {
    /// The number (RFC 6895 section 3.1).
    pub number: u16,
    /// The name that `blackbox_exporter` accepts.
    pub name: &'static str,
    pub(super) fields: &'static [Field],
}

macro_rules! types {
    ($($number:literal $name:literal [$($field:expr),*];)+) => {
        /// All types that `blackbox_exporter` accepts by name.
        pub const TYPES: &[TypeRow] = &[$(TypeRow { number: $number, name: $name, fields: &[$($field),*] }),+];
    };
}

types! {
    0 "None" []; 1 "A" [Ip4]; 2 "NS" [Field::Name]; 3 "MD" [Field::Name]; 4 "MF" [Field::Name]; 5 "CNAME" [Field::Name];
    6 "SOA" [Field::Name, Field::Name, U32, U32, U32, U32, U32]; 7 "MB" [Field::Name]; 8 "MG" [Field::Name];
    9 "MR" [Field::Name]; 10 "NULL" []; 12 "PTR" [Field::Name]; 13 "HINFO" [Text, Text];
    14 "MINFO" [Field::Name, Field::Name]; 15 "MX" [U16, Field::Name]; 16 "TXT" [Texts]; 17 "RP" [Field::Name, Field::Name];
    18 "AFSDB" [U16, Field::Name]; 19 "X25" []; 20 "ISDN" []; 21 "RT" [U16, Field::Name]; 22 "NSAP" [];
    23 "NSAP-PTR" [Field::Name]; 24 "SIG" [Type, U8, U8, U32, Time, Time, U16, Field::Name, Base64];
    25 "KEY" [U16, U8, U8, Base64]; 26 "PX" [U16, Field::Name, Field::Name]; 27 "GPOS" []; 28 "AAAA" [Ip6]; 29 "LOC" [];
    30 "NXT" [Field::Name, Types]; 31 "EID" [UpperHex]; 32 "NIMLOC" [UpperHex]; 33 "SRV" [U16, U16, U16, Field::Name];
    34 "ATMA" []; 35 "NAPTR" [U16, U16, Text, Text, Text, Field::Name]; 36 "KX" [U16, Field::Name];
    37 "CERT" []; 39 "DNAME" [Field::Name]; 41 "OPT" []; 42 "APL" []; 43 "DS" [U16, U8, U8, UpperHex];
    44 "SSHFP" [U8, U8, UpperHex]; 45 "IPSECKEY" []; 46 "RRSIG" [Type, U8, U8, U32, Time, Time, U16, Field::Name, Base64];
    47 "NSEC" [Field::Name, Types]; 48 "DNSKEY" [U16, U8, U8, Base64]; 49 "DHCID" [Base64];
    50 "NSEC3" [U8, U8, U16, Salt, Hash, Types]; 51 "NSEC3PARAM" [U8, U8, U16, Salt]; 52 "TLSA" [U8, U8, U8, Hex];
    53 "SMIMEA" [U8, U8, U8, Hex]; 55 "HIP" []; 56 "NINFO" [Texts]; 57 "RKEY" [U16, U8, U8, Base64];
    58 "TALINK" [Field::Name, Field::Name]; 59 "CDS" [U16, U8, U8, UpperHex]; 60 "CDNSKEY" [U16, U8, U8, Base64];
    61 "OPENPGPKEY" [Base64]; 62 "CSYNC" [U32, U16, Types]; 63 "ZONEMD" [U32, U8, U8, Hex];
    64 "SVCB" [U16, Field::Name, Parameters]; 65 "HTTPS" [U16, Field::Name, Parameters]; 99 "SPF" [Texts];
    100 "UINFO" [Text]; 101 "UID" [U32]; 102 "GID" [U32]; 103 "UNSPEC" []; 104 "NID" []; 105 "L32" [U16, Ip4]; 106 "L64" [];
    107 "LP" [U16, Field::Name]; 108 "EUI48" []; 109 "EUI64" []; 128 "NXNAME" []; 249 "TKEY" []; 250 "TSIG" [];
    251 "IXFR" []; 252 "AXFR" []; 253 "MAILB" []; 254 "MAILA" []; 255 "ANY" []; 256 "URI" [U16, U16, Quoted];
    257 "CAA" [U8, Word, Quoted]; 258 "AVC" [Texts]; 260 "AMTRELAY" []; 261 "RESINFO" [Texts]; 32768 "TA" [U16, U8, U8, UpperHex];
    32769 "DLV" [U16, U8, U8, UpperHex]; 65535 "Reserved" [];
}

/// The number of a type by its name in `blackbox_exporter`.
#[must_use]
pub fn type_number(name: &str) -> Option<u16> {
    TYPES.iter().find(|row| row.name == name).map(|row| row.number)
}

pub(super) fn type_name(number: u16) -> String {
    match TYPES.iter().find(|row| row.number == number) {
        Some(row) => row.name.to_owned(),
        None => format!("TYPE{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{TYPES, type_number};
    use std::collections::HashSet;

    #[test]
    fn names_of_types_are_unique() {
        assert_eq!(
            TYPES.iter().map(|row| row.name).collect::<HashSet<_>>().len(),
            TYPES.len()
        );
        assert_eq!(
            TYPES.iter().map(|row| row.number).collect::<HashSet<_>>().len(),
            TYPES.len()
        );
        assert_eq!(type_number("MX"), Some(15));
        assert_eq!(type_number("mx"), None);
        assert_eq!(type_number("TYPE65"), None);
    }
}
