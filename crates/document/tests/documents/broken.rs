//! Texts that are no document: invalid YAML, bombs, and documents with changed bytes.

use proptest::prelude::*;

use super::{SMALL, read};

#[test]
fn invalid_yaml_is_refused_with_its_line() {
    for text in [
        "a: [",
        "a: b: c",
        "\t- x",
        "a: \"open",
        "&a [*a, *b]",
        "- 1\n---\n- 2",
        "",
        "just text",
        "{[a]: b}",
    ] {
        let said = read(text, None, &[]).unwrap_err();
        assert!(said.starts_with("small.yaml"), "{text:?}: {said}");
    }
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(read(&text, None, &[]).unwrap_err().contains("too large"));
    let mut ladder = "a0: &a0 [[[[[[[[[[x]]]]]]]]]]\n".to_owned();
    for level in 1..30 {
        ladder.push_str(&format!("a{level}: &a{level} [[[[[*a{}]]]]]\n", level - 1));
    }
    assert!(read(&ladder, None, &[]).unwrap_err().contains("nested too deeply"));
    let deep = "[".repeat(10_000);
    assert!(read(&deep, None, &[]).is_err());
}

proptest! {
    /// A document with bytes changed, cut or doubled is read or refused, never a panic.
    #[test]
    fn documents_are_read_or_refused(cuts in prop::collection::vec((0..SMALL.len(), any::<u8>(), 0..3), 1..6)) {
        let mut bytes = SMALL.as_bytes().to_vec();
        for (place, byte, how) in cuts {
            let place = place.min(bytes.len().saturating_sub(1));
            match how {
                0 => bytes[place] = byte,
                1 => drop(bytes.remove(place)),
                _ => bytes.insert(place, byte),
            }
        }
        drop(document::parse("mangled", &String::from_utf8_lossy(&bytes)));
    }
}
