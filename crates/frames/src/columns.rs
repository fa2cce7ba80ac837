//! Which columns a rule of the document means.

/// Says why a list of column patterns does not fit the columns there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownColumn {
    /// The name that no column has.
    pub name: String,
}

/// Resolves the document's column patterns to names, in the order of `available`: a name means
/// itself, `*` means all, `name*` all that begin so, and a leading `!` takes columns out again.
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
            if matched {
                continue;
            }
            return Err(UnknownColumn { name: name.to_owned() });
        }
        let index = available.iter().position(|column| *column == name);
        let index = index.ok_or_else(|| UnknownColumn { name: name.to_owned() })?;
        chosen[index] = keep;
    }
    Ok(available.iter().zip(chosen).filter_map(|(name, chosen)| chosen.then_some(*name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

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
