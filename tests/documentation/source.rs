//! Extracts calls, their arguments and their texts from Rust source, without a parser.

/// Returns the position after a string literal that begins at `at`; `None` if there is none.
fn behind_literal(source: &str, at: usize) -> Option<usize> {
    let rest = source.get(at..)?;
    if let Some(raw) = rest.strip_prefix('r') {
        let hashes = raw.bytes().take_while(|byte| *byte == b'#').count();
        let body = raw.get(hashes..)?.strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(at + 2 + hashes + body.find(&end)? + end.len());
    }
    rest.strip_prefix('"')?;
    let bytes = rest.as_bytes();
    let mut index = 1;
    while *bytes.get(index)? != b'"' {
        index += if bytes[index] == b'\\' { 2 } else { 1 };
    }
    Some(at + index + 1)
}

/// Returns the position of the next code after a literal or comment at `at`.
fn behind(source: &str, at: usize) -> usize {
    let rest = &source[at..];
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let is_inside_word = at > 0 && word(&source.as_bytes()[at - 1]);
    if rest.starts_with("//") {
        return at + rest.find('\n').unwrap_or(rest.len());
    }
    let may_begin = rest.starts_with('"') || rest.starts_with('r') && !is_inside_word;
    if let Some(end) = behind_literal(source, at).filter(|_| may_begin) {
        return end;
    }
    if rest.starts_with("'\\") {
        return at + 3 + rest[3..].find('\'').unwrap_or(0) + 1;
    }
    let mut characters = rest.chars();
    let first = characters.next().map_or(1, char::len_utf8);
    if rest.starts_with('\'') {
        let inner = characters.next().map_or(0, char::len_utf8);
        return if characters.next() == Some('\'') { at + 2 + inner } else { at + 1 };
    }
    at + first
}

/// Returns the position of the bracket that closes the one at `open`.
fn closing(source: &str, open: usize) -> usize {
    let (mut at, mut depth) = (open, 0_usize);
    while at < source.len() {
        match source.as_bytes()[at] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
        at = behind(source, at);
    }
    source.len()
}

/// Returns the parts of a text between separators that are outside of brackets and literals.
pub(super) fn parts(source: &str, separator: u8) -> Vec<&str> {
    let (mut parts, mut from, mut at) = (Vec::new(), 0, 0);
    while at < source.len() {
        match source.as_bytes()[at] {
            b'(' | b'[' | b'{' => at = closing(source, at) + 1,
            byte if byte == separator => {
                parts.push(source[from..at].trim());
                at += 1;
                from = at;
            }
            _ => at = behind(source, at),
        }
    }
    let last = source.get(from..).unwrap_or_default().trim();
    parts.extend(Some(last).filter(|last| !last.is_empty()));
    parts
}

/// Returns every place where one of the names is called: the name, the position of the call and of
/// its opening bracket. Comments and literals are skipped.
pub(super) fn calls<'a>(source: &str, names: &[&'a str]) -> Vec<(&'a str, usize, usize)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < source.len() {
        let before = source[..at].chars().next_back().unwrap_or(' ');
        let starts = !before.is_alphanumeric() && before != '_';
        let called = names.iter().find(|name| {
            starts && source[at..].strip_prefix(**name).is_some_and(|rest| rest.starts_with('('))
        });
        if let Some(name) = called {
            found.push((*name, at, at + name.len()));
        }
        at = behind(source, at);
    }
    found
}

/// Returns the text between the bracket at `open` and its closing one, and the position after it.
pub(super) fn inside(source: &str, open: usize) -> (&str, usize) {
    let end = closing(source, open);
    (source.get(open + 1..end).unwrap_or_default(), (end + 1).min(source.len()))
}

