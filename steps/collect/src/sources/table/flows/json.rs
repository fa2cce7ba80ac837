//! JSON objects of flow tools: found in a list, and flattened.

use serde_json::Value;

use crate::sources::table::cells::shown;

/// Maximum depth to which an object is flattened.
const DEEPEST: usize = 6;
/// Maximum number of names of an object that are read.
const MOST_NAMES: usize = 512;

/// Returns the texts, numbers and truth values of an object by their names, such as `IP.source`.
///
/// Fields inside `l4.TCP` or another protocol are treated as fields of `l4`, and the value of `l4`
/// is the protocol's name. Lists and nulls are left out.
pub(super) fn flatten(text: &str) -> Result<Vec<(String, String)>, String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("`{}` is not JSON: {error}", shown(text)))?;
    let Value::Object(_) = value else { return Err(format!("`{}` is not an object", shown(text))) };
    let mut pairs = Vec::new();
    walk(String::new(), value, 0, &mut pairs);
    Ok(pairs)
}

fn walk(name: String, value: Value, depth: usize, pairs: &mut Vec<(String, String)>) {
    if depth > DEEPEST || pairs.len() >= MOST_NAMES {
        return;
    }
    match value {
        Value::Object(fields) => {
            let is_protocol = name.rsplit('.').next() == Some("l4");
            for (field, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                match value {
                    Value::Object(inner) if is_protocol => {
                        pairs.push((name.clone(), field));
                        for (field, value) in inner {
                            walk(format!("{name}.{field}"), value, depth + 2, pairs);
                        }
                    }
                    value => walk(format!("{name}{dot}{field}"), value, depth + 1, pairs),
                }
            }
        }
        Value::String(text) => pairs.push((name, text)),
        Value::Number(number) => pairs.push((name, number.to_string())),
        Value::Bool(truth) => pairs.push((name, truth.to_string())),
        Value::Null | Value::Array(_) => {}
    }
}

/// Finds the objects of a list of objects, which may span many lines.
#[derive(Debug)]
pub(super) struct Objects {
    text: String,
    depth: usize,
    is_quoted: bool,
    is_escaped: bool,
    longest: usize,
}

impl Objects {
    /// Starts before the list; an object longer than `longest` bytes is refused.
    pub(super) fn new(longest: u64) -> Self {
        let longest = usize::try_from(longest).unwrap_or(usize::MAX);
        Self { text: String::new(), depth: 0, is_quoted: false, is_escaped: false, longest }
    }

    /// Adds a line; returns the objects that end in it, and text that is not an object.
    pub(super) fn add(&mut self, line: &str) -> Vec<Result<String, String>> {
        let mut found = Vec::new();
        for character in line.chars() {
            if self.depth == 0 && character != '{' {
                let is_between = character.is_whitespace() || ",[]".contains(character);
                if !is_between || !self.text.is_empty() {
                    self.text.push(character);
                }
                continue;
            }
            if self.depth == 0 {
                found.extend(self.rest().map(Err));
            }
            self.text.push(character);
            match character {
                _ if self.is_escaped => self.is_escaped = false,
                '\\' if self.is_quoted => self.is_escaped = true,
                '"' => self.is_quoted = !self.is_quoted,
                '{' if !self.is_quoted => self.depth += 1,
                '}' if !self.is_quoted => self.depth -= 1,
                _ => {}
            }
            if self.depth == 0 {
                found.push(Ok(std::mem::take(&mut self.text)));
            } else if self.text.len() > self.longest {
                found.push(Err(format!("`{}` does not end", shown(&self.text))));
                *self = Self::new(self.longest as u64);
            }
        }
        if self.depth == 0 {
            found.extend(self.rest().map(Err));
        } else {
            self.text.push('\n');
        }
        found
    }

    /// Takes the rest that belongs to no complete object.
    pub(super) fn rest(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.text);
        self.depth = 0;
        // nfdump writes this text if it has nothing to list.
        let is_none = rest.trim().is_empty() || rest.trim() == "No matching flows";
        (!is_none).then(|| format!("`{}` is not a JSON object", shown(rest.trim())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Result<String, String>> {
        let mut objects = Objects::new(64);
        let mut found: Vec<_> = text.lines().flat_map(|line| objects.add(line)).collect();
        found.extend(objects.rest().map(Err));
        found
    }

    #[test]
    fn list_of_objects_gives_each_object_and_each_error() {
        let found = all("[\n{\"a\":\n1},{\"b\": \"}{\\\"\"}\n, {}]\n");
        let texts: Vec<String> = found.into_iter().map(Result::unwrap).collect();
        assert_eq!(texts, ["{\"a\":\n1}", "{\"b\": \"}{\\\"\"}", "{}"]);
        assert!(all("[\nNo matching flows\n]\n").is_empty());
        let found = all("[ {\"a\": 1}, what\n, {\"b\"");
        assert!(found[0].is_ok() && found[1].is_err() && found[2].is_err(), "{found:?}");
        assert_eq!(found.len(), 3);
        let found = all(&format!("[{{\"a\": \"{}\"}}", "x".repeat(100)));
        assert!(found[0].as_ref().unwrap_err().contains("does not end"), "{found:?}");
    }

    #[test]
    fn nested_object_becomes_flat_with_the_protocol_as_value() {
        let flat = flatten(
            r#"{"flow":{"IP":{"source":"a"},"l4":{"TCP":{"source_port":1,"flags":{"SYN":true}}},"x":[1],"y":null}}"#,
        );
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let expected = [
            pair("flow.IP.source", "a"),
            pair("flow.l4", "TCP"),
            pair("flow.l4.source_port", "1"),
            pair("flow.l4.flags.SYN", "true"),
        ];
        assert_eq!(flat.unwrap(), expected);
        assert!(flatten("[1]").is_err() && flatten("{").is_err());
    }
}
