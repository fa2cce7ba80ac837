//! Files as a full disk, a cut download or a broken cable leaves them.

/// Returns the file cut at its first bytes, in the middle and just before its end.
pub(crate) fn cuts(whole: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = whole.len();
    [0, 1, 4, 100, end / 2, end - 8, end - 1].into_iter().map(move |length| &whole[..length])
}

/// Returns some 24 copies of the file with one changed byte each, spread evenly, and the byte's place.
pub(crate) fn changed_bytes(whole: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..whole.len()).step_by(whole.len() / 24).map(move |place| {
        let mut mangled = whole.to_vec();
        mangled[place] ^= 0x55;
        (place, mangled)
    })
}
