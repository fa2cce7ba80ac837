//! Writes whole objects, each in one request.

use std::error::Error;
use std::sync::atomic::Ordering;

use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::{PutObjectError, PutObjectOutput};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{ChecksumMode, ServerSideEncryption};
use contract::StepError;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::timeout;

use super::settings::Encryption;
use super::{Bucket, SMALL_IN_FLIGHT, error, transfer};
use crate::object::{Condition, Listed, Object, Put};

/// Metadata that marks an object with the write it comes from.
pub(super) const WRITE_MARK: &str = "lynceus-write";

/// A write of a whole object.
struct Write<'a> {
    key: &'a str,
    condition: Condition<'a>,
    mark: &'a str,
}

/// The store's answer to a write.
pub(super) enum Answer {
    /// The object was written, with this tag.
    Written(String),
    /// The condition does not hold.
    Conflict,
    /// Another write of the same key was in progress, so the result is undecided.
    Undecided,
}

impl Bucket {
    pub(super) async fn get(&self, key: &str) -> Result<Option<Object>, StepError> {
        let request = self.request("read", "s3:GetObject", key);
        let mut waits = transfer::Waits::new(&self.settings);
        loop {
            let get = self.client.get_object().bucket(&self.name).key(key);
            let reply = match get.checksum_mode(ChecksumMode::Enabled).send().await {
                Ok(reply) => reply,
                Err(error) if error::is_absent(&error) => return Ok(None),
                Err(error) => return Err(request.error(&error)),
            };
            let etag = request.tag(reply.e_tag())?;
            let length = u64::try_from(reply.content_length().unwrap_or_default()).unwrap_or(0);
            let deadline = transfer::deadline(&self.settings, length);
            if let Ok(Ok(bytes)) = timeout(deadline, reply.body.collect()).await {
                return Ok(Some(Object { bytes: bytes.to_vec(), etag }));
            }
            let why = "the reply broke off, is too slow or does not have the object's checksum";
            waits.next(&request, &why).await?;
        }
    }

    /// Reads an object that was just listed, from the local cache if possible.
    pub(super) async fn read_listed(&self, listed: &Listed) -> Result<Option<Vec<u8>>, StepError> {
        let key = self.key(&listed.key)?;
        let kept = self.cache.as_ref().zip(listed.etag.as_ref());
        if let Some(bytes) = kept.and_then(|(cache, etag)| cache.get(&key, etag)) {
            return Ok(Some(bytes));
        }
        let Some(object) = self.get(&key).await? else { return Ok(None) };
        if let Some(cache) = &self.cache {
            cache.put(&key, &object.etag, &object.bytes);
        }
        Ok(Some(object.bytes))
    }

    pub(super) async fn put_new(
        &self,
        objects: &[(String, Vec<u8>)],
    ) -> Result<Vec<bool>, StepError> {
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        // This check runs once, before the concurrent writes that need it.
        self.check_condition(Condition::IfAbsent).await?;
        let puts = stream::iter(objects).map(|(key, bytes)| self.put_if_new(key, bytes));
        puts.buffered(SMALL_IN_FLIGHT).try_collect().await
    }

    async fn put_if_new(&self, key: &str, bytes: &[u8]) -> Result<bool, StepError> {
        let key = self.key(key)?;
        let Put::Written(etag) = self.put(&key, bytes, Condition::IfAbsent).await? else {
            return Ok(false);
        };
        if let Some(cache) = &self.cache {
            cache.put(&key, &etag, bytes);
        }
        Ok(true)
    }

    /// Writes an object. After a lost reply it checks whether the object was written.
    pub(super) async fn put(
        &self,
        key: &str,
        bytes: &[u8],
        condition: Condition<'_>,
    ) -> Result<Put, StepError> {
        self.check_condition(condition).await?;
        let body = SdkBody::from(bytes);
        let mark = self.write_mark();
        let mut waits = transfer::Waits::new(&self.settings);
        loop {
            let again = body.try_clone().unwrap_or_else(|| SdkBody::from(bytes));
            match self.put_once(key, again, condition, &mark).await? {
                Answer::Written(etag) => return Ok(Put::Written(etag)),
                // The conflict may be with this same write: it succeeded, its reply was lost, and
                // the client sent it again.
                Answer::Conflict => {
                    let own = self.head_of_write(key, &mark).await?;
                    return Ok(own.map_or(Put::Conflict, Put::Written));
                }
                Answer::Undecided => {
                    let request = self.request("write", "s3:PutObject", key);
                    waits.next(&request, &"other writers were in the way").await?;
                }
            }
        }
    }

