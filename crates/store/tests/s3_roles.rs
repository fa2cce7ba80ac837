//! The users that `minio/apply.sh` makes: each can do its job and is refused everything else.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod s3_servers;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::LifecycleExpiration;
use contract::ErrorKind;
use contract::score::WindowScore;
use fs_err as fs;
use s3_servers::minio::server::tools;
use s3_servers::minio::{Minio, is_off};
use s3_servers::{Access, BUCKET};
use store::{Change, ObjectStore, Registry, S3Store, Watermark, scores, state, watermark};
use support::{PIPELINE, time, write_bundle};

const ROLES: [&str; 4] = ["trainer", "scorer", "reader", "recorder"];

/// A server as `minio/apply.sh` leaves it.
struct Deployment {
    minio: Minio,
    users: Vec<Access>,
}

impl Deployment {
    fn user(&self, role: &str) -> &Access {
        &self.users[ROLES.iter().position(|other| *other == role).unwrap()]
    }

    fn store(&self, role: &str) -> S3Store {
        S3Store::with_settings(&format!("s3://{BUCKET}"), self.user(role).settings()).unwrap()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../minio")
}

/// Starts a server and applies what the repository says, twice: the second time changes nothing.
fn deployment() -> Result<Option<Deployment>> {
    if is_off() {
        return Ok(None);
    }
    let minio = Minio::start(None)?;
    let temp = tempfile::tempdir()?;
    let credentials = temp.path().join("credentials");
    let write = |file: &str, text: &str| {
        contract::artifact::write_file(&credentials.join(file), text.as_bytes())
    };
    write("root/MINIO_ROOT_USER", &minio.access().key)?;
    write("root/MINIO_ROOT_PASSWORD", &minio.access().secret)?;
    run(Command::new(folder().join("credentials.sh")).arg(&credentials))?;
    let read = |role: &str, name: &str| fs::read_to_string(credentials.join(role).join(name));
    let users = ROLES.map(|role| -> Result<Access> {
        let (key, secret) =
            (read(role, "AWS_ACCESS_KEY_ID")?, read(role, "AWS_SECRET_ACCESS_KEY")?);
        ensure!(secret.len() == 48 && key.starts_with(role));
        Ok(minio.access().as_user(&key, &secret))
    });
    let users = users.into_iter().collect::<Result<Vec<_>>>()?;
    for _ in 0..2 {
        let mut apply = Command::new(folder().join("apply.sh"));
        apply.env("ENDPOINT", &minio.access().endpoint).env("CREDENTIALS", &credentials);
        let said = run(apply.env("MC", tools()?.join("mc")).env("HOME", temp.path()))?;
        for user in &users {
            ensure!(!said.contains(&user.secret), "secrets are not said");
        }
    }
    Ok(Some(Deployment { minio, users }))
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "{said}");
    Ok(said)
}

fn trainer_does_its_job(store: &dyn ObjectStore) -> Result<()> {
    let temp = tempfile::tempdir()?;
    let registry = Registry::new(store, PIPELINE);
    let mut versions = Vec::new();
    for bytes in [b"one".as_slice(), b"two"] {
        let bundle = temp.path().join(format!("bundle{}", versions.len()));
        write_bundle(&bundle, time("2026-11-21T08:00:00Z"), bytes)?;
        versions.push(registry.put_version(&bundle)?);
    }
    let change = |version| Change {
        alias: "live",
        version,
        now: time("2026-11-21T09:00:00Z"),
        by: "trainer",
        why: "a test",
    };
    let first = registry.promote(&change(&versions[0]), None)?;
    registry.promote(&change(&versions[1]), Some(&first))?;
    registry.rollback("live", time("2026-11-21T10:00:00Z"), "trainer", None)?;
    ensure!(registry.history("live")?.len() == 3);
    ensure!(registry.versions()?.len() == 2);
    registry.fetch(&versions[0], None)?;
    // A finished run is notified.
    state::write(store, PIPELINE, "alerts", &"told", None)?;
    // Argo moves artifacts with this user, also large ones.
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    fs::write(&source, vec![1; 17 * 1024 * 1024])?;
    store.put_file("runs/cluster/uid/collect/samples.parquet", &source)?;
    ensure!(store.get_file("runs/cluster/uid/collect/samples.parquet", &target)?);
    ensure!(store.list("runs/cluster/uid/", None, 9)?.len() == 1);
    Ok(())
}

