//! Deserializes the tree into typed sections; every error has its place, its field and a
//! suggestion.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use crate::node::{Key, Node, Place, Value};

/// A deserialization error with its path.
#[derive(Debug)]
pub struct Misfit {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) place: Option<Place>,
    /// Field names from the outside in.
    pub(crate) path: Vec<String>,
    pub(crate) kind: MisfitKind,
}

/// Kind of the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MisfitKind {
    /// The value at the path.
    Value,
    /// The path ends with a field that is unknown.
    Unknown,
    /// The path ends with a required field that is missing.
    Missing,
}

impl Misfit {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { message, hint: None, place: None, path: Vec::new(), kind: MisfitKind::Value }
    }

    pub(crate) fn at(mut self, place: &Place) -> Self {
        self.place.get_or_insert_with(|| place.clone());
        self
    }

    pub(crate) fn inside(mut self, field: String) -> Self {
        self.path.insert(0, field);
        self
    }

    fn unknown(what: &str, name: &str, expected: &[&str]) -> Self {
        let mut misfit = Self::new(format!("unknown {what} `{name}`"));
        misfit.hint = Some(match closest(name, expected.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if expected.is_empty() => "there are none here".to_owned(),
            None => format!("known here: {}", expected.join(", ")),
        });
        misfit
    }
}

/// Returns the most similar name, if one is close.
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &str| strsim::damerau_levenshtein(&name.to_lowercase(), other);
    let limit = (name.chars().count() / 3).max(1);
    let candidates = known.into_iter().map(|other| (distance(other), other));
    candidates.filter(|(distance, _)| *distance <= limit).min().map(|(_, other)| other)
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {expected}, found {found}"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let path = vec![field.to_owned()];
        Self { path, kind: MisfitKind::Unknown, ..Self::unknown("field", field, expected) }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("value", variant, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        let mut misfit = Self::new(format!("field `{field}` is missing"));
        misfit.kind = MisfitKind::Missing;
        misfit.path = vec![field.to_owned()];
        if field == "format" {
            misfit.hint =
                Some("a document begins with `format: 1`; `lynceus init` writes one".to_owned());
        }
        misfit
    }
}

