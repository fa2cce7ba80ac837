//! Tensors: elements in JSON (flat or nested) and in binary (little-endian, row-major).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::protocol::{InputTensor, ProtocolError};

/// Elements in row-major order.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Flat {
    /// Numbers and truth values (1 and 0); `null` is a missing value, `NaN`.
    Numbers(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
}

impl Flat {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'de> Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut found = Elements::default();
        deserializer.deserialize_seq(Nested { found: &mut found, depth: 0 })?;
        match (found.numbers.is_empty(), found.texts.is_empty()) {
            (_, true) => Ok(Self::Numbers(found.numbers)),
            (true, false) => Ok(Self::Texts(found.texts)),
            (false, false) => Err(D::Error::custom("`data` mixes texts and numbers")),
        }
    }
}

#[derive(Default)]
struct Elements {
    numbers: Vec<f64>,
    texts: Vec<String>,
}

/// Deepest nesting; a tensor with more dimensions is refused.
const DEEPEST: u8 = 8;

struct Nested<'a> {
    found: &'a mut Elements,
    depth: u8,
}

impl<'de> DeserializeSeed<'de> for Nested<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, truth values, texts, null, or arrays of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.depth == DEEPEST {
            return Err(A::Error::custom(format!("`data` is nested deeper than {DEEPEST}")));
        }
        while seq.next_element_seed(Nested { found: self.found, depth: self.depth + 1 })?.is_some()
        {
        }
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.found.numbers.push(value);
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.visit_f64(f64::from(u8::from(value)))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.visit_f64(f64::NAN)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.found.texts.push(value.to_owned());
        Ok(())
    }
}

/// Numeric data types of the protocol, with their sizes in bytes.
const NUMBERS: [(&str, usize); 11] = [
    ("BOOL", 1),
    ("UINT8", 1),
    ("UINT16", 2),
    ("UINT32", 4),
    ("UINT64", 8),
    ("INT8", 1),
    ("INT16", 2),
    ("INT32", 4),
    ("INT64", 8),
    ("FP32", 4),
    ("FP64", 8),
];

/// Returns a tensor's elements, from JSON or from the next bytes of `binary`, which is advanced.
pub fn elements(tensor: &InputTensor, binary: &mut &[u8]) -> Result<Flat, ProtocolError> {
    let name = &tensor.name;
    let wrong = |cause: String| ProtocolError::bad_request(format!("input `{name}`: {cause}"));
    let product = tensor.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
    let expected = product.and_then(|count| usize::try_from(count).ok());
    let expected = expected.ok_or_else(|| wrong("the shape has too many elements".to_owned()))?;
    let is_text = tensor.datatype == "BYTES";
    let size = NUMBERS.iter().find(|(name, _)| *name == tensor.datatype).map(|(_, size)| *size);
    if size.is_none() && !is_text {
        return Err(wrong(format!("the datatype `{}` is not supported", tensor.datatype)));
    }
    let found = match (&tensor.data, tensor.parameters.get("binary_data_size")) {
        (Some(data), None) => data.clone(),
        (None, Some(length)) => {
            let length = length.as_u64().and_then(|length| usize::try_from(length).ok());
            let bytes = length.and_then(|length| binary.split_at_checked(length));
            let (bytes, rest) =
                bytes.ok_or_else(|| wrong("`binary_data_size` is beyond the body".to_owned()))?;
            *binary = rest;
            match size {
                None => Flat::Texts(texts(bytes).ok_or_else(|| {
                    wrong("the binary data is not a sequence of lengths and UTF-8".to_owned())
                })?),
                Some(size) if bytes.len() % size == 0 => {
                    Flat::Numbers(numbers(&tensor.datatype, bytes, size))
                }
                Some(size) => {
                    return Err(wrong(format!("the binary data is not in units of {size} bytes")));
                }
            }
        }
        (Some(_), Some(_)) => {
            return Err(wrong("has both `data` and `binary_data_size`".to_owned()));
        }
        (None, None) => return Err(wrong("has neither `data` nor `binary_data_size`".to_owned())),
    };
    if found.len() != expected {
        return Err(wrong(format!("has {} elements, its shape says {expected}", found.len())));
    }
    let fits = found.is_empty() || is_text == matches!(found, Flat::Texts(_));
    if fits { Ok(found) } else { Err(wrong(format!("the data is not {}", tensor.datatype))) }
}

