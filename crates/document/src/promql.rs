//! The little that is known here of `PromQL`: the server that answers a query is its judge.

/// Words that are no metric, whatever stands around them.
const KEYWORDS: [&str; 10] =
    ["and", "or", "unless", "bool", "offset", "atan2", "start", "end", "inf", "nan"];
/// Words with a list of labels behind them.
const WITH_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Returns the names of the metrics that a query selects, each once, in the order of the query.
///
/// A name is an identifier outside of braces, brackets and quotes that is neither a function, an
/// operator, nor a label in the list of a grouping. A query that selects by `{__name__=...}` alone
/// names no metric here.
pub fn metric_names(promql: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut rest = promql;
    while let Some(first) = rest.chars().next() {
        match first {
            '#' => rest = rest.split_once('\n').map_or("", |(_, after)| after),
            '"' | '\'' | '`' => rest = after_quoted(rest, first),
            '{' => rest = after_closing(rest, '}'),
            '[' => rest = after_closing(rest, ']'),
            _ if first.is_ascii_alphabetic() || first == '_' || first == ':' => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
                let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                let next = after.trim_start();
                let lower = word.to_lowercase();
                if WITH_LABELS.contains(&lower.as_str()) {
                    rest = if next.starts_with('(') { after_closing(next, ')') } else { after };
                    continue;
                }
                let is_function = next.starts_with('(');
                // `sum by (x) (...)`: an aggregation may have its labels in front.
                let is_aggregation = WITH_LABELS.iter().any(|word| {
                    next.get(..word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word))
                        && next[word.len()..].trim_start().starts_with('(')
                        && ["by", "without"].contains(word)
                });
                let is_keyword = KEYWORDS.contains(&lower.as_str());
                let known = names.iter().any(|name| name == word);
                if !(is_function || is_aggregation || is_keyword || known) {
                    names.push(word.to_owned());
                }
                rest = after;
            }
            // A number may have letters: 1e3, 0x1f, 5m.
            _ if first.is_ascii_digit() => {
                rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
            }
            _ => rest = &rest[first.len_utf8()..],
        }
    }
    names
}

/// Returns what comes behind a quoted text.
fn after_quoted(text: &str, quote: char) -> &str {
    let mut is_escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' && quote != '`' {
            is_escaped = true;
        } else if c == quote {
            return &text[index + c.len_utf8()..];
        }
    }
    ""
}

/// Returns what comes behind a closing bracket, which quotes may hide.
fn after_closing(text: &str, closing: char) -> &str {
    let mut rest = &text[1..];
    while let Some(first) = rest.chars().next() {
        match first {
            '"' | '\'' | '`' => rest = after_quoted(rest, first),
            _ => {
                rest = &rest[first.len_utf8()..];
                if first == closing {
                    return rest;
                }
            }
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn metrics_are_told_from_functions_labels_and_numbers() {
        for (promql, names) in [
            ("up", vec!["up"]),
            ("sum(rate(a_total{b=\"c}d\", e!~'f'}[5m])) or vector(0)", vec!["a_total"]),
            ("histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))", vec!["x_bucket"]),
            ("sum(a) by (pod) / on (pod) group_left (node) sum without (b) (c)", vec!["a", "c"]),
            ("job:a:rate5m offset 5m > bool 1e3", vec!["job:a:rate5m"]),
            ("a - b and c unless a", vec!["a", "b", "c"]),
            ("max_over_time(rate(a[5m])[1h:1m] @ end())", vec!["a"]),
            ("{__name__=~\"a.*\"}", vec![]),
            ("count_values(\"x\", y) # z", vec!["y"]),
            ("by_pod + by", vec!["by_pod"]),
            ("", vec![]),
        ] {
            assert_eq!(metric_names(promql), names, "{promql}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_search(text in ".{0,60}") {
            metric_names(&text);
        }
    }
}
