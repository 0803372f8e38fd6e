//! A JSON document as CEL has it, with no more values than there is room for: one of a few bytes takes some hundreds.

use cel::Value;
use cel::objects::{Key, Map};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Why a body is no document.
#[derive(Debug)]
pub(super) enum NoDocument {
    /// It is no JSON.
    Invalid(serde_json::Error),
    /// It has more values than are read.
    TooLarge,
}

/// Reads a document of at most so many values, which counts those within others.
pub(super) fn read(body: &[u8], most_values: usize) -> Result<Value, NoDocument> {
    let room = Cell::new(Some(most_values));
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = Reading { room: &room }.deserialize(&mut json);
    let whole = read.and_then(|document| json.end().map(|()| document));
    whole.map_err(|error| match room.get() {
        None => NoDocument::TooLarge,
        Some(_) => NoDocument::Invalid(error),
    })
}

/// Reads one value where there is room for so many more; none where there was not.
#[derive(Clone, Copy)]
struct Reading<'r> {
    room: &'r Cell<Option<usize>>,
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.room.set(self.room.get().and_then(|room| room.checked_sub(1)));
        if self.room.get().is_none() {
            return Err(D::Error::custom("it is too large"));
        }
        deserializer.deserialize_any(self)
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "every number is a double, as in the peer's library"
)]
impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, is: bool) -> Result<Value, E> {
        Ok(Value::Bool(is))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Float(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Float(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(Arc::new(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element_seed(self)? {
            entries.push(entry);
        }
        Ok(Value::List(Arc::new(entries)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut fields = HashMap::new();
        while let Some(name) = object.next_key::<String>()? {
            fields.insert(Key::String(Arc::new(name)), object.next_value_seed(self)?);
        }
        Ok(Value::Map(Map { map: Arc::new(fields) }))
    }
}

#[cfg(test)]
mod tests {
    use super::{NoDocument, read};
    use cel::Value;

    #[test]
    fn every_value_counts() {
        let body = br#"{"a": [1, -2, 0.5, {"b": null}], "c": "d", "e": true}"#;
        // The object, its three fields, four entries, and one field within.
        assert!(matches!(read(body, 9), Ok(Value::Map(_))));
        assert!(matches!(read(body, 8), Err(NoDocument::TooLarge)));
        assert!(matches!(read(b"7", 1), Ok(Value::Float(7.0))));
    }

    #[test]
    fn what_is_no_json_is_told_from_what_is_too_large() {
        for wrong in ["", "{", "[1,]", "1 2", "{'a': 1}", "nul"] {
            assert!(
                matches!(read(wrong.as_bytes(), 9), Err(NoDocument::Invalid(_))),
                "{wrong}"
            );
        }
    }
}
