//! Settings of a bucket, from the environment or from the caller.
//!
//! Region, endpoint, profile files, keys, session token and web identity are read by `aws-config`,
//! so they work as in other AWS programs. The other settings are read here. No other module of the
//! crate reads the environment.

use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_s3::config::Credentials;
use contract::StepError;

use super::cache;

/// How the store keeps objects at rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Encryption {
    /// By the settings of the bucket.
    #[default]
    Bucket,
    /// With keys of the store (SSE-S3).
    Store,
    /// With a key of the key management service (SSE-KMS): this one, or the bucket's.
    KeyService(Option<String>),
}

/// Settings of a bucket. [`Default`] uses the AWS settings of the environment.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// URL of the endpoint instead of `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` and the profile.
    pub endpoint_url: Option<String>,
    /// Region instead of `AWS_REGION`, `AWS_DEFAULT_REGION` and the profile; `us-east-1` without any.
    pub region: Option<String>,
    /// Credentials instead of those from the environment, a profile or a web identity.
    pub credentials: Option<Credentials>,
    /// Whether the bucket's name is in the path of URLs; without a value, it is for every endpoint
    /// outside of AWS.
    pub path_style: Option<bool>,
    /// How objects are encrypted at rest.
    pub encryption: Encryption,
    /// PEM file with the certificates to trust instead of the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Local folder in which score objects are cached, instead of the folder of the process
    /// ([`super::cache::share`]).
    pub cache: Option<PathBuf>,
    /// Attempts at a request before it counts as failed.
    pub attempts: u32,
    /// First backoff between attempts; it doubles each time, and each is shortened by a random
    /// share.
    pub first_wait: Duration,
    /// Deadline of a connection attempt.
    pub connect_deadline: Duration,
    /// Deadline for the begin of a reply and for each pause in it; transferred bytes extend it.
    /// After three times this time a request fails, even if attempts are left.
    pub reply_deadline: Duration,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            endpoint_url: None,
            region: None,
            credentials: None,
            path_style: None,
            encryption: Encryption::Bucket,
            ca_bundle: None,
            cache: None,
            attempts: 5,
            first_wait: Duration::from_millis(200),
            connect_deadline: Duration::from_secs(5),
            reply_deadline: Duration::from_secs(20),
        }
    }
}

impl S3Settings {
    /// Reads `AWS_CA_BUNDLE`, `LYNCEUS_S3_PATH_STYLE`, `LYNCEUS_S3_SSE`,
    /// `LYNCEUS_S3_SSE_KMS_KEY_ID`, `LYNCEUS_S3_REPLY_SECONDS` and `LYNCEUS_S3_CACHE`; an invalid
    /// value is a usage error.
    pub fn from_environment() -> Result<Self, StepError> {
        Self::from_variables(&environment_variable)
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, StepError> {
        let path_style = match variable("LYNCEUS_S3_PATH_STYLE").as_deref() {
            None => None,
            Some("true" | "1") => Some(true),
            Some("false" | "0") => Some(false),
            Some(_) => return Err(unknown("LYNCEUS_S3_PATH_STYLE", "write `true` or `false`")),
        };
        let key = variable("LYNCEUS_S3_SSE_KMS_KEY_ID");
        let encryption = match (variable("LYNCEUS_S3_SSE").as_deref(), key) {
            (None, None) => Encryption::Bucket,
            (Some("s3" | "AES256"), None) => Encryption::Store,
            (Some("kms" | "aws:kms"), key) | (None, key @ Some(_)) => Encryption::KeyService(key),
            (Some("s3" | "AES256"), Some(_)) => {
                let hint = "a key id requires `kms`; without a key id the store uses its own keys";
                return Err(unknown("LYNCEUS_S3_SSE", hint));
            }
            (Some(_), _) => return Err(unknown("LYNCEUS_S3_SSE", "write `s3` or `kms`")),
        };
        let mut settings = Self { path_style, encryption, ..Self::default() };
        settings.ca_bundle = variable("AWS_CA_BUNDLE").map(PathBuf::from);
        settings.cache = variable(cache::VARIABLE).map(PathBuf::from);
        if let Some(seconds) = variable("LYNCEUS_S3_REPLY_SECONDS") {
            let known = seconds.parse().ok().filter(|seconds| (1..=600).contains(seconds));
            let unknown = || unknown("LYNCEUS_S3_REPLY_SECONDS", "write a number from 1 to 600");
            settings.reply_deadline = Duration::from_secs(known.ok_or_else(unknown)?);
        }
        Ok(settings)
    }
}

fn unknown(name: &str, hint: &str) -> StepError {
    StepError::usage(format!("the environment's `{name}` has an unknown value")).hint(hint)
}

/// An empty variable counts as not set, because manifests write empty variables for missing
/// settings.
#[expect(
    clippy::disallowed_methods,
    reason = "every program finds its bucket by the same variables; secrets are not flags"
)]
fn environment_variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<S3Settings, StepError> {
        S3Settings::from_variables(&|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn unset_settings_default_to_bucket_and_system() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.path_style, None);
        assert_eq!(settings.encryption, Encryption::Bucket);
        assert_eq!(settings.ca_bundle, None);
    }

    #[test]
    fn encryption_is_named_as_lynceus_or_as_the_protocol_names_it() {
        for value in ["s3", "AES256"] {
            assert_eq!(read(&[("LYNCEUS_S3_SSE", value)]).unwrap().encryption, Encryption::Store);
        }
        let key = ("LYNCEUS_S3_SSE_KMS_KEY_ID", "my-key");
        let with_key = Encryption::KeyService(Some("my-key".to_owned()));
        assert_eq!(read(&[key]).unwrap().encryption, with_key);
        assert_eq!(read(&[key, ("LYNCEUS_S3_SSE", "aws:kms")]).unwrap().encryption, with_key);
        let without = read(&[("LYNCEUS_S3_SSE", "kms")]).unwrap().encryption;
        assert_eq!(without, Encryption::KeyService(None));
        read(&[key, ("LYNCEUS_S3_SSE", "s3")]).unwrap_err();
    }

    #[test]
    fn a_value_that_means_nothing_is_named_and_not_repeated() {
        for name in ["LYNCEUS_S3_PATH_STYLE", "LYNCEUS_S3_SSE", "LYNCEUS_S3_REPLY_SECONDS"] {
            let error = read(&[(name, "hunter2")]).unwrap_err();
            assert_eq!(error.kind, contract::ErrorKind::Usage);
            assert!(error.message.contains(name), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert_eq!(read(&[("LYNCEUS_S3_PATH_STYLE", "0")]).unwrap().path_style, Some(false));
        for seconds in ["0", "601", "-1", "1.5", ""] {
            let set = read(&[("LYNCEUS_S3_REPLY_SECONDS", seconds)]);
            assert!(set.is_err(), "{seconds}");
        }
        let quick = read(&[("LYNCEUS_S3_REPLY_SECONDS", "7")]).unwrap();
        assert_eq!(quick.reply_deadline, Duration::from_secs(7));
    }
}