/// Returns the expression of the last `let` of a name before a position, or of a `const`.
pub(super) fn value_of<'a>(source: &'a str, name: &str, before: usize) -> Option<&'a str> {
    let is_const = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let start = if is_const {
        let declared = source.find(&format!("const {name}: &str ="))?;
        declared + source[declared..].find('=')? + 1
    } else {
        let declared = format!("let {name} =");
        source[..before].rfind(&declared)? + declared.len()
    };
    parts(&source[start..], b';').first().copied()
}

/// Returns the text of a literal, without quotes, escapes and line continuations.
fn said(literal: &str) -> String {
    if literal.starts_with('r') {
        return literal.trim_matches(['r', '#', '"']).to_owned();
    }
    let mut text = String::new();
    let mut characters = literal[1..literal.len() - 1].chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some('\n')) => {
                while characters.next_if(|next| next.is_whitespace()).is_some() {}
            }
            ('\\', Some('n')) => {
                characters.next();
                text.push(' ');
            }
            ('\\', Some(_)) => text.extend(characters.next()),
            _ => text.push(character),
        }
    }
    text
}

/// Returns the placeholder name of an argument of `format!`: the last name that is not a
/// conversion.
fn placeholder(argument: &str) -> String {
    const CONVERSIONS: [&str; 14] = [
        "display",
        "len",
        "to_string",
        "as_str",
        "join",
        "clone",
        "kind",
        "as_deref",
        "seconds",
        "escape_debug",
        "trim",
        "as_ref",
        "into",
        "unwrap_or_default",
    ];
    let mut words = argument.split(|c: char| !c.is_alphanumeric() && c != '_');
    let is_name = |word: &&str| {
        !CONVERSIONS.contains(word)
            && *word != "self"
            && word.starts_with(|c: char| c.is_ascii_lowercase())
    };
    words.rfind(is_name).unwrap_or("value").to_owned()
}

/// Returns the text of `format!` with a name in every placeholder: `{path}`.
fn formatted(arguments: &str) -> Option<String> {
    let parts = parts(arguments, b',');
    let text = said(parts.first().filter(|first| first.starts_with(['"', 'r']))?);
    let mut positional = parts[1..].iter();
    let (mut pattern, mut rest) = (String::new(), text.as_str());
    while let Some((before, after)) = rest.split_once('{') {
        pattern.push_str(&before.replace("}}", "}"));
        if let Some(escaped) = after.strip_prefix('{') {
            pattern.push('{');
            rest = escaped;
            continue;
        }
        let (name, after) = after.split_once('}')?;
        let name = name.split(':').next().unwrap_or_default();
        let name = match name {
            "" => placeholder(positional.next().copied().unwrap_or_default()),
            name => name.to_owned(),
        };
        pattern.push_str(&format!("{{{name}}}"));
        rest = after;
    }
    pattern.push_str(&rest.replace("}}", "}"));
    Some(pattern)
}

/// Returns the sentences that an expression may give: those of `format!`, and literals of two words.
pub(super) fn sentences(expression: &str) -> Vec<String> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < expression.len() {
        let rest = &expression[at..];
        if rest.starts_with("format!(") {
            let (arguments, end) = inside(expression, at + "format!".len());
            found.extend(formatted(arguments));
            at = end;
        } else if let Some(end) = behind_literal(expression, at).filter(|_| rest.starts_with('"')) {
            let text = said(&expression[at..end]);
            let is_whole = expression[end..].trim_start().is_empty() && at == 0;
            found.extend(Some(text).filter(|text| is_whole || text.trim().contains(' ')));
            at = end;
        } else {
            at = behind(expression, at);
        }
    }
    found
}

#[test]
fn sentences_of_an_expression_name_placeholders_and_leave_out_separators() {
    let expression = "match it { 1 => format!(\"`{}`: {cause}, {{x}}\", self.path.display()), _ => \"not \
                      \\\n   there\".to_owned() + &all.join(\", \") }";
    assert_eq!(sentences(expression), ["`{path}`: {cause}, {x}", "not there"]);
}
