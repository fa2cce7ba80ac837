//! A partial parser of `PromQL`: only the server decides whether a query is valid.

/// Words that are never metric names.
const KEYWORDS: [&str; 10] =
    ["and", "or", "unless", "bool", "offset", "atan2", "start", "end", "inf", "nan"];
/// Words that are followed by a list of labels.
const WITH_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Returns the names of the metrics that a query selects, without duplicates, in the order of the
/// query.
///
/// A name is an identifier outside of braces, brackets and quotes that is neither a function, an
/// operator, nor a label in the list of a grouping. A query that selects only by `{__name__=...}`
/// has no metric names here.
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
                // `sum by (x) (...)`: an aggregation may have its labels before its argument.
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
            // A number may contain letters: 1e3, 0x1f, 5m.
            _ if first.is_ascii_digit() => {
                rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
            }
            _ => rest = &rest[first.len_utf8()..],
        }
    }
    names
}

/// A definite error of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Position of the character in the query, from 1.
    pub character: usize,
    /// Description of the error.
    pub what: String,
}

/// Characters that no dialect of `PromQL` allows outside of quotes, and the probably intended ones.
const FOREIGN: [(char, &str); 10] = [
    ('\u{201c}', "\""),
    ('\u{201d}', "\""),
    ('\u{201e}', "\""),
    ('\u{2018}', "'"),
    ('\u{2019}', "'"),
    ('\u{2013}', "-"),
    ('\u{2014}', "-"),
    ('\u{d7}', "*"),
    ('&', "and"),
    ('|', "or"),
];
/// Characters of operators.
const OPERATORS: &str = "+-*/%^=!<>~";

/// Returns the first definite error of a query: an unbalanced quote or bracket, an operator without
/// an operand, or a character that no dialect allows. The server may still reject other queries;
/// `lynceus source check` tests this.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use document::promql::flaw;
///
/// assert_eq!(flaw("sum(rate(node_cpu_seconds_total[5m]))"), None);
/// let flaw = flaw("sum(up").ok_or("the bracket is open")?;
/// assert_eq!((flaw.character, flaw.what.as_str()), (4, "`(` is never closed"));
/// # Ok(())
/// # }
/// ```
pub fn flaw(promql: &str) -> Option<Flaw> {
    let characters: Vec<char> = promql.chars().collect();
    let mut scan = Scan::default();
    let mut at = 0;
    while let Some(&c) = characters.get(at) {
        let start = at;
        at += 1;
        let found = match c {
            '#' => {
                at = position(&characters, at, |c| c == '\n');
                None
            }
            '"' | '\'' | '`' => match closing_quote(&characters, start) {
                Some(end) => {
                    at = end + 1;
                    scan.operand();
                    None
                }
                None => Some(Flaw::at(start, format!("the quote `{c}` is never closed"))),
            },
            '(' | '[' | '{' => {
                scan.open(start, c);
                None
            }
            ')' | ']' | '}' => scan.close(start, c),
            ',' => scan.comma(),
            _ if OPERATORS.contains(c) => {
                at = position(&characters, at, |c| !OPERATORS.contains(c) || is_sign(c));
                scan.operator(start, characters.iter().take(at).skip(start).collect())
            }
            _ if c.is_whitespace() => None,
            _ => {
                let found = foreign(start, c);
                if found.is_none() {
                    scan.operand();
                }
                found
            }
        };
        if found.is_some() {
            return found;
        }
    }
    scan.end()
}

impl Flaw {
    fn at(place: usize, what: String) -> Self {
        Self { character: place + 1, what }
    }
}

/// Finds a character that no dialect allows outside of quotes.
fn foreign(place: usize, c: char) -> Option<Flaw> {
    let (_, meant) = FOREIGN.iter().find(|(foreign, _)| *foreign == c)?;
    let what = format!("`{c}` is not a character of PromQL (did you mean `{meant}`?)");
    Some(Flaw::at(place, what))
}

/// State of the scan of a query; positions count characters from 0.
#[derive(Debug, Default)]
struct Scan {
    /// Open brackets.
    open: Vec<(usize, char)>,
    /// An operator that has no right operand yet.
    waiting: Option<(usize, String)>,
    /// Whether the next text needs a separator.
    has_left: bool,
}

impl Scan {
    fn operand(&mut self) {
        (self.waiting, self.has_left) = (None, true);
    }

    fn open(&mut self, place: usize, bracket: char) {
        self.open.push((place, bracket));
        (self.waiting, self.has_left) = (None, false);
    }

