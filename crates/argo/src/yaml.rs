//! Reads and writes YAML.
//!
//! kubectl and Argo read YAML 1.1, where `yes`, `on`, `1_000` and `12:30` are not strings: the
//! writer quotes every string that such a reader would parse as another type.

use contract::StepError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes a value as one YAML document.
///
/// Lines are not folded, so that people can search for texts.
pub fn write<T: Serialize>(value: &T) -> Result<String, StepError> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: 100_000 };
    serde_saphyr::to_string_with_options(value, options)
        .map_err(|e| StepError::bug(format!("cannot write YAML: {e}")))
}

/// Why a text is not valid YAML of the expected type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Line and column, from 1.
    pub place: Option<(u64, u64)>,
    /// What is wrong, in one line.
    pub message: String,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misfit {}

/// Reads one YAML document. Numbers such as `0400`, as modes of files are written, are octal.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Misfit> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| misfit(&error))
}

fn misfit(error: &serde_saphyr::Error) -> Misfit {
    let said = error.without_snippet().to_string();
    let said = said.lines().next().unwrap_or_default();
    // Some errors contain their place only in the message, not as a value.
    let (said, place) = match said.rsplit_once(" at line ") {
        Some((said, place)) => (said, place.split_once(", column ")),
        None => (said, None),
    };
    let place = place.and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?)));
    let place = place.or_else(|| error.location().map(|place| (place.line(), place.column())));
    Misfit { place, message: said.to_owned() }
}

/// Splits a file into its documents, by lines that are `---`. Returns each with the number of lines
/// before it.
pub fn documents(text: &str) -> Vec<(usize, String)> {
    let mut documents = vec![(0, String::new())];
    for (index, line) in text.lines().enumerate() {
        if line.trim_end() == "---" {
            documents.push((index + 1, String::new()));
        } else if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    let says_something = |document: &str| {
        document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    };
    documents.retain(|(_, document)| says_something(document));
    documents
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Unquoted words that a YAML 1.1 reader does not parse as strings.
    const TRAPS: [&str; 34] = [
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
        "Yes",
        "NO",
        "On",
        "true",
        "False",
        "null",
        "~",
        "",
        "1_000",
        "012",
        "0o14",
        "0x1F",
        "0b11",
        "1e3",
        ".5",
        "1.",
        "+1",
        "-0",
        ".inf",
        "-.INF",
        ".nan",
        "12:30",
        "190:20:30",
        "2026-11-21",
        "2026-11-21T07:36:00Z",
        "<<",
        "=",
        "- a",
    ];

    #[test]
    fn ambiguous_yaml_1_1_values_are_quoted() {
        for trap in TRAPS {
            let text = write(&BTreeMap::from([("a", trap)])).unwrap();
            let value = text.trim().strip_prefix("a: ").unwrap();
            assert!(value.starts_with(['"', '\'']), "{trap} is written as {value}");
        }
    }

    #[test]
    fn a_mode_is_octal_and_a_text_keeps_its_zeros() {
        let numbers: Vec<i32> = read("[0400, 0o400, 0x100, 256, 2_56, 0]").unwrap();
        assert_eq!(numbers, [256, 256, 256, 256, 256, 0]);
        assert_eq!(read::<Vec<String>>("[0400, '0400']").unwrap(), ["0400", "0400"]);
        assert_eq!(read::<Vec<bool>>("[yes, Off, TRUE]").unwrap(), [true, false, true]);
    }

    #[test]
    fn keys_are_quoted_like_values() {
        for trap in ["on", "y", "1_000", "null"] {
            let text = write(&BTreeMap::from([(trap, "a")])).unwrap();
            assert!(text.starts_with(['"', '\'']), "{text}");
        }
    }

    #[test]
    fn a_long_line_is_not_folded() {
        let long = "word ".repeat(100);
        let text = write(&BTreeMap::from([("a", long.trim())])).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "\\PC*|[ a-z0-9:#'\"\\[{}&*!|>%@`,?\n\t-]{0,80}") {
            let written = write(&BTreeMap::from([("a", &text)])).unwrap();
            let back: BTreeMap<String, String> = read(&written).unwrap();
            prop_assert_eq!(&back["a"], &text, "{}", written);
        }
    }
}
