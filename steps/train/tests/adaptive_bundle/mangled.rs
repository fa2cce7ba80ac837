//! Memories and trainings whose bytes were changed or cut.

use contract::ErrorKind;
use contract::artifact::{json_bytes, sha256};
use contract::bundle::BundleManifest;
use detectors::adaptive::Memory;
use models::{Bundle, ScoreState, Training};

use super::{OPTIONS, bundle, candidate, table};

/// Returns the bytes with one of them changed, and truncated, at many positions.
fn mangled(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let places = (0..bytes.len()).step_by(bytes.len() / 250);
    places
        .flat_map(move |place| {
            let changed = |byte: u8| {
                let mut copy = bytes.to_vec();
                copy[place] = byte;
                copy
            };
            [changed(bytes[place] ^ 0x55), changed(b'9'), changed(b'}'), bytes[..place].to_vec()]
        })
        .filter(move |mangled| mangled != bytes)
}

#[test]
fn a_thousand_mangled_memories_are_refused_or_score_without_harm() {
    let files = bundle(1).to_files().unwrap();
    let rows = table(600, 10, None);
    let mut refused = 0;
    for memory in mangled(&files[ScoreState::FILE]) {
        let mut files = files.clone();
        files.insert(ScoreState::FILE.to_owned(), memory.clone());
        let kind = Bundle::from_files(&files).err().map(|error| error.kind);
        assert_eq!(kind, Some(ErrorKind::Refused), "its hash is another");
        // A manifest with the hashes of the corrupted bytes.
        let mut manifest: BundleManifest =
            serde_json::from_slice(&files[BundleManifest::FILE]).unwrap();
        manifest.memory.as_mut().unwrap().sha256 = sha256(&memory);
        files.insert(BundleManifest::FILE.to_owned(), json_bytes(&manifest).unwrap());
        match Bundle::from_files(&files) {
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Refused);
                refused += 1;
            }
            Ok(bundle) => {
                let scores = bundle.score(&rows, &mut ScoreState::default(), OPTIONS).unwrap();
                let decisions = scores.iter().flat_map(|score| &score.members);
                assert!(decisions.clone().count() > 0);
                for member in decisions {
                    assert!(member.decision.is_finite(), "{}", String::from_utf8_lossy(&memory));
                }
            }
        }
    }
    assert!(refused > 250, "{refused}");
}

#[test]
fn a_thousand_mangled_trainings_are_refused_or_read() {
    let (_, training) = candidate(&table(0, 200, None));
    let mut refused = 0;
    for bytes in mangled(&training.to_bytes().unwrap()) {
        if let Err(error) = Training::<Memory>::parse(&bytes) {
            assert_eq!(error.kind, ErrorKind::Refused);
            refused += 1;
        }
    }
    assert!(refused > 250, "{refused}");
}