impl Node {
    fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar { text, .. } => format!("`{text}`"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    fn expected(&self, what: &str) -> Misfit {
        Misfit::new(format!("expected {what}, found {}", self.describe())).at(&self.place)
    }

    /// Makes the error for several fields of which only one is allowed.
    fn several(&self, known: &[&str]) -> Misfit {
        let Value::Map(entries) = &self.value else { return self.expected("one field") };
        let names: Vec<&str> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
        let found = if names.is_empty() { "none".to_owned() } else { names.join(" and ") };
        let mut misfit =
            Misfit::new(format!("expected one of {}, found {found}", known.join(", ")));
        misfit.hint = Some("keep one; an overlay takes the other out with `name: null`".to_owned());
        misfit.at(&self.place)
    }

    fn plain(&self) -> Option<&str> {
        let Value::Scalar { text, quoted: false } = &self.value else { return None };
        Some(text)
    }

    fn number<T: std::str::FromStr>(&self, what: &str) -> Result<T, Misfit> {
        self.plain().and_then(|text| text.parse().ok()).ok_or_else(|| self.expected(what))
    }
}

/// All integer and float types are read in the same way: the visitor checks their ranges.
macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty, $what:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            let value: $type = self.number($what)?;
            visitor.$visit(value).map_err(|e: Misfit| e.at(&self.place))
        }
    )*};
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Misfit;

    numbers! {
        deserialize_i8 visit_i64 i64, "a whole number";
        deserialize_i16 visit_i64 i64, "a whole number";
        deserialize_i32 visit_i64 i64, "a whole number";
        deserialize_i64 visit_i64 i64, "a whole number";
        deserialize_u8 visit_u64 u64, "a whole number, 0 or more";
        deserialize_u16 visit_u64 u64, "a whole number, 0 or more";
        deserialize_u32 visit_u64 u64, "a whole number, 0 or more";
        deserialize_u64 visit_u64 u64, "a whole number, 0 or more";
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let value: f64 = self.number("a number")?;
        // `nan` and `inf` parse as floats in Rust; no field allows them.
        if !value.is_finite() {
            return Err(self.expected("a finite number"));
        }
        visitor.visit_f64(value).map_err(|e: Misfit| e.at(&self.place))
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.plain() {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            _ => Err(self.expected("true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Scalar { text, .. } => {
                visitor.visit_str(text).map_err(|e: Misfit| e.at(&self.place))
            }
            Value::Null | Value::List(_) | Value::Map(_) => Err(self.expected("text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.value {
            Value::Null => visitor.visit_none(),
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Value::Null | Value::Scalar { .. } | Value::Map(_) => Err(self.expected("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Map(entries) => visitor
                .visit_map(Entries { entries: entries.iter(), current: None })
                .map_err(|e| e.at(&self.place)),
            // `stdout:` with nothing after the colon is a section whose fields all have defaults.
            Value::Null => visitor
                .visit_map(Entries { entries: [].iter(), current: None })
                .map_err(|e| e.at(&self.place)),
            Value::Scalar { .. } | Value::List(_) => Err(self.expected("a mapping with fields")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Scalar { text, .. } => visitor
                .visit_enum(Variant { name: text, place: &self.place, content: None })
                .map_err(|e| e.at(&self.place)),
            Value::Map(entries) => {
                let [(key, content)] = entries.as_slice() else { return Err(self.several(known)) };
                visitor
                    .visit_enum(Variant {
                        name: &key.text,
                        place: &key.place,
                        content: Some(content),
                    })
                    .map_err(|e| e.at(&self.place).inside(key.text.clone()))
            }
            Value::Null | Value::List(_) => {
                Err(self.expected(&format!("one of {}", known.join(", "))))
            }
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
            Value::Scalar { text, quoted: true } => visitor.visit_str(text),
            Value::Scalar { text, .. } => {
                match (text.as_str(), text.parse::<i64>(), text.parse::<f64>()) {
                    ("true", ..) => visitor.visit_bool(true),
                    ("false", ..) => visitor.visit_bool(false),
                    (_, Ok(number), _) => visitor.visit_i64(number),
                    (_, _, Ok(number)) if number.is_finite() => visitor.visit_f64(number),
                    (text, ..) => visitor.visit_str(text),
                }
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { bytes byte_buf unit unit_struct tuple tuple_struct }
}

struct Items<'de> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Misfit> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        seed.deserialize(node).map(Some).map_err(|e| e.at(&node.place).inside(index.to_string()))
    }
}

struct Entries<'de> {
    entries: std::slice::Iter<'de, (Key, Node)>,
    current: Option<&'de (Key, Node)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Misfit> {
        self.current = self.entries.next();
        let Some((key, _)) = self.current else { return Ok(None) };
        seed.deserialize(key.text.as_str().into_deserializer())
            .map(Some)
            .map_err(|e: Misfit| e.at(&key.place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let (key, node) = self.current.ok_or_else(|| Misfit::new("a value without its key"))?;
        seed.deserialize(node).map_err(|e| e.at(&node.place).inside(key.text.clone()))
    }
}

struct Variant<'de> {
    name: &'de str,
    place: &'de Place,
    content: Option<&'de Node>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Misfit;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Misfit> {
        let value = seed
            .deserialize(self.name.into_deserializer())
            .map_err(|e: Misfit| e.at(self.place))?;
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Misfit;

    fn unit_variant(self) -> Result<(), Misfit> {
        match self.content {
            None | Some(Node { value: Value::Null, .. }) => Ok(()),
            Some(node) => Err(node.expected(&format!("nothing after `{}`", self.name))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Misfit> {
        match self.content {
            Some(node) => seed.deserialize(node),
            // `- raw` is short for `- raw: {}`.
            None => seed.deserialize(de::value::MapAccessDeserializer::new(Entries {
                entries: [].iter(),
                current: None,
            })),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.content
            .ok_or_else(|| Misfit::new("a value is missing").at(self.place))?
            .deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let content =
            self.content.ok_or_else(|| Misfit::new("fields are missing").at(self.place))?;
        content.deserialize_struct("", fields, visitor)
    }
}