fn scorer_does_its_job(store: &dyn ObjectStore) -> Result<()> {
    let live = Registry::new(store, PIPELINE).alias("live")?.context("no live model")?;
    Registry::new(store, PIPELINE).fetch(&live.version, None)?;
    ensure!(Registry::new(store, PIPELINE).alias("shadow")?.is_none(), "absent, not forbidden");
    let at = time("2026-11-21T11:00:00Z");
    let score = WindowScore::new(PIPELINE, at, live.version, Vec::new());
    ensure!(scores::write_once(store, &score)? && !scores::write_once(store, &score)?);
    ensure!(scores::read_after(store, PIPELINE, None, at).count() == 1);
    let mark = Watermark::new(at);
    let etag = watermark::write(store, PIPELINE, &mark, None)?;
    watermark::write(store, PIPELINE, &mark, Some(&etag))?;
    let alerts = state::read::<String>(store, PIPELINE, "alerts")?.context("no state")?;
    state::write(store, PIPELINE, "alerts", &"told again", Some(&alerts.etag))?;
    Ok(())
}

fn reader_does_its_job(store: &dyn ObjectStore) -> Result<()> {
    let registry = Registry::new(store, PIPELINE);
    ensure!(registry.alias("live")?.is_some() && registry.history("live")?.len() == 3);
    ensure!(scores::read_after(store, PIPELINE, None, time("2026-11-22T00:00:00Z")).count() == 1);
    ensure!(watermark::read(store, PIPELINE)?.is_some());
    ensure!(store.get("runs/cluster/uid/collect/samples.parquet")?.is_some());
    ensure!(store.list("", None, 99)?.len() > 8);
    Ok(())
}

/// One key of each kind that there is, and who may read and write it.
const KEYS: [(&str, &str, &str); 13] = [
    ("models/cluster/versions/v/bundle.json", "trainer scorer reader", "trainer"),
    ("models/cluster/aliases/live.json", "trainer scorer reader", "trainer"),
    ("models/cluster/history/live/1.json", "trainer scorer reader", "trainer"),
    ("models/other.json", "trainer scorer reader", ""),
    ("runs/cluster/uid/x.json", "trainer reader", "trainer"),
    ("inputs/flow/x.csv", "trainer reader", ""),
    ("samples/node/metrics/n/date=2026-11-21/x", "trainer scorer reader recorder", "recorder"),
    ("scores/cluster/date=2026-11-21/x.json", "scorer reader", "scorer"),
    ("state/cluster/watermark.safetensors", "scorer reader", "scorer"),
    ("state/cluster/alerts.json", "trainer scorer reader", "trainer scorer"),
    ("messages/cluster/date=2026-11-21/x.json", "reader", "trainer scorer"),
    (".lynceus/conditional-writes", "", "trainer scorer recorder"),
    ("elsewhere/x", "", ""),
];

/// Runs a call and says whether the server allowed it; any other failure is one of the test.
async fn allowed<T, E>(
    call: impl Future<Output = Result<T, aws_sdk_s3::error::SdkError<E>>>,
) -> Result<bool>
where
    E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match Box::pin(call).await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some("AccessDenied") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn check_keys(client: &Client, role: &str) -> Result<()> {
    for (key, readers, writers) in KEYS {
        let get = client.get_object().bucket(BUCKET).key(key).send();
        ensure!(allowed(get).await? == readers.contains(role), "{role} reads {key}");
        let body = ByteStream::from_static(b"x");
        let put = client.put_object().bucket(BUCKET).key(key).body(body).send();
        ensure!(Box::pin(allowed(put)).await? == writers.contains(role), "{role} writes {key}");
        let delete = client.delete_object().bucket(BUCKET).key(key).send();
        ensure!(!allowed(delete).await?, "{role} deletes {key}");
        let version = client.delete_object().bucket(BUCKET).key(key).version_id("null").send();
        ensure!(!allowed(version).await?, "{role} deletes a version of {key}");
    }
    Ok(())
}

async fn check_administration(client: &Client, role: &str) -> Result<()> {
    let calls = [
        ("s3:CreateBucket", allowed(client.create_bucket().bucket("other").send()).await?),
        ("s3:DeleteBucket", allowed(client.delete_bucket().bucket(BUCKET).send()).await?),
        (
            "s3:PutBucketPolicy",
            allowed(client.put_bucket_policy().bucket(BUCKET).policy("{}").send()).await?,
        ),
        ("s3:GetBucketPolicy", allowed(client.get_bucket_policy().bucket(BUCKET).send()).await?),
        (
            "s3:GetBucketVersioning",
            allowed(client.get_bucket_versioning().bucket(BUCKET).send()).await?,
        ),
        (
            "s3:GetLifecycleConfiguration",
            allowed(client.get_bucket_lifecycle_configuration().bucket(BUCKET).send()).await?,
        ),
        (
            "s3:DeleteBucketLifecycle",
            allowed(client.delete_bucket_lifecycle().bucket(BUCKET).send()).await?,
        ),
        (
            "s3:ListBucketMultipartUploads",
            allowed(client.list_multipart_uploads().bucket(BUCKET).send()).await?,
        ),
        ("another bucket", allowed(client.list_objects_v2().bucket("foreign").send()).await?),
    ];
    for (call, was_allowed) in calls {
        ensure!(!was_allowed, "{role} may {call}");
    }
    let list = client.list_objects_v2().bucket(BUCKET).send();
    ensure!(allowed(list).await?, "{role} lists the bucket");
    Ok(())
}

