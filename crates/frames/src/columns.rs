//! The columns that a rule of the document selects.

/// Why a list of column patterns does not fit the existing columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownColumn {
    /// The name without a column.
    pub name: String,
}

/// Resolves the document's column patterns to names, in the order of `available`: a name selects
/// that column, `*` all, `name*` those that begin with `name`, and a leading `!` excludes columns,
/// if they exist.
///
/// ```
/// use frames::columns::resolve;
///
/// let patterns = ["*", "!cpu_*"].map(str::to_owned);
/// assert_eq!(resolve(&patterns, &["cpu_user", "cpu_idle", "load"]).unwrap(), ["load"]);
/// assert_eq!(resolve(&["laod".to_owned()], &["load"]).unwrap_err().name, "laod");
/// ```
pub fn resolve<'a>(
    patterns: &[String],
    available: &[&'a str],
) -> Result<Vec<&'a str>, UnknownColumn> {
    let mut chosen = vec![false; available.len()];
    for pattern in patterns {
        let (name, keep) = match pattern.strip_prefix('!') {
            Some(name) => (name, false),
            None => (pattern.as_str(), true),
        };
        if let Some(beginning) = name.strip_suffix('*') {
            let mut matched = beginning.is_empty();
            for (column, chosen) in available.iter().zip(&mut chosen) {
                if column.starts_with(beginning) {
                    (*chosen, matched) = (keep, true);
                }
            }
            // A column that does not exist need not be excluded.
            if matched || !keep {
                continue;
            }
            return Err(UnknownColumn { name: name.to_owned() });
        }
        match available.iter().position(|column| *column == name) {
            Some(index) => chosen[index] = keep,
            None if keep => return Err(UnknownColumn { name: name.to_owned() }),
            None => {}
        }
    }
    Ok(available.iter().zip(chosen).filter_map(|(name, chosen)| chosen.then_some(*name)).collect())
}

/// Returns whether a text matches patterns like those of [`resolve`]. Patterns that only exclude
/// match everything else.
pub fn matches(patterns: &[String], text: &str) -> bool {
    let mut is_meant = patterns.first().is_some_and(|pattern| pattern.starts_with('!'));
    for pattern in patterns {
        let (name, keep) = match pattern.strip_prefix('!') {
            Some(name) => (name, false),
            None => (pattern.as_str(), true),
        };
        let is_hit = match name.strip_suffix('*') {
            Some(beginning) => text.starts_with(beginning),
            None => text == name,
        };
        if is_hit {
            is_meant = keep;
        }
    }
    is_meant
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_meant_or_taken_out() {
        let meant = |patterns: &[&str], text: &str| {
            matches(&patterns.iter().map(ToString::to_string).collect::<Vec<_>>(), text)
        };
        assert!(meant(&["*", "!lo"], "eth0") && !meant(&["*", "!lo"], "lo"));
        assert!(meant(&["!veth*"], "eth0") && !meant(&["!veth*"], "veth1"));
        assert!(meant(&["ext4"], "ext4") && !meant(&["ext4"], "ext"));
        assert!(!meant(&[], "x"));
    }

    #[test]
    fn patterns_add_and_take_out() {
        let names = ["a", "b", "c"];
        let of = |patterns: &[&str]| {
            resolve(&patterns.iter().map(ToString::to_string).collect::<Vec<_>>(), &names)
        };
        assert_eq!(of(&["*"]).unwrap(), ["a", "b", "c"]);
        assert_eq!(of(&["*", "!b"]).unwrap(), ["a", "c"]);
        assert_eq!(of(&["c", "a"]).unwrap(), ["a", "c"], "the table's order");
        assert_eq!(of(&["*", "!b*"]).unwrap(), ["a", "c"]);
        assert_eq!(of(&["d"]).unwrap_err().name, "d");
        assert_eq!(of(&["d*"]).unwrap_err().name, "d*");
    }
}