/// Reads numbers of a known type; `bytes` is a whole number of them.
fn numbers(datatype: &str, bytes: &[u8], size: usize) -> Vec<f64> {
    let number = |chunk: &[u8]| {
        let mut all = [0_u8; 8];
        all[..size].copy_from_slice(chunk);
        let unsigned = u64::from_le_bytes(all);
        // A shift up and an arithmetic shift down extend the sign.
        let unused = 64 - 8 * u32::try_from(size).unwrap_or(8);
        let signed = (unsigned << unused).cast_signed() >> unused;
        match datatype {
            "FP64" => f64::from_bits(unsigned),
            "FP32" => {
                u32::try_from(unsigned).map_or(f64::NAN, |bits| f64::from(f32::from_bits(bits)))
            }
            "INT8" | "INT16" | "INT32" | "INT64" => signed as f64,
            _ => unsigned as f64,
        }
    };
    bytes.chunks_exact(size).map(number).collect()
}

/// Reads texts, each preceded by its length in four bytes.
fn texts(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        found.push(std::str::from_utf8(text).ok()?.to_owned());
        bytes = rest;
    }
    Some(found)
}

/// Writes elements as binary data of an output's type: FP64, BOOL or BYTES.
pub fn to_binary(datatype: &str, data: &Flat) -> Vec<u8> {
    match data {
        Flat::Texts(texts) => {
            let mut bytes = Vec::new();
            for text in texts {
                bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
                bytes.extend(text.as_bytes());
            }
            bytes
        }
        Flat::Numbers(values) if datatype == "BOOL" => {
            values.iter().map(|value| u8::from(*value != 0.0)).collect()
        }
        Flat::Numbers(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

/// Writes elements as JSON: truth values for BOOL, `null` for `NaN`.
pub fn to_json(datatype: &str, data: &Flat) -> serde_json::Value {
    match data {
        Flat::Texts(texts) => texts.as_slice().into(),
        Flat::Numbers(values) if datatype == "BOOL" => {
            values.iter().map(|value| *value != 0.0).collect()
        }
        Flat::Numbers(values) => values.iter().copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(json: &str) -> InputTensor {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn nested_data_is_flattened_and_null_is_a_missing_value() {
        let tensor = tensor(
            r#"{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [[1, null], [true, -2.5]]}"#,
        );
        let Flat::Numbers(values) = elements(&tensor, &mut [].as_slice()).unwrap() else {
            panic!()
        };
        assert_eq!(values[0].to_bits(), 1.0_f64.to_bits());
        assert!(values[1].is_nan());
        assert_eq!(&values[2..], [1.0, -2.5]);
    }

    #[test]
    fn binary_numbers_of_each_type_are_read_as_numpy_writes_them() {
        // numpy: array([-2, 3], dtype).tobytes()
        for (datatype, bytes) in [
            ("INT8", vec![254, 3]),
            ("INT16", vec![254, 255, 3, 0]),
            ("INT32", vec![254, 255, 255, 255, 3, 0, 0, 0]),
            ("FP32", vec![0, 0, 0, 192, 0, 0, 64, 64]),
            ("FP64", vec![0, 0, 0, 0, 0, 0, 0, 192, 0, 0, 0, 0, 0, 0, 8, 64]),
        ] {
            let size = bytes.len() / 2;
            assert_eq!(numbers(datatype, &bytes, size), [-2.0, 3.0], "{datatype}");
        }
        assert_eq!(numbers("UINT16", &[254, 255], 2), [65534.0]);
    }

    #[test]
    fn texts_round_trip_through_binary() {
        let data = Flat::Texts(vec!["node-a".to_owned(), String::new(), "ü".to_owned()]);
        assert_eq!(texts(&to_binary("BYTES", &data)).map(Flat::Texts), Some(data));
        assert_eq!(texts(&[5, 0, 0, 0, b'x']), None);
    }

    #[test]
    fn mismatched_input_is_refused_by_name() {
        for (json, words) in [
            (
                r#"{"name": "x", "shape": [3], "datatype": "FP64", "data": [1]}"#,
                "has 1 elements, its shape says 3",
            ),
            (
                r#"{"name": "x", "shape": [1], "datatype": "FP65", "data": [1]}"#,
                "`FP65` is not supported",
            ),
            (
                r#"{"name": "x", "shape": [1], "datatype": "FP64", "data": ["a"]}"#,
                "the data is not FP64",
            ),
            (r#"{"name": "x", "shape": [1], "datatype": "FP64"}"#, "has neither"),
            (
                r#"{"name": "x", "shape": [4294967296, 4294967296, 4], "datatype": "FP64", "data": []}"#,
                "too many",
            ),
            (
                r#"{"name": "x", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}}"#,
                "beyond the body",
            ),
        ] {
            let error = elements(&tensor(json), &mut [].as_slice()).unwrap_err();
            assert!(
                error.message.starts_with("input `x`: ") && error.message.contains(words),
                "{error:?}"
            );
        }
        let mixed = r#"{"name": "x", "shape": [2], "datatype": "FP64", "data": [1, "a"]}"#;
        assert!(serde_json::from_str::<InputTensor>(mixed).is_err());
    }
}
