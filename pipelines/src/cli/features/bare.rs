//! `lynceus features publish --table`: publishes the columns of a table as features, without a
//! pipeline.

use std::path::{Path, PathBuf};

use contract::catalog::Origin;
use contract::{Span, StepError, TimeRange, artifact};
use serde_json::json;
use store::Catalog;

use super::super::context::{Context, StorePlace, absolute};
use super::super::{past, predict, run};
use super::publish::{PublishArgs, Published, no_rows};

/// Name of the document that reads the table.
const NAME: &str = "table";

/// Flags that describe a table and its columns.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct BareTable {
    /// Publish the columns of this CSV or Parquet file, without a pipeline
    #[arg(long, value_name = "FILE", requires = "step", conflicts_with_all = ["pipeline", "run"])]
    table: Option<PathBuf>,
    /// Distance between the rows of an entity in the table; of several in one step the last counts
    #[arg(long, value_name = "DURATION", requires = "table")]
    step: Option<Span>,
    /// Column of the table with the time of each row
    #[arg(long, value_name = "COLUMN", default_value = "time", requires = "table")]
    time: String,
    /// Column of the table that names the entity; without one there is a single entity
    #[arg(long, value_name = "COLUMN", requires = "table")]
    entity: Option<String>,
    /// Column of the table with the label
    #[arg(long, value_name = "COLUMN", requires = "table")]
    label: Option<String>,
    /// Columns of the table to publish, in this order [default: every other column of numbers]
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', requires = "table")]
    columns: Vec<String>,
}

/// Publishes the rows of a table: into the latest version of the group, or into a first version.
///
/// Errors: usage (2) for a missing file; refused (3) for a file that is not a table, and for other
/// columns than those of the version, unless the flags start a new version.
pub(super) fn publish(
    place: &StorePlace,
    catalog: Catalog<'_>,
    args: &PublishArgs,
) -> Result<Published, StepError> {
    let context = args.table.context(place)?;
    // An unsuitable group is refused before the table is read.
    let latest = match catalog.versions(&args.group)?.last() {
        Some(version) if args.new_version.is_none() => {
            Some(catalog.version(&args.group, *version)?)
        }
        Some(_) | None => None,
    };
    let folder = place.root.join(format!(".features-{}", std::process::id()));
    fs_err::create_dir_all(&folder).map_err(|e| StepError::writing(&folder, &e))?;
    let published = publish_in(&context, &folder, |origin, features| {
        let work = folder.join("publish");
        let mut publishing = args.publishing(catalog, origin, &work);
        publishing.version = latest.as_ref();
        publishing.publish(features)
    });
    // The temporary files are no longer needed.
    drop(fs_err::remove_dir_all(&folder));
    published
}

fn publish_in(
    context: &Context,
    folder: &Path,
    publish: impl FnOnce(Origin, &Path) -> Result<Option<Published>, StepError>,
) -> Result<Published, StepError> {
    let document = &context.document;
    let path = document.sources.values().find_map(|source| source.table.as_ref());
    let path = path.map(|table| context.base.join(&table.path)).unwrap_or_default();
    let (first, last) = predict::times(document, &path)?;
    let step = document.step;
    let range = TimeRange { after: first.floor(step) - step, until: predict::ceiling(last, step) };
    let features = past::make(context, folder, range, false)?.features;
    let hash = artifact::sha256_path(&path)?;
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let origin = Origin {
        pipeline: NAME.to_owned(),
        run: format!("{file} {}", &hash[..12]),
        now: range.until,
        document_sha256: run::document_sha256(document, &context.base)?,
    };
    publish(origin, &features)?.ok_or_else(|| no_rows(&features))
}

impl BareTable {
    /// Returns a document that uses the columns of the table unchanged.
    fn context(&self, place: &StorePlace) -> Result<Context, StepError> {
        let (Some(table), Some(step)) = (&self.table, self.step) else {
            return Err(StepError::usage("neither a pipeline nor a table is named").hint(
                "write it as in lynceus features publish --table rows.csv --step 1m --group load",
            ));
        };
        if !table.is_file() {
            return Err(StepError::usage(format!("there is no table `{}`", table.display()))
                .hint("check the path, and the folder in which the command runs"));
        }
        let path = absolute(table)?;
        let table = json!({
            "path": path,
            "time": self.time,
            "entity": self.entity,
            "label": self.label,
            "columns": self.columns,
        });
        let text = json!({
            "format": 1,
            "name": NAME,
            "step": step,
            "range": step,
            "sources": {"rows": {"table": table}},
            "features": ["raw"],
            "models": {"z_score": {}},
        });
        // JSON is YAML.
        let document = document::parse("the table", &text.to_string())?;
        let base = path.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Context { document, base, store: place.clone(), has_open_shards: false })
    }
}
