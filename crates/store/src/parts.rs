//! The version of a pipeline with shards: one manifest with the SHA-256 of the manifest of each
//! part.

use contract::artifact::sha256;
use contract::bundle::{BundleManifest, FileRecord, Provenance};
use contract::deployment::Figures;
use contract::{Division, Shard, StepError};

use crate::registry::{BundleFiles, Registry};

impl Registry<'_> {
    /// Fetches all files of each part of a version, in the order of its shards; for a version
    /// without shards, the files of the version itself. Works like [`Registry::fetch`], with the
    /// same errors.
    pub fn fetch_parts(
        &self,
        version: &str,
    ) -> Result<Vec<(Option<Shard>, BundleFiles)>, StepError> {
        let shards = match self.manifest(version)?.parts.len() {
            0 => vec![None],
            parts => {
                Shard::all(u32::try_from(parts).unwrap_or(u32::MAX)).into_iter().map(Some).collect()
            }
        };
        let fetch = |shard| Ok((shard, self.of_shard(shard).fetch(version, None)?));
        shards.into_iter().map(fetch).collect()
    }
}

/// The rule that must assign entities to the parts of a version.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected<'a> {
    ByName,
    ByLabel(&'a Division),
}

impl<'a> Expected<'a> {
    pub(crate) fn division(self) -> Option<&'a Division> {
        match self {
            Self::ByName => None,
            Self::ByLabel(division) => Some(division),
        }
    }
}

/// Makes the manifest of a version from its parts and their bytes, in the order of the shards. The
/// value of a label, or without a label the name, assigns an entity to a part.
///
/// Errors: refused if there are no parts or too many.
pub(crate) fn whole(
    parts: &[(BundleManifest, Vec<u8>)],
    metrics: Figures,
    division: Option<&Division>,
) -> Result<BundleManifest, StepError> {
    let shards = Shard::all(u32::try_from(parts.len()).unwrap_or(u32::MAX));
    let Some((first, _)) = parts.first().filter(|_| shards.len() == parts.len()) else {
        return Err(StepError::refused(format!(
            "{} shards are not a complete version",
            parts.len()
        ))
        .hint("give the bundle of each shard once"));
    };
    let record = |((_, bytes), shard): (&(BundleManifest, Vec<u8>), &Shard)| FileRecord {
        file: format!("{}/{}", shard.part(), BundleManifest::FILE),
        sha256: sha256(bytes),
    };
    let records: Vec<FileRecord> = parts.iter().zip(&shards).map(record).collect();
    let made: Vec<&Provenance> = parts.iter().map(|(part, _)| &part.provenance).collect();
    let datasets: Vec<&str> = made.iter().map(|it| it.dataset_sha256.as_str()).collect();
    let provenance = Provenance {
        version: first.provenance.version.clone(),
        dataset_sha256: sha256(datasets.join("\n").as_bytes()),
        train_start: made
            .iter()
            .map(|it| it.train_start)
            .min()
            .unwrap_or(first.provenance.train_start),
        train_end: made.iter().map(|it| it.train_end).max().unwrap_or(first.provenance.train_end),
        train_rows: made.iter().map(|it| it.train_rows).sum(),
    };
    Ok(BundleManifest {
        parts: records,
        division: division.cloned(),
        metrics,
        provenance,
        memory: None,
        memory_before_test: None,
        ..first.clone()
    })
}

/// Returns the part of a version that belongs to a shard; `None` if neither has shards.
///
/// Errors: refused for a version with another number of shards.
pub(crate) fn of_shard<'a>(
    manifest: &'a BundleManifest,
    shard: Option<Shard>,
    pipeline: &str,
    version: &str,
) -> Result<Option<&'a FileRecord>, StepError> {
    let found = manifest.parts.len();
    let wanted = shard.map_or(0, |shard| shard.count() as usize);
    if found == wanted {
        let part = shard.and_then(|shard| manifest.parts.get(shard.index() as usize));
        return Ok(part);
    }
    let words = |count: usize| match count {
        0 => "without shards".to_owned(),
        count => format!("with {count} shards"),
    };
    let error = StepError::refused(format!(
        "version `{version}` of `{pipeline}` was trained {}, and is to be used {}",
        words(found),
        words(wanted)
    ));
    Err(match shard {
        Some(_) => error.hint(format!(
            "`shards.count` has changed: lynceus run {pipeline} trains a version for it"
        )),
        None => error.hint(
            "a version with shards is used by `lynceus score` and `watch`; for one shard: `--shard K/N`",
        ),
    })
}

/// Refuses a version that assigns entities to its parts in another way than the document.
pub(crate) fn check_division(
    manifest: &BundleManifest,
    division: Option<&Division>,
    pipeline: &str,
    version: &str,
) -> Result<(), StepError> {
    if manifest.division.as_ref() == division {
        return Ok(());
    }
    let words = |division: Option<&Division>| match division {
        Some(Division { label, values }) if values.is_empty() => format!("by the label `{label}`"),
        Some(Division { label, values }) => {
            format!("by the label `{label}` with the values {}", values.join(", "))
        }
        None => "by hash".to_owned(),
    };
    Err(StepError::refused(format!(
        "version `{version}` of `{pipeline}` was trained with shards {}, and is to be used {}",
        words(manifest.division.as_ref()),
        words(division)
    ))
    .hint(format!("`shards` has changed: lynceus run {pipeline} trains a version for it")))
}
