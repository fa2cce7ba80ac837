//! Remarks of a user on a run: tags and a note.

use crate::run::RunRecord;

/// Most characters of a tag's name and of its value; `MLflow` accepts no longer names.
const MOST_NAME: usize = 250;
const MOST_VALUE: usize = 5000;

/// Flags that describe a run without changing its results.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Remarks {
    /// Tag the run, as in `--tag purpose=baseline`; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Add a note to the run
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

impl Remarks {
    /// Puts the tags and the note into a record; those of an earlier start of the same run are kept
    /// unless they are set again.
    pub(super) fn lay_over(&self, earlier: Option<&RunRecord>, record: &mut RunRecord) {
        if let Some(earlier) = earlier {
            record.tags.clone_from(&earlier.tags);
            record.note.clone_from(&earlier.note);
        }
        record.tags.extend(self.tags.iter().cloned());
        if self.note.is_some() {
            record.note.clone_from(&self.note);
        }
    }
}

/// Reads a tag.
fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| "a tag is written NAME=VALUE".to_owned())?;
    let is_word = |c: char| c.is_alphanumeric() || "_-./ ".contains(c);
    if name.trim().is_empty() || !name.chars().all(is_word) {
        return Err(
            "the name of a tag has letters, digits, `_`, `-`, `.`, `/` and spaces".to_owned()
        );
    }
    if name.chars().count() > MOST_NAME || value.chars().count() > MOST_VALUE {
        return Err(format!(
            "the name of a tag has at most {MOST_NAME} characters, its value {MOST_VALUE}"
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_a_name_and_any_value() {
        let of = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(tag("purpose=base=line"), of("purpose", "base=line"));
        assert_eq!(tag("team.name="), of("team.name", ""));
        for wrong in ["purpose", "=x", " =x", "a\nb=x", &format!("{}=x", "a".repeat(251))] {
            assert!(tag(wrong).is_err(), "{wrong:?}");
        }
    }
}
