//! Rules for the keys of objects.

use contract::StepError;

/// Longest key, in bytes, that every store accepts.
pub const MAX_BYTES: usize = 1024;

/// Longest part between two `/`, in bytes, that every file system accepts.
pub const MAX_PART_BYTES: usize = 255;

/// Checks a key: parts of ASCII letters, digits and `-_.=` joined by `/`, none of them empty and
/// none beginning with a dot. So a key cannot be outside of its store, be hidden, or be ambiguous
/// on a file system that normalises names.
///
/// ```
/// use store::key::check;
///
/// assert!(check("models/hosts/aliases/live.json").is_ok());
/// assert!(check("models/../../etc/passwd").is_err());
/// ```
pub fn check(key: &str) -> Result<(), StepError> {
    let wrong = |why: &str| {
        Err(StepError::usage(format!("`{}` cannot be the key of an object: {why}", shown(key))).hint("choose another name: 1 to 1024 bytes of letters, digits, `-`, `_` and `.`, not beginning with `.`"))
    };
    if key.len() > MAX_BYTES {
        return wrong("it is longer than 1024 bytes");
    }
    for part in key.split('/') {
        if part.is_empty() {
            return wrong("a part between two `/` is empty");
        }
        if part.starts_with('.') {
            return wrong("a part begins with a dot");
        }
        if part.len() > MAX_PART_BYTES {
            return wrong("a part is longer than 255 bytes");
        }
        if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte)) {
            return wrong("only ASCII letters, digits and `-_.=` may stand between two `/`");
        }
    }
    Ok(())
}

/// Checks a name that is to be one part of a key, such as an alias or a file of a bundle.
pub fn check_part(name: &str) -> Result<(), StepError> {
    if name.contains('/') {
        let message = format!("`{}` cannot be a part of a key: it contains a `/`", shown(name));
        return Err(StepError::usage(message).hint("choose a name without `/`"));
    }
    check(name)
}

/// Checks the beginning of keys up to a `/`: nothing, or parts as in a key, each followed by `/`.
pub fn check_folder(folder: &str) -> Result<(), StepError> {
    match folder.strip_suffix('/') {
        Some(parts) => check(parts),
        None if folder.is_empty() => Ok(()),
        None => check(&format!("{folder}/")),
    }
}

/// Returns a key in a form for one-line messages.
fn shown(key: &str) -> String {
    let text: String = key.chars().take(80).flat_map(char::escape_debug).collect();
    if key.chars().count() > 80 { format!("{text}...") } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_keys_of_the_design_are_keys() {
        for key in [
            "models/cluster/versions/20261121T083607Z-0123456789ab/bundle.json",
            "models/cluster/aliases/live.json",
            "scores/cluster/date=2026-11-21/20261121T083607_250Z.json",
            "state/cluster/watermark.json",
        ] {
            check(key).unwrap();
        }
    }

    #[test]
    fn keys_leaving_or_hiding_in_the_store_are_refused() {
        for key in [
            "",
            "/",
            "/etc/passwd",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "a/.",
            ".lynceus/x",
            "a/.b",
            "a b",
            "a\\b",
            "a\nb",
            "a\0",
            "caf\u{e9}",
            "a:b",
            "a%2e",
            "~",
        ] {
            check(key).unwrap_err();
        }
        check(&"x".repeat(256)).unwrap_err();
        check(&["y".repeat(200).as_str(); 6].join("/")).unwrap_err();
        check_part("a/b").unwrap_err();
    }

    proptest! {
        #[test]
        fn a_key_never_leaves_the_folder_and_its_error_is_one_line(key in any::<String>()) {
            match check(&key) {
                Ok(()) => {
                    let path = std::path::Path::new(&key);
                    prop_assert!(path.components().all(|part| matches!(part,
                        std::path::Component::Normal(name) if !name.to_string_lossy().starts_with('.'))));
                }
                Err(error) => prop_assert_eq!(error.message.lines().count(), 1),
            }
        }

        #[test]
        fn parts_of_allowed_characters_make_a_key(
            parts in prop::collection::vec("[A-Za-z0-9_=-][A-Za-z0-9_.=-]{0,30}", 1..8)
        ) {
            prop_assert!(check(&parts.join("/")).is_ok());
        }
    }
}
