//! Damaged files, as after a full disk, a truncated download or a transmission error.

/// Returns the file cut at its first bytes, in the middle and just before its end.
pub(crate) fn cuts(whole: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = whole.len();
    [0, 1, 4, 100, end / 2, end - 8, end - 1].into_iter().map(move |length| &whole[..length])
}

/// Tries about 24 copies of the file with one changed byte each, spread evenly: `run` gets the copy
/// and returns the program's exit code and output, which must be a result and not a panic.
pub(crate) fn no_changed_byte_makes_a_panic(
    whole: &[u8],
    mut run: impl FnMut(&[u8]) -> (Option<i32>, String),
) {
    for place in (0..whole.len()).step_by(whole.len() / 24) {
        let mut mangled = whole.to_vec();
        mangled[place] ^= 0x55;
        let (code, said) = run(&mangled);
        // A changed value may be valid; any other change must be refused.
        assert!(matches!(code, Some(0 | 2 | 3)), "byte {place}: {said}");
        assert!(!said.contains("panicked"), "byte {place}: {said}");
    }
}
