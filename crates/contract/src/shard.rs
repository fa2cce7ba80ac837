//! A shard: a part of a pipeline's entities that one run of its steps works on.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// One of several parts of a pipeline's entities, by the hash of their names; written `K/N`, such as
/// `0/4` for the first of four.
///
/// The same entity is in the same shard on every machine, as long as there are as many shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// Most shards of a pipeline.
    pub const MOST: u32 = 256;

    /// Returns the shard `index` of `count`; `None` if there is no such shard.
    pub fn new(index: u32, count: u32) -> Option<Self> {
        (index < count && count <= Self::MOST).then_some(Self { index, count })
    }

    /// Returns all shards of this count, in order.
    pub fn all(count: u32) -> Vec<Self> {
        (0..count).filter_map(|index| Self::new(index, count)).collect()
    }

    /// Returns the shard if it is one of several; `None` for the only shard of a pipeline, which has
    /// the keys and the models of a pipeline without shards.
    pub fn of_several(self) -> Option<Self> {
        (self.count > 1).then_some(self)
    }

    /// Returns its number, from 0.
    pub fn index(self) -> u32 {
        self.index
    }

    /// Returns how many shards there are.
    pub fn count(self) -> u32 {
        self.count
    }

    /// Returns whether an entity is in it: the first eight bytes of the SHA-256 of the name, as a
    /// big-endian number, modulo the count.
    pub fn holds(self, entity: &str) -> bool {
        let hash = Sha256::digest(entity.as_bytes());
        let first = hash.iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        first % u64::from(self.count) == u64::from(self.index)
    }

    /// Returns the part of its keys after the pipeline's name: `shard=0-of-4`.
    pub fn folder(self) -> String {
        format!("shard={}-of-{}", self.index, self.count)
    }

    /// Returns the shard of such a part of a key.
    pub fn of_folder(folder: &str) -> Option<Self> {
        let (index, count) = folder.strip_prefix("shard=")?.split_once("-of-")?;
        Self::new(index.parse().ok()?, count.parse().ok()?)
    }

    /// Returns its folder in a run and in a version: `shard-0`.
    pub fn part(self) -> String {
        format!("shard-{}", self.index)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/');
        numbers
            .and_then(|(index, count)| Self::new(index.parse().ok()?, count.parse().ok()?))
            .ok_or_else(|| {
                format!(
                    "expected K/N, such as 0/4 for the first of four shards, with at most {}",
                    Self::MOST
                )
            })
    }
}

impl Serialize for Shard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A shard in the list that `collect --numbers` writes, over which a workflow fans out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardNumber {
    /// Its number, from 0.
    pub index: u32,
    /// How many shards there are.
    pub count: u32,
}

impl ShardNumber {
    /// Returns the list of all shards of a count, in order.
    pub fn all(count: u32) -> Vec<Self> {
        (0..count).map(|index| Self { index, count }).collect()
    }
}

/// A number of shards, or `auto`: as many as the entities need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardCount {
    /// As many as the entities need.
    Auto,
    /// So many.
    Number(u32),
}

impl Default for ShardCount {
    fn default() -> Self {
        Self::Number(1)
    }
}

impl fmt::Display for ShardCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Number(count) => write!(f, "{count}"),
        }
    }
}

impl FromStr for ShardCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let count = text.parse().ok().filter(|count| (1..=Shard::MOST).contains(count));
        count
            .map(Self::Number)
            .ok_or_else(|| format!("expected a number of 1 to {}, or `auto`", Shard::MOST))
    }
}

impl Serialize for ShardCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Number(count) => serializer.serialize_u32(*count),
        }
    }
}

