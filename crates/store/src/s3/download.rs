//! Downloads objects into files. The first request returns the length and the beginning of the
//! object. The rest of a larger object is downloaded in ranges, a few at a time, and each range is
//! written at its offset.
//!
//! All ranges come from the same version of the object (`If-Match`). An interrupted range resumes
//! at its last byte. The whole is compared with the object's checksum before the file appears.

use std::path::Path;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use contract::StepError;
use contract::artifact::{self, OutputFile};
use fs_err as fs;
use fs_err::os::unix::fs::FileExt as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::timeout;

use super::checksum::{Checksum, Running};
use super::transfer::{IN_FLIGHT, WHOLE_BYTES, Waits};
use super::{Bucket, error, transfer};

/// Length of a range of a larger object.
const RANGE_BYTES: u64 = WHOLE_BYTES;

/// A download in progress.
struct Download<'a> {
    key: &'a str,
    etag: String,
    path: &'a Path,
    file: fs::File,
    length: u64,
    checksum: Option<Checksum>,
}

/// Result of an attempt to download the whole object.
enum Ended {
    Whole,
    /// The object was replaced in the meantime, or the received data is not the stored data.
    Differs(&'static str),
}

impl Bucket {
    pub(super) async fn get_file(&self, key: &str, path: &Path) -> Result<bool, StepError> {
        let request = self.request("read", "s3:GetObject", key);
        let mut waits = Waits::new(&self.settings);
        loop {
            let Some(reply) = self.first_reply(key).await? else { return Ok(false) };
            let output = OutputFile::create(path)?;
            let partial = artifact::partial(path);
            let file = fs::OpenOptions::new()
                .write(true)
                .open(partial)
                .map_err(|e| StepError::writing(path, &e))?;
            let download = Download {
                key,
                etag: request.tag(reply.e_tag())?,
                path,
                file,
                length: u64::try_from(reply.content_length().unwrap_or_default()).unwrap_or(0),
                checksum: Checksum::of(&reply),
            };
            match self.fetch(&download, reply.body).await? {
                Ended::Whole => {
                    output.publish()?;
                    return Ok(true);
                }
                Ended::Differs(why) => waits.next(&request, &why).await?,
            }
        }
    }

    async fn first_reply(&self, key: &str) -> Result<Option<GetObjectOutput>, StepError> {
        let get = self.client.get_object().bucket(&self.name).key(key);
        match get.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(reply) => Ok(Some(reply)),
            Err(error) if error::is_absent(&error) => Ok(None),
            Err(error) => Err(self.request("read", "s3:GetObject", key).error(&error)),
        }
    }

    /// Fetches all ranges; the first one comes from the first reply.
    async fn fetch(&self, download: &Download<'_>, first: ByteStream) -> Result<Ended, StepError> {
        let mut first = Some(first);
        let starts = (0..download.length.div_ceil(RANGE_BYTES).max(1)).map(|n| n * RANGE_BYTES);
        let ranges = starts.map(|start| (start, first.take()));
        let parts: Option<Vec<(u64, u64)>> = stream::iter(ranges.collect::<Vec<_>>())
            .map(|(start, stream)| self.fetch_range(download, start, stream))
            .buffered(IN_FLIGHT)
            .try_collect::<Vec<_>>()
            .await?
            .into_iter()
            .collect();
        Ok(match (parts, &download.checksum) {
            (None, _) => Ended::Differs("the object was replaced while it was read"),
            (Some(parts), Some(checksum)) if !checksum.is_that_of(&parts) => {
                Ended::Differs("what came does not have the object's checksum")
            }
            _ => Ended::Whole,
        })
    }

    /// Fetches one range and returns its checksum and length; `None` if the object has been
    /// replaced.
    async fn fetch_range(
        &self,
        download: &Download<'_>,
        start: u64,
        stream: Option<ByteStream>,
    ) -> Result<Option<(u64, u64)>, StepError> {
        let request = self.request("read", "s3:GetObject", download.key);
        let end = download.length.min(start + RANGE_BYTES);
        let mut running = Running::new(download.checksum.as_ref());
        let mut waits = Waits::new(&self.settings);
        let mut stream = stream;
        let deadline = transfer::deadline(&self.settings, RANGE_BYTES);
        loop {
            let body = match stream.take() {
                Some(body) => body,
                None => match self.range_reply(download, start + running.length(), end).await? {
                    Some(body) => body,
                    None => return Ok(None),
                },
            };
            let write = download.write(body, start, end, &mut running);
            // A range that is too slow is requested again from its last received byte.
            if let Ok(written) = timeout(deadline, write).await {
                written?;
            }
            if start + running.length() == end {
                return Ok(Some(running.finish()));
            }
            waits.next(&request, &"the reply broke off or is too slow").await?;
        }
    }

    async fn range_reply(
        &self,
        download: &Download<'_>,
        start: u64,
        end: u64,
    ) -> Result<Option<ByteStream>, StepError> {
        let get = self.client.get_object().bucket(&self.name).key(download.key);
        let range = format!("bytes={start}-{}", end - 1);
        let sent = get.range(range).if_match(&download.etag).send().await;
        match sent {
            // Some servers ignore the condition on reads.
            Ok(reply) if reply.e_tag() == Some(&download.etag) => Ok(Some(reply.body)),
            Ok(_) => Ok(None),
            Err(error) if error::is_absent(&error) || error::is_precondition(&error) => Ok(None),
            Err(error) => Err(self.request("read", "s3:GetObject", download.key).error(&error)),
        }
    }
}

impl Download<'_> {
    /// Writes the bytes of a range until it ends or is interrupted; bytes beyond the range are not
    /// read.
    async fn write(
        &self,
        mut body: ByteStream,
        start: u64,
        end: u64,
        running: &mut Running,
    ) -> Result<(), StepError> {
        while let Some(Ok(bytes)) = body.next().await {
            let place = start + running.length();
            let wanted = usize::try_from(end - place).unwrap_or(usize::MAX).min(bytes.len());
            let bytes = &bytes[..wanted];
            self.file.write_all_at(bytes, place).map_err(|e| StepError::writing(self.path, &e))?;
            running.update(bytes);
            if start + running.length() == end {
                break;
            }
        }
        Ok(())
    }
}
