//! Errors of failed requests, classified by the required action.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use contract::StepError;

/// Error codes for data that was changed or truncated in transit.
pub(super) const CHANGED: &[&str] = &[
    "BadDigest",
    "IncompleteBody",
    "RequestTimeout",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
];

const NOT_WHOLE: &str = "the reply broke off or is not one of S3";

/// A request to the store, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// Verb for messages: `read`, `write`, `list`, `delete`.
    pub(super) verb: &'a str,
    /// The permission that it needs, such as `s3:GetObject`.
    pub(super) action: &'a str,
    /// The key in the bucket.
    pub(super) key: &'a str,
    /// The store's URL.
    pub(super) url: &'a str,
    /// The bucket.
    pub(super) bucket: &'a str,
    /// The endpoint of the bucket.
    pub(super) endpoint: &'a str,
}

/// A failed reply, without the parts that differ between operations.
struct Failure<'e> {
    code: &'e str,
    words: &'e str,
    status: u16,
    date: &'e str,
    region: &'e str,
}

impl Request<'_> {
    /// Makes the error of a failed request, without secrets: credentials, signatures and signed
    /// URLs, which the store's message may contain.
    pub(super) fn error<E>(&self, error: &SdkError<E, HttpResponse>) -> StepError
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                let header = |name| service.raw().headers().get(name).unwrap_or_default();
                self.reply(&Failure {
                    code: service.err().code().unwrap_or_default(),
                    words: service.err().message().unwrap_or_default(),
                    status: service.raw().status().as_u16(),
                    date: header("date"),
                    region: header("x-amz-bucket-region"),
                })
            }
            SdkError::TimeoutError(_) => self.silent(),
            SdkError::ResponseError(reply) if reply.raw().status().is_client_error() => self.usage(
                &format!("what answers at `{}` does not speak S3", self.endpoint),
                "check the endpoint's URL: host, port, and `http` or `https`",
            ),
            SdkError::ResponseError(_) => self.broken(NOT_WHOLE),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => self.silent(),
            other => self.unsent(other),
        }
    }

    /// Returns an object's tag from a reply; a reply without a tag is an error, because S3 always
    /// sends one.
    pub(super) fn tag(&self, etag: Option<&str>) -> Result<String, StepError> {
        match etag {
            Some(etag) if !etag.is_empty() => Ok(etag.to_owned()),
            _ => Err(self.broken(NOT_WHOLE)),
        }
    }

    /// Makes the error for an incomplete reply or transfer.
    pub(super) fn broken(&self, why: &str) -> StepError {
        StepError::unavailable(format!("{}: {why}", self.what()))
            .hint("check that the store is running and reachable from here; `AWS_ENDPOINT_URL` names its endpoint")
    }

    fn what(&self) -> String {
        format!("cannot {} `{}` in store `{}`", self.verb, self.key, self.url)
    }

    fn usage(&self, why: &str, hint: &str) -> StepError {
        StepError::usage(format!("{}: {why}", self.what())).hint(hint)
    }

    fn silent(&self) -> StepError {
        self.broken(&format!("endpoint `{}` did not answer in time", self.endpoint))
    }

    fn reply(&self, failure: &Failure<'_>) -> StepError {
        let keys = "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or the profile, to those of a user of this store";
        match (failure.code, failure.status) {
            ("InvalidAccessKeyId" | "UnknownAccessKey", _) => {
                self.usage("the store does not know this access key", keys)
            }
            ("SignatureDoesNotMatch" | "AuthFailure", _) => {
                self.usage("the secret key does not belong to this access key", keys)
            }
            ("InvalidToken" | "InvalidTokenId" | "InvalidClientTokenId", _) => {
                self.usage("the store does not know this session token", keys)
            }
            ("ExpiredToken" | "TokenRefreshRequired" | "RequestExpired", _) => {
                self.usage("the session token has expired", "sign in again")
            }
            ("RequestTimeTooSkewed", _) => {
                let date = failure.date;
                let why = format!(
                    "the clocks of this machine and the store differ too much; the store says `{date}`"
                );
                self.usage(&why, "set this machine's clock")
            }
            ("NoSuchBucket" | "InvalidBucketName", _) => {
                let why = format!("endpoint `{}` has no bucket `{}`", self.endpoint, self.bucket);
                self.usage(&why, "make the bucket, or check the store's URL and the endpoint")
            }
            ("PermanentRedirect" | "AuthorizationHeaderMalformed", _) | (_, 301 | 307) => {
                let region = if failure.region.is_empty() { "another" } else { failure.region };
                let why = format!("bucket `{}` is in region `{region}`", self.bucket);
                self.usage(&why, "set `AWS_REGION`")
            }
            ("AccessDenied" | "AllAccessDisabled", _) | (_, 401 | 403) => {
                let why =
                    format!("this user may not `{}` there{}", self.action, words(failure));
                self.usage(&why, "give the user the policy of its role: see minio/README.md")
            }
            ("NotImplemented", _) | (_, 501) => self.usage(
                &format!("the server does not implement this request: {}", named(failure)),
                "if it names a checksum header, set `AWS_REQUEST_CHECKSUM_CALCULATION=when_required`; \
                 else use a server that minio/README.md names",
            ),
            ("SlowDown" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded", _)
            | (_, 429) => self.broken("the store answered every attempt with a rate limit"),
            (code, _) if CHANGED.contains(&code) => {
                self.broken("the data was changed or truncated in transit in every attempt")
            }
            (_, 200..=299) => self.broken(NOT_WHOLE),
            (_, 500..) => self.broken(&format!("the store failed with {}", named(failure))),
            _ => self.usage(
                &format!("the store refuses the request with {}", named(failure)),
                "check the store's URL, the endpoint and the `LYNCEUS_S3_` settings",
            ),
        }
    }

    /// Makes the error for a request that never reached the store.
    fn unsent(&self, error: &(dyn Error + 'static)) -> StepError {
        if let Some(tls) = find::<rustls::Error>(error) {
            return self.usage(
                &format!("no secure connection to `{}`: {}", self.endpoint, one_line(tls)),
                "`AWS_CA_BUNDLE` names the certificates to trust instead of the system's",
            );
        }
        match find::<CredentialsError>(error) {
            Some(CredentialsError::CredentialsNotLoaded(_)) => self.usage(
                "no credentials were found",
                "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, a profile or a web identity",
            ),
            Some(CredentialsError::InvalidConfiguration(_)) => self.usage(
                "the settings of the credentials contradict each other",
                "check the `AWS_` variables and the profile",
            ),
            Some(_) => self
                .broken(
                    "the credentials cannot be fetched from the metadata service or web identity",
                )
                .hint("set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or a profile"),
            None => {
                let root = chain(error).last().map(|root| one_line(&root)).unwrap_or_default();
                self.broken(&format!("endpoint `{}` cannot be reached: {root}", self.endpoint))
            }
        }
    }
}

/// Returns an error and its causes, outermost first.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'e (dyn Error + 'static) = *error;
        // An I/O error hides what it wraps from `source`.
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn one_line(error: &impl ToString) -> String {
    error.to_string().chars().take(300).flat_map(char::escape_debug).collect()
}

/// Returns the code, the status, and the store's own message.
fn named(failure: &Failure<'_>) -> String {
    let status = failure.status;
    match failure.code {
        "" => format!("HTTP status {status}{}", words(failure)),
        code => format!("`{}` (HTTP status {status}){}", one_line(&code), words(failure)),
    }
}

/// Returns the store's own message after a colon; empty if it only repeats the code, or may contain
/// secrets: credentials, signatures, signed URLs.
fn words(failure: &Failure<'_>) -> String {
    let words = failure.words.trim().trim_end_matches('.');
    let plain = |text: &str| text.to_lowercase().replace([' ', '.'], "");
    let lower = words.to_lowercase();
    let is_secret = ["signature", "credential", "accesskey", "token", "://"]
        .iter()
        .any(|it| lower.contains(it));
    let repeats = plain(words) == plain(failure.code) || lower == "access denied";
    if words.is_empty() || is_secret || repeats {
        return String::new();
    }
    format!(": {}", one_line(&words))
}

/// Returns whether no object has the key; a missing bucket is a different error.
pub(super) fn is_absent<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let SdkError::ServiceError(reply) = error else { return false };
    matches!(reply.err().code(), Some("NoSuchKey" | "NotFound"))
        || (reply.raw().status().as_u16() == 404 && reply.err().code().is_none())
}

/// Returns whether a condition on the object's state does not hold.
pub(super) fn is_precondition<E>(error: &SdkError<E, HttpResponse>) -> bool {
    error.raw_response().is_some_and(|reply| reply.status().as_u16() == 412)
}
