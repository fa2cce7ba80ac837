//! Uploads files: small ones in one request, larger ones in parts, a few at a time.
//!
//! An object of several parts appears whole with the last request or not at all. Each part has a
//! checksum, and the store computes the checksum of the whole object from them.

use std::path::Path;
use std::sync::Arc;

use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadError;
use aws_sdk_s3::operation::upload_part::UploadPartError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use contract::StepError;
use fs_err as fs;
use fs_err::os::unix::fs::FileExt as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Bucket;
use super::put::{Answer, WRITE_MARK};
use super::transfer::{IN_FLIGHT, WHOLE_BYTES};
use crate::object::Condition;

/// Length of a part, unless there would be too many.
const PART_BYTES: u64 = 8 * 1024 * 1024;

/// Parts that the protocol allows in one object.
const MAX_PARTS: u64 = 10_000;

/// Completing a large object takes the store longer than other requests.
const COMPLETION_AS_BYTES: u64 = 16 * 1024 * 1024;

/// An upload in progress.
struct Upload<'a> {
    key: &'a str,
    id: String,
    file: Arc<fs::File>,
    length: u64,
    part_bytes: u64,
}

impl Bucket {
    pub(super) async fn put_file(&self, key: &str, path: &Path) -> Result<String, StepError> {
        let read_error = |e: std::io::Error| StepError::reading(path, &e);
        let meta = fs::metadata(path).map_err(read_error)?;
        if !meta.is_file() {
            return Err(StepError::usage(format!("`{}` is not a file", path.display()))
                .hint("this is a folder or a device: give the path of a file"));
        }
        if meta.len() > WHOLE_BYTES {
            let file = Arc::new(fs::File::open(path).map_err(read_error)?);
            return self.put_parts(key, file, meta.len()).await;
        }
        let bytes = fs::read(path).map_err(read_error)?;
        match self.put_once(key, bytes.into(), Condition::Any, &self.write_mark()).await? {
            Answer::Written(etag) => Ok(etag),
            Answer::Conflict | Answer::Undecided => {
                Err(StepError::bug(format!("`{key}` was refused though nothing was asked of it")))
            }
        }
    }

    async fn put_parts(
        &self,
        key: &str,
        file: Arc<fs::File>,
        length: u64,
    ) -> Result<String, StepError> {
        self.check_checksums().await?;
        let has_checksums = !self.refuses_checksums();
        let mark = self.write_mark();
        let (encryption, encryption_key) = self.encryption();
        let created = self
            .write_client()
            .create_multipart_upload()
            .bucket(&self.name)
            .key(key)
            .metadata(WRITE_MARK, &mark)
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(encryption_key)
            .set_checksum_algorithm(has_checksums.then_some(ChecksumAlgorithm::Crc32))
            .set_checksum_type(has_checksums.then_some(ChecksumType::FullObject))
            .send()
            .await
            .map_err(|e| self.request("write", "s3:PutObject", key).error(&e))?;
        let id = created.upload_id().unwrap_or_default().to_owned();
        let part_bytes = part_bytes(length);
        let upload = Upload { key, id, file, length, part_bytes };
        let result = match self.send_parts(&upload).await {
            Ok(parts) => self.complete(&upload, parts, &mark).await,
            Err(error) => Err(error),
        };
        if result.is_err() {
            // If this fails, the server removes it after some days.
            let abort = self.client.abort_multipart_upload().bucket(&self.name).key(key);
            drop(abort.upload_id(&upload.id).send().await);
        }
        result
    }

    /// Sends all parts; each part is read just before it is sent, so only a few are in memory.
    async fn send_parts(&self, upload: &Upload<'_>) -> Result<Vec<CompletedPart>, StepError> {
        let in_flight = (PART_BYTES * IN_FLIGHT as u64 / upload.part_bytes).max(1);
        stream::iter(0..upload.length.div_ceil(upload.part_bytes))
            .map(|index| self.send_part(upload, index))
            .buffered(usize::try_from(in_flight).unwrap_or(1))
            .try_collect()
            .await
    }

    async fn send_part(&self, upload: &Upload<'_>, index: u64) -> Result<CompletedPart, StepError> {
        let start = index * upload.part_bytes;
        let length = upload.part_bytes.min(upload.length - start);
        let bytes = upload.read(start, length).await?;
        // Parts are counted from 1.
        let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
        let has_checksums = !self.refuses_checksums();
        let sent = self
            .write_client()
            .upload_part()
            .bucket(&self.name)
            .key(upload.key)
            .upload_id(&upload.id)
            .part_number(number)
            .set_checksum_algorithm(has_checksums.then_some(ChecksumAlgorithm::Crc32))
            .body(ByteStream::from(bytes))
            .customize()
            .config_override(self.sending::<UploadPartError>(length))
            .send()
            .await
            .map_err(|e| self.request("write", "s3:PutObject", upload.key).error(&e))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32(sent.checksum_crc32)
            .build())
    }

    async fn complete(
        &self,
        upload: &Upload<'_>,
        parts: Vec<CompletedPart>,
        mark: &str,
    ) -> Result<String, StepError> {
        let request = self.request("write", "s3:PutObject", upload.key);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let completed = self
            .write_client()
            .complete_multipart_upload()
            .bucket(&self.name)
            .key(upload.key)
            .upload_id(&upload.id)
            .multipart_upload(parts)
            .customize()
            .config_override(self.sending::<CompleteMultipartUploadError>(COMPLETION_AS_BYTES))
            .send()
            .await;
        match completed {
            Ok(completed) => request.tag(completed.e_tag()),
            Err(error) => {
                // The write may have succeeded, with only its reply lost.
                let own = self.head_of_write(upload.key, mark).await.ok().flatten();
                own.ok_or_else(|| request.error(&error))
            }
        }
    }
}

impl Upload<'_> {
    /// Reads a part without blocking the transfers in progress.
    async fn read(&self, start: u64, length: u64) -> Result<Vec<u8>, StepError> {
        let file = Arc::clone(&self.file);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, start)?;
            Ok(bytes)
        });
        match read.await {
            Ok(read) => read.map_err(|e| StepError::reading(self.file.path(), &e)),
            Err(error) => Err(StepError::bug(format!("reading a part was ended: {error}"))),
        }
    }
}

fn part_bytes(length: u64) -> u64 {
    PART_BYTES.max(length.div_ceil(MAX_PARTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_one_length_until_there_would_be_too_many() {
        assert_eq!(part_bytes(WHOLE_BYTES + 1), PART_BYTES);
        assert_eq!(part_bytes(PART_BYTES * MAX_PARTS), PART_BYTES);
        let largest = 5 * 1024_u64.pow(4);
        assert!(largest.div_ceil(part_bytes(largest)) <= MAX_PARTS);
    }
}