impl<'de> Deserialize<'de> for ShardCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrAuto;
        impl Visitor<'_> for NumberOrAuto {
            type Value = ShardCount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of shards, or `auto`")
            }

            fn visit_u64<E: Error>(self, count: u64) -> Result<ShardCount, E> {
                // The checks of the document report an invalid number.
                Ok(ShardCount::Number(u32::try_from(count).unwrap_or(u32::MAX)))
            }

            fn visit_i64<E: Error>(self, count: i64) -> Result<ShardCount, E> {
                self.visit_u64(u64::try_from(count).unwrap_or(0))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ShardCount, E> {
                match text {
                    "auto" => Ok(ShardCount::Auto),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(NumberOrAuto)
    }
}

impl schemars::JsonSchema for ShardCount {
    fn schema_name() -> Cow<'static, str> {
        "ShardCount".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A number of shards, or `auto`.",
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": Shard::MOST},
                {"type": "string", "enum": ["auto"]},
            ],
        })
    }
}

/// A label whose value determines the shard of an entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Division {
    /// The label.
    pub label: String,
    /// Values that are assigned to the shards in turn; the hash of any other value determines its
    /// shard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl Division {
    /// Returns whether entities with a value are in a shard.
    pub fn holds(&self, shard: Shard, value: &str) -> bool {
        match self.values.iter().position(|known| known == value) {
            Some(place) => place % shard.count() as usize == shard.index() as usize,
            None => shard.holds(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entity_is_in_exactly_one_shard_and_shards_are_alike_in_size() {
        for count in [1, 2, 4, 7] {
            let shards = Shard::all(count);
            let mut sizes = vec![0_usize; shards.len()];
            for number in 0..1000 {
                let entity = format!("node-{number}");
                let holding: Vec<usize> =
                    (0..shards.len()).filter(|shard| shards[*shard].holds(&entity)).collect();
                assert_eq!(holding.len(), 1, "{entity}");
                sizes[holding[0]] += 1;
            }
            let fair = 1000 / shards.len();
            assert!(sizes.iter().all(|size| size.abs_diff(fair) < fair / 2), "{sizes:?}");
        }
    }

    #[test]
    fn shard_of_an_entity_stays_the_same_in_every_version() {
        // Keys of stores depend on it. Python: int(hashlib.sha256(b"node-1").hexdigest()[:16], 16) % 4
        let shard = |entity: &str| Shard::all(4).iter().position(|shard| shard.holds(entity));
        assert_eq!(["", "node-1", "node-2", "a/b"].map(shard), SHARDS);
    }

    const SHARDS: [Option<usize>; 4] = [Some(0), Some(2), Some(2), Some(1)];

    #[test]
    fn shard_is_written_as_a_fraction_and_read_again() {
        let shard = Shard::new(3, 12).unwrap();
        assert_eq!(shard.to_string().parse(), Ok(shard));
        assert_eq!(shard.folder(), "shard=3-of-12");
        assert_eq!(Shard::of_folder(&shard.folder()), Some(shard));
        for wrong in ["", "3", "4/4", "-1/4", "0/0", "0/257", "a/b", "1/2/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
        for wrong in ["date=2026-11-21", "shard=4-of-4", "shard=0", "0-of-4"] {
            assert_eq!(Shard::of_folder(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn list_of_shards_has_the_number_and_the_count_of_each() {
        let list = serde_json::to_string(&ShardNumber::all(2)).unwrap();
        assert_eq!(list, r#"[{"index":0,"count":2},{"index":1,"count":2}]"#);
        assert_eq!(Shard::new(0, 1).unwrap().of_several(), None);
        assert_eq!(Shard::new(1, 2).unwrap().of_several(), Shard::new(1, 2));
    }

    #[test]
    fn count_is_a_number_within_the_limit_or_auto() {
        for text in ["auto", "1", "256"] {
            assert_eq!(text.parse::<ShardCount>().unwrap().to_string(), text);
        }
        for wrong in ["", "0", "257", "-1", "Auto", "4.0"] {
            assert!(wrong.parse::<ShardCount>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn known_values_are_dealt_out_and_others_have_the_shard_of_their_hash() {
        let values = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let division = Division { label: "zone".to_owned(), values };
        let shards = Shard::all(3);
        let of = |value: &str| shards.iter().position(|shard| division.holds(*shard, value));
        assert_eq!(["a", "b", "c", "d"].map(of), [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(of("e"), shards.iter().position(|shard| shard.holds("e")));
    }
}