    fn close(&mut self, place: usize, bracket: char) -> Option<Flaw> {
        let lacking = self.lacking();
        if lacking.is_some() {
            return lacking;
        }
        self.has_left = true;
        let what = match self.open.pop() {
            Some((_, opening)) if closes(opening, bracket) => return None,
            Some((earlier, opening)) => {
                format!("`{bracket}` closes the `{opening}` of character {}", earlier + 1)
            }
            None => format!("`{bracket}` closes nothing"),
        };
        Some(Flaw::at(place, what))
    }

    fn comma(&mut self) -> Option<Flaw> {
        self.has_left = false;
        self.lacking()
    }

    fn operator(&mut self, place: usize, operator: String) -> Option<Flaw> {
        let is_sign = operator.chars().all(is_sign);
        if !self.has_left && !is_sign {
            return Some(Flaw::at(place, format!("nothing stands in front of `{operator}`")));
        }
        (self.waiting, self.has_left) = (Some((place, operator)), false);
        None
    }

    /// Returns the error of an operator without a right operand.
    fn lacking(&mut self) -> Option<Flaw> {
        let (place, operator) = self.waiting.take()?;
        Some(Flaw::at(place, format!("nothing follows `{operator}`")))
    }

    fn end(&mut self) -> Option<Flaw> {
        let Some((place, opening)) = self.open.pop() else { return self.lacking() };
        Some(Flaw::at(place, format!("`{opening}` is never closed")))
    }
}

/// Returns whether an operator may be unary.
fn is_sign(c: char) -> bool {
    c == '+' || c == '-'
}

/// Returns the position of the first matching character at or after `from`, or the end.
fn position(characters: &[char], from: usize, fits: impl Fn(char) -> bool) -> usize {
    let rest = characters.iter().skip(from);
    from + rest.take_while(|c| !fits(**c)).count()
}

/// Returns the place of the quote that closes the one at `start`.
fn closing_quote(characters: &[char], start: usize) -> Option<usize> {
    let quote = *characters.get(start)?;
    let mut is_escaped = false;
    for (at, &c) in characters.iter().enumerate().skip(start + 1) {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' && quote != '`' {
            is_escaped = true;
        } else if c == quote {
            return Some(at);
        }
    }
    None
}

fn closes(opening: char, closing: char) -> bool {
    matches!((opening, closing), ('(', ')') | ('[', ']') | ('{', '}'))
}

/// Returns the text after a quoted text.
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

/// Returns the text after a closing bracket; brackets within quotes do not count.
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
    fn metric_names_are_found_among_functions_labels_and_numbers() {
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

    #[test]
    fn promql_flaw_is_reported_with_its_position() {
        for (promql, character, what) in [
            ("sum(rate(a[5m])", 4, "`(` is never closed"),
            ("sum(a))", 7, "`)` closes nothing"),
            ("sum(rate(a[5m)))", 14, "`)` closes the `[` of character 11"),
            ("a{b=\"c}", 5, "the quote `\"` is never closed"),
            ("a{b=}", 4, "nothing follows `=`"),
            ("a +", 3, "nothing follows `+`"),
            ("a / (* b)", 6, "nothing stands in front of `*`"),
            ("sum(a, / b)", 8, "nothing stands in front of `/`"),
            ("a{b=\u{201c}c\u{201d}}", 5, "(did you mean `\"`?)"),
            ("a && b", 3, "(did you mean `and`?)"),
            ("a > b) # (", 6, "`)` closes nothing"),
        ] {
            let flaw = flaw(promql).unwrap_or_else(|| panic!("{promql}"));
            assert_eq!(flaw.character, character, "{promql}: {}", flaw.what);
            assert!(flaw.what.contains(what), "{promql}: {}", flaw.what);
        }
    }

    #[test]
    fn queries_of_any_dialect_have_no_flaw() {
        for promql in [
            "up",
            "-up + -1 * +2",
            "sum by (le, job,) (rate(a_bucket{b!~\"WATCH|{\", c=''}[$rate_window])) > bool 0",
            "a{} offset -5m @ end() [1h:1m]",
            "max_over_time(rate(a[5m])[1h:])",
            "a == on (x) group_left (y) b != 1e-3 >= .5",
            "{\"quoted.name\", b=~`\\d+`}",
            "a # ) a comment {\n + b",
            "WITH (f(x) = x + 1) f(a) default 0 keep_metric_names",
            "sum(rate({job=\"x\" or job=\"y\"}[5m])) by (job) / 2^-1",
            "count_values(\"x\", y) atan2 z",
        ] {
            assert_eq!(flaw(promql), None, "{promql}");
        }
    }

    proptest! {
        #[test]
        fn promql_search_accepts_any_text(text in ".{0,60}") {
            flaw(&text);
            metric_names(&text);
        }
    }
}
