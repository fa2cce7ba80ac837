//! Texts of manifests: references and expressions.

use anyhow::{Context as _, Result, bail};
use argo::yaml;
use serde_json::Value;

/// Returns an object by its kind and name.
pub(crate) fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    let found = objects.iter().find(|it| it["kind"] == kind && it["metadata"]["name"] == name);
    found.with_context(|| format!("no {kind} `{name}`"))
}

/// Reads the documents of manifests.
pub(crate) fn objects<'a>(files: impl Iterator<Item = &'a str>) -> Result<Vec<Value>> {
    let documents = files.flat_map(yaml::documents);
    documents.map(|(_, text)| Ok(yaml::read(&text)?)).collect()
}

/// Returns a list's items; empty for an absent list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns a text. Another type is an error, because Argo accepts no number or boolean here.
pub(crate) fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} is not text"))
}

/// Replaces each `{{reference}}` by its value, until none is left.
pub(crate) fn resolve(text: &str, of: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let mut resolved = text.to_owned();
    for _ in 0..99 {
        let Some((before, rest)) = resolved.split_once("{{") else { return Ok(resolved) };
        let (name, after) = rest.split_once("}}").context("no end of a reference")?;
        let value = of(name.trim()).with_context(|| format!("`{name}` stands for nothing"))?;
        resolved = format!("{before}{value}{after}");
    }
    bail!("`{text}` has no end of references")
}

/// Evaluates a task's condition: two words that differ, or a quoted text that matches a pattern for
/// one word.
pub(crate) fn holds(condition: &str) -> Result<bool> {
    if let Some((status, other)) = condition.split_once(" != ") {
        return Ok(status.trim() != other.trim());
    }
    let (given, pattern) =
        condition.split_once(" =~ ").context("no condition that is known here")?;
    let quoted = |text: &str| -> Result<String> {
        let inner = text.trim().strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        let inner = inner.filter(|inner| !inner.contains('\''));
        Ok(inner.with_context(|| format!("`{text}` is not text"))?.to_owned())
    };
    let (given, pattern) = (quoted(given)?, quoted(pattern)?);
    let word = pattern.strip_prefix("[ ,]").and_then(|rest| rest.strip_suffix("[ ,]"));
    let word = word.with_context(|| format!("`{pattern}` is not a pattern that is known here"))?;
    Ok(given.split([' ', ',']).any(|other| other == word))
}

/// Beginning of a pattern for the exit code of the first container in a message.
const FIRST_CONTAINER: &str = "^[^ ]+: [^ ]+ .exit code [";

/// Evaluates a retry expression: comparisons of the last attempt, joined by `||`.
pub(crate) fn is_retried(expression: &str, code: i32, message: &str) -> Result<bool> {
    let status = if code > 0 { "Failed" } else { "Error" };
    let mut holds = false;
    for part in expression.split("||").map(str::trim) {
        let quoted: Vec<&str> = part.split('\'').skip(1).step_by(2).collect();
        holds |= match part.split_once(' ') {
            Some(("lastRetry.exitCode", rest)) if rest.starts_with("in [") => {
                quoted.contains(&code.to_string().as_str())
            }
            Some(("lastRetry.message", rest)) if rest.starts_with("matches ") => {
                let known = quoted.first().and_then(|it| it.strip_prefix(FIRST_CONTAINER));
                let codes = known.and_then(|it| it.strip_suffix("][)]"));
                let codes = codes.with_context(|| format!("`{part}` is no known pattern"))?;
                let words: Vec<&str> = message.splitn(6, ' ').collect();
                let code = words.get(4).map_or("", |word| word.trim_end_matches(':'));
                words.get(2) == Some(&"(exit")
                    && codes.chars().any(|known| code == format!("{known})"))
            }
            Some(("lastRetry.status", rest)) if rest.starts_with("== ") => quoted == [status],
            _ => bail!("`{part}` is not an expression that is known here"),
        };
    }
    Ok(holds)
}

#[test]
fn a_condition_holds_for_whole_names_alone() -> Result<()> {
    let of = |models: &str| holds(&format!("' {models} ' =~ '[ ,]z_score[ ,]'"));
    for models in ["z_score", "adaptive,z_score", "adaptive, z_score", "z_score,adaptive"] {
        assert!(of(models)?, "{models}");
    }
    for models in ["", "adaptive", "robust_z_score", "z_scores", "z-score"] {
        assert!(!of(models)?, "{models}");
    }
    assert!(of("x' =~ 'x' || ' z_score").is_err(), "no expression from outside");
    Ok(())
}

#[test]
fn expressions_decide_by_the_exit_code_as_a_text() -> Result<()> {
    let expression = "lastRetry.exitCode in ['4', '5'] || lastRetry.status == 'Error'";
    for (code, expected) in [(1, false), (2, false), (3, false), (4, true), (5, true), (45, false)]
    {
        assert_eq!(is_retried(expression, code, "")?, expected, "{code}");
    }
    assert!(is_retried("asInt(lastRetry.exitCode) > 3", 4, "").is_err());
    let expression = argo::retry_expression();
    for (message, expected) in [
        ("1-collect: Error (exit code 4): no network", true),
        ("2-feature: Error (exit code 3): (exit code 4)", false),
        ("2-feature: Error (exit code 45)", false),
        ("pod deleted", false),
    ] {
        assert_eq!(is_retried(&expression, 64, message)?, expected, "{message}");
    }
    Ok(())
}
