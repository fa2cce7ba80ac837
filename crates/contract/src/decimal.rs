//! Exact decimals for votes: 0.6 + 0.3 is 0.9 here, and below it in `f64`.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, Serializer};

const PLACES: usize = 9;
const ONE: i64 = 1_000_000_000;

/// A decimal number with at most nine places, held as an integer count of 1e-9.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use contract::Decimal;
///
/// let weights = ["0.6".parse::<Decimal>()?, "0.3".parse()?];
/// assert_eq!(weights.into_iter().sum::<Decimal>(), "0.9".parse()?);
/// assert!(0.6 + 0.3 < 0.9, "the same sum in `f64` would lose the vote");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal(i64);

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self(0);
    /// One.
    pub const ONE: Self = Self(ONE);

    /// Returns the nearest `f64`, for display and for weighted means, never for a vote.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / ONE as f64
    }
}

impl Add for Decimal {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Decimal {
    fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
        values.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let units = self.0.unsigned_abs();
        let (whole, part) = (units / ONE.unsigned_abs(), units % ONE.unsigned_abs());
        if part == 0 {
            return write!(f, "{sign}{whole}");
        }
        let part = format!("{part:0PLACES$}");
        write!(f, "{sign}{whole}.{}", part.trim_end_matches('0'))
    }
}

impl FromStr for Decimal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("`{text}` is not a decimal number such as 0.6 (at most {PLACES} places)");
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, part) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(part) || part.len() > PLACES {
            return Err(wrong());
        }
        let whole: i64 = whole.parse().map_err(|_| wrong())?;
        let part: i64 = format!("{part:0<PLACES$}").parse().map_err(|_| wrong())?;
        let units = whole.checked_mul(ONE).and_then(|w| w.checked_add(part)).ok_or_else(wrong)?;
        Ok(Self(if text.starts_with('-') { -units } else { units }))
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Decimal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number such as 0.6")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Decimal, E> {
                text.parse().map_err(E::custom)
            }
        }

        // Text, not a float: a float would already have lost what makes the vote exact.
        deserializer.deserialize_str(Text).map_err(D::Error::custom)
    }
}

impl schemars::JsonSchema for Decimal {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Decimal".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["number", "string"],
            "description": "an exact decimal number with at most nine places, such as 0.6",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn six_tenths_and_three_tenths_reach_nine_tenths() {
        let sum: Decimal = ["0.6", "0.3"].iter().map(|t| t.parse::<Decimal>().unwrap()).sum();
        assert!(sum >= "0.9".parse().unwrap());
        // The reason for this type.
        let float: f64 = ["0.6", "0.3"].iter().map(|t| t.parse::<f64>().unwrap()).sum();
        assert!(float < 0.9);
    }

    #[test]
    fn non_decimal_is_refused() {
        for text in ["", ".", "1.", ".5", "1e-3", "0.1234567890", "abc", "--1", "9999999999999"] {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_decimal_comes_back_from_its_text(units in -10_000_000_000_000_i64..10_000_000_000_000) {
            prop_assert_eq!(Decimal(units).to_string().parse::<Decimal>().unwrap(), Decimal(units));
        }
    }
}