    /// Writes an object, with the client's own retries, and marks it as of this write.
    ///
    /// If a server answers 501 to the checksum headers (as Cloudflare R2, older Ceph and others
    /// did), this write is repeated without them, and every later write omits them.
    pub(super) async fn put_once(
        &self,
        key: &str,
        body: SdkBody,
        condition: Condition<'_>,
        mark: &str,
    ) -> Result<Answer, StepError> {
        let again = body.try_clone().filter(|_| !self.refuses_checksums());
        let write = Write { key, condition, mark };
        let mut sent = self.send(self.write_client(), &write, body).await;
        let refused = sent.as_ref().is_err_and(is_not_implemented);
        if let Some(body) = again.filter(|_| refused) {
            sent = self.send(&self.plain, &write, body).await;
            if !sent.as_ref().is_err_and(is_not_implemented) {
                self.refuses_checksums.store(true, Ordering::Relaxed);
            }
        }
        self.has_written.store(true, Ordering::Relaxed);
        let request = self.request("write", "s3:PutObject", key);
        match sent {
            Ok(reply) => request.tag(reply.e_tag()).map(Answer::Written),
            Err(error) => match refusal(&error, condition) {
                Some(answer) => Ok(answer),
                None if condition != Condition::Any && is_not_implemented(&error) => {
                    Err(self.ignores(condition))
                }
                None => Err(request.error(&error)),
            },
        }
    }

    async fn send(
        &self,
        client: &Client,
        write: &Write<'_>,
        body: SdkBody,
    ) -> Result<PutObjectOutput, SdkError<PutObjectError, HttpResponse>> {
        let sending = self.sending::<PutObjectError>(body.content_length().unwrap_or_default());
        let (encryption, encryption_key) = self.encryption();
        let put = client
            .put_object()
            .bucket(&self.name)
            .key(write.key)
            .metadata(WRITE_MARK, write.mark)
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(encryption_key)
            .body(ByteStream::new(body));
        let put = match write.condition {
            Condition::Any => put,
            Condition::IfAbsent => put.if_none_match("*"),
            Condition::IfMatch(etag) => put.if_match(quoted(etag)),
        };
        put.customize().config_override(sending).send().await
    }

    /// Returns the tag of an object if it comes from the write with this mark. For a user who may
    /// not read the object, the write counts as not done.
    pub(super) async fn head_of_write(
        &self,
        key: &str,
        mark: &str,
    ) -> Result<Option<String>, StepError> {
        match self.client.head_object().bucket(&self.name).key(key).send().await {
            Ok(head) => {
                let found = head.metadata().and_then(|metadata| metadata.get(WRITE_MARK));
                let own = found.is_some_and(|found| found == mark);
                Ok(head.e_tag().filter(|_| own).map(str::to_owned))
            }
            Err(SdkError::ServiceError(reply)) if reply.raw().status().is_client_error() => {
                Ok(None)
            }
            Err(error) => Err(self.request("read", "s3:GetObject", key).error(&error)),
        }
    }

    pub(super) fn write_mark(&self) -> String {
        format!("{:016x}-{}", self.writer, self.writes.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.settings.encryption {
            Encryption::Bucket => (None, None),
            Encryption::Store => (Some(ServerSideEncryption::Aes256), None),
            Encryption::KeyService(key) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        }
    }

    /// Returns the client settings of a request that sends this many bytes: a deadline for the
    /// reply, which begins only after the last byte, and a retry for data that was changed in
    /// transit.
    pub(super) fn sending<E>(&self, bytes: u64) -> aws_sdk_s3::config::Builder
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let timeouts = transfer::timeouts(&self.settings, bytes);
        let classifier =
            AwsErrorCodeClassifier::<E>::builder().transient_errors(error::CHANGED).build();
        aws_sdk_s3::config::Builder::new().timeout_config(timeouts).retry_classifier(classifier)
    }
}

/// Returns the meaning of a rejected conditional write; `None` for a failure of another kind. A key
/// without an object fails `If-Match` with 412 on some servers and with 404 on others.
fn refusal(
    error: &SdkError<PutObjectError, HttpResponse>,
    condition: Condition<'_>,
) -> Option<Answer> {
    let SdkError::ServiceError(reply) = error else { return None };
    match (reply.raw().status().as_u16(), condition) {
        (_, Condition::Any) => None,
        (412, _) => Some(Answer::Conflict),
        (409, _) => Some(Answer::Undecided),
        (404, Condition::IfMatch(_)) if error::is_absent(error) => Some(Answer::Conflict),
        _ => None,
    }
}

fn is_not_implemented(error: &SdkError<PutObjectError, HttpResponse>) -> bool {
    let status = error.raw_response().map(|reply| reply.status().as_u16());
    status == Some(501) || error.code() == Some("NotImplemented")
}

/// Returns a tag in quotes, which strict servers require in the header.
fn quoted(etag: &str) -> String {
    if etag.starts_with('"') || etag.starts_with("W/") {
        etag.to_owned()
    } else {
        format!("\"{etag}\"")
    }
}