#[test]
fn each_role_can_do_its_job_and_is_refused_everything_else() {
    let Some(deployment) = deployment().unwrap() else { return };
    trainer_does_its_job(&deployment.store("trainer")).unwrap();
    scorer_does_its_job(&deployment.store("scorer")).unwrap();
    reader_does_its_job(&deployment.store("reader")).unwrap();

    let owner = deployment.minio.access();
    owner
        .with_client(async |client| {
            client.create_bucket().bucket("foreign").send().await?;
            for (key, ..) in KEYS {
                let body = ByteStream::from_static(b"x");
                client.put_object().bucket(BUCKET).key(key).body(body).send().await?;
            }
            Ok(())
        })
        .unwrap();
    for role in ROLES {
        deployment
            .user(role)
            .with_client(async |client| {
                Box::pin(check_keys(&client, role)).await?;
                check_administration(&client, role).await
            })
            .unwrap();
    }
}

#[test]
fn store_check_distinguishes_roles() {
    let Some(deployment) = deployment().unwrap() else { return };
    for role in ROLES {
        let check = store::check::check(&deployment.store(role)).unwrap();
        let own = check.roles.iter().find(|other| other.role == role).unwrap();
        assert_eq!(own.lacks, [""; 0], "{role}");
        assert_eq!(own.beyond, [""; 0], "{role}");
        let others = check.roles.iter().filter(|other| other.role != role);
        assert!(others.clone().count() == 3, "{:?}", check.roles);
        for other in others {
            let differs = !other.lacks.is_empty() || !other.beyond.is_empty();
            assert!(differs, "{role} would do as {}", other.role);
        }
        let written = check.areas.iter().filter(|area| area.write).count();
        assert_eq!(check.left_behind.len(), written, "no role may delete");
        let refused = check.areas.iter().filter(|area| !area.write);
        for area in refused {
            assert!(area.refusals.iter().any(|it| it.why.contains("s3:PutObject")), "{area:?}");
        }
    }
}

#[test]
fn refused_request_names_missing_permission() {
    let Some(deployment) = deployment().unwrap() else { return };
    let at = time("2026-11-21T11:00:00Z");
    let mark = Watermark::new(at);
    let error = watermark::write(&deployment.store("trainer"), PIPELINE, &mark, None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    assert!(error.message.contains("`s3:PutObject`"), "{error}");
    assert!(error.message.contains("`state/cluster/watermark.safetensors`"), "{error}");
    let error = deployment.store("reader").delete("scores/x").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    assert!(error.message.contains("`s3:DeleteObject`"), "{error}");
    assert!(error.to_string().contains("minio/README.md"), "{error}");
}

#[test]
fn bucket_keeps_old_versions_until_lifecycle_removes_them() {
    let Some(deployment) = deployment().unwrap() else { return };
    let lifecycle: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder().join("lifecycle.json")).unwrap())
            .unwrap();
    let rules = lifecycle["Rules"].as_array().unwrap();
    deployment
        .minio
        .access()
        .with_client(async |client| {
            let versioning = client.get_bucket_versioning().bucket(BUCKET).send().await?;
            ensure!(versioning.status().is_some_and(|status| status.as_str() == "Enabled"));
            let applied = client.get_bucket_lifecycle_configuration().bucket(BUCKET).send().await?;
            ensure!(applied.rules().len() == rules.len());
            for rule in applied.rules() {
                let prefix = rule.filter().and_then(|filter| filter.prefix()).unwrap_or_default();
                let expected = rules.iter().find(|rule| rule["Filter"]["Prefix"] == prefix);
                let expected = expected.with_context(|| format!("a rule for `{prefix}`"))?;
                let days = rule.expiration().and_then(LifecycleExpiration::days);
                ensure!(days.map(i64::from) == expected["Expiration"]["Days"].as_i64());
                ensure!(days.is_none() || !prefix.starts_with("models"), "models never expire");
            }
            Ok(())
        })
        .unwrap();
}
