//! Checksums of objects that are downloaded in ranges: the checksum of each range is computed
//! during its download, and the checksums are combined without reading the data again.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::ChecksumType;
use crc_fast::{CrcAlgorithm, Digest};

/// The checksum that the store has for a whole object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checksum {
    algorithm: CrcAlgorithm,
    value: u64,
}

impl Checksum {
    /// Returns the object's checksum if it covers the whole object and can be combined from ranges;
    /// objects of other programs may have another kind of checksum or none.
    pub(super) fn of(reply: &GetObjectOutput) -> Option<Self> {
        if reply.checksum_type() == Some(&ChecksumType::Composite) {
            return None;
        }
        let (algorithm, text) = match reply {
            _ if reply.checksum_crc64_nvme().is_some() => {
                (CrcAlgorithm::Crc64Nvme, reply.checksum_crc64_nvme())
            }
            _ if reply.checksum_crc32_c().is_some() => {
                (CrcAlgorithm::Crc32Iscsi, reply.checksum_crc32_c())
            }
            _ => (CrcAlgorithm::Crc32IsoHdlc, reply.checksum_crc32()),
        };
        Some(Self { algorithm, value: decode(text?)? })
    }

    /// Returns whether the parts, given by their checksums and lengths, combine to this checksum.
    pub(super) fn is_that_of(&self, parts: &[(u64, u64)]) -> bool {
        let empty = (Digest::new(self.algorithm).finalize(), 0);
        let joined = parts.iter().fold(empty, |(value, length), (next, next_length)| {
            let value = crc_fast::checksum_combine(self.algorithm, value, *next, *next_length);
            (value, length + next_length)
        });
        joined.0 == self.value
    }
}

/// The checksum of the data received so far.
#[derive(Debug)]
pub(super) struct Running {
    digest: Option<Digest>,
    length: u64,
}

impl Running {
    /// Starts with no data; without a checksum to compare with, only the length is counted.
    pub(super) fn new(checksum: Option<&Checksum>) -> Self {
        Self { digest: checksum.map(|checksum| Digest::new(checksum.algorithm)), length: 0 }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        self.length += bytes.len() as u64;
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn finish(self) -> (u64, u64) {
        (self.digest.map_or(0, |digest| digest.finalize()), self.length)
    }
}

/// Decodes the base64 of a checksum of 4 or 8 bytes; `None` for a checksum of several parts
/// (`...-3`).
fn decode(text: &str) -> Option<u64> {
    let bytes = aws_smithy_types::base64::decode(text).ok()?;
    (bytes.len() == 4 || bytes.len() == 8)
        .then(|| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checksum(algorithm: CrcAlgorithm, text: &str) -> Checksum {
        Checksum { algorithm, value: decode(text).unwrap() }
    }

    #[test]
    fn joined_parts_have_the_known_checksums() {
        // Check values for `123456789`: https://reveng.sourceforge.io/crc-catalogue/all.htm
        for (algorithm, value, text) in [
            (CrcAlgorithm::Crc32IsoHdlc, 0xcbf4_3926, "y/Q5Jg=="),
            (CrcAlgorithm::Crc32Iscsi, 0xe306_9283, "4waSgw=="),
            (CrcAlgorithm::Crc64Nvme, 0xae8b_1486_0a79_9888, "rosUhgp5mIg="),
        ] {
            let checksum = checksum(algorithm, text);
            assert_eq!(checksum.value, value);
            let part = |bytes: &[u8]| {
                let mut running = Running::new(Some(&checksum));
                running.update(bytes);
                running.finish()
            };
            assert!(checksum.is_that_of(&[part(b"1234"), part(b""), part(b"56789")]));
            assert!(!checksum.is_that_of(&[part(b"56789"), part(b"1234")]));
            assert!(!checksum.is_that_of(&[]));
        }
    }

    #[test]
    fn composite_checksum_is_ignored() {
        assert_eq!(decode("y/Q5Jg==-3"), None);
        assert_eq!(decode(""), None);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_checksum(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cuts in prop::collection::vec(0..300_usize, 0..5),
        ) {
            let algorithm = CrcAlgorithm::Crc32IsoHdlc;
            let whole = Checksum { algorithm, value: crc_fast::checksum(algorithm, &bytes) };
            let mut ends: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            ends.push(bytes.len());
            ends.sort_unstable();
            let mut start = 0;
            let parts: Vec<_> = ends.into_iter().map(|end| {
                let mut running = Running::new(Some(&whole));
                running.update(&bytes[start..end]);
                start = end;
                running.finish()
            }).collect();
            prop_assert!(whole.is_that_of(&parts));
        }
    }
}
