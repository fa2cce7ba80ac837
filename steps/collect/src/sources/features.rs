//! The source `features`: rows of a feature group of the catalogue, day by day.
//!
//! The join takes for each window the entity's last row in `(window end - ttl, window end]`, so
//! that no window has a value of a later time. `--pins` lists the parts to read; a part that does
//! not match its SHA-256 is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::catalog::{GroupVersion, Pin, Pins};
use contract::{Outcome, StepError};
use document::sources::Entity;
use document::sources::features::FeaturesSource;
use frames::FeatureTable;
use frames::samples::SampleRows;
use fs_err as fs;
use store::{Catalog, ObjectStore};

use crate::range::Due;
use crate::source::{Each, Opener, Opening, Source, Stop};

/// A feature group that is read.
struct Group<'a> {
    store: Box<dyn ObjectStore>,
    settings: &'a FeaturesSource,
    /// The source's name in the document.
    name: String,
    entity: &'a Entity,
    columns: Vec<String>,
    pins: Vec<Pin>,
    due: Due,
    is_scoring: bool,
    /// Folder for temporary files.
    work: PathBuf,
    has_rows: bool,
}

impl Opener for FeaturesSource {
    /// Opens a feature group.
    ///
    /// Errors: usage for a group, a version or a feature that does not exist, and for pins without
    /// the source.
    fn open<'a>(&'a self, opening: Opening<'a>) -> Result<Box<dyn Source + 'a>, StepError> {
        let settings = self;
        let url = opening.recorded.ok_or_else(|| {
            StepError::usage(format!(
                "`{}` is in a store, but no store was given",
                opening.field("")
            ))
            .hint("give the store of the feature catalogue with --recorded URL")
        })?;
        let store = store::open(url)?;
        let catalog = Catalog::new(store.as_ref());
        let version = catalog.version(&settings.group, settings.version)?;
        let columns = columns(settings, &version, &opening)?;
        let due = opening.due;
        let pins = match &opening.pins {
            Some(pins) => pins.sources.get(opening.name).cloned().ok_or_else(|| {
                StepError::usage(format!("the pins name no parts of the source `{}`", opening.name))
                    .hint("they belong to another document: remove --pins")
            })?,
            None => catalog.pins(&settings.group, settings.version, due.range())?,
        };
        check_pins(settings, &pins, &opening)?;
        Ok(Box::new(Group {
            settings,
            name: opening.name.to_owned(),
            entity: &opening.settings.entity,
            columns,
            pins,
            due,
            is_scoring: opening.is_scoring,
            work: opening.work.join(format!(".{}.parts", opening.name)),
            has_rows: false,
            store,
        }))
    }
}

/// Returns the features to take: those of the settings, or all.
fn columns(
    settings: &FeaturesSource,
    version: &GroupVersion,
    opening: &Opening<'_>,
) -> Result<Vec<String>, StepError> {
    let names = version.contract.names();
    let of_group = format!("feature group `{}` version {}", version.group, version.version);
    if settings.labels && !version.labelled {
        let field = opening.field("features.labels");
        return Err(StepError::usage(format!("`{field}`: {of_group} has no labels"))
            .hint("remove `labels`, or publish the group from a document with labels"));
    }
    let unknown = settings.columns.iter().find(|name| !names.contains(&name.as_str()));
    if let Some(name) = unknown {
        let field = opening.field("features.columns");
        return Err(StepError::usage(format!("`{field}`: {of_group} has no feature `{name}`"))
            .hint(format!("its features are {}", names.join(", "))));
    }
    Ok(match settings.columns.as_slice() {
        [] => names.into_iter().map(str::to_owned).collect(),
        columns => columns.to_vec(),
    })
}

/// Refuses pins of another group: those of a document that was changed since.
fn check_pins(
    settings: &FeaturesSource,
    pins: &[Pin],
    opening: &Opening<'_>,
) -> Result<(), StepError> {
    let is_other = |pin: &&Pin| pin.group != settings.group || pin.version != settings.version;
    match pins.iter().find(is_other) {
        None => Ok(()),
        Some(pin) => Err(StepError::usage(format!(
            "`{}` reads `{}` version {}, and the pins are of `{}` version {}",
            opening.field("features"),
            settings.group,
            settings.version,
            pin.group,
            pin.version
        ))
        .hint("they belong to another document: remove --pins")),
    }
}

impl Source for Group<'_> {
    fn columns(&self) -> Vec<String> {
        self.columns.clone()
    }

    fn is_labelled(&self) -> bool {
        self.settings.labels
    }

    fn rows(&mut self, each: &mut Each<'_>) -> Result<(), Stop> {
        self.has_rows = false;
        fs::create_dir_all(&self.work).map_err(|error| StepError::writing(&self.work, &error))?;
        let read = self.read(each);
        // The remaining temporary files are not needed.
        drop(fs::remove_dir_all(&self.work));
        Ok(read?)
    }

    fn finish(&mut self, outcome: &mut Outcome) -> Result<(), StepError> {
        let mut parts: BTreeMap<String, Vec<Pin>> = match outcome.details.remove(Pins::DETAIL) {
            Some(parts) => serde_json::from_value(parts).unwrap_or_default(),
            None => BTreeMap::new(),
        };
        parts.insert(self.name.clone(), self.pins.clone());
        outcome.detail(Pins::DETAIL, &parts)?;
        if self.has_rows || self.is_scoring {
            return Ok(());
        }
        let FeaturesSource { group, version, .. } = self.settings;
        let (after, end) = (self.due.after, self.due.end);
        Err(StepError::refused(format!(
            "feature group `{group}` version {version} of {} has no row from `{after}` to `{end}`",
            self.store.describe()
        ))
        .hint(format!("`lynceus features show {group}` lists its days")))
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        [("parts", self.pins.len())].into()
    }
}

impl Group<'_> {
    fn read(&mut self, each: &mut Each<'_>) -> Result<(), StepError> {
        let path = self.work.join("part.parquet");
        let mut has_rows = false;
        for pin in &self.pins {
            Catalog::new(self.store.as_ref()).fetch(pin, &path)?;
            self.read_part(&path, &mut |rows| {
                has_rows = true;
                each(rows)
            })?;
        }
        self.has_rows = has_rows;
        Ok(())
    }

    /// Passes on the due rows of a part.
    fn read_part(&self, path: &Path, each: &mut Each<'_>) -> Result<(), StepError> {
        let read = FeatureTable::read_parts(path, |part| {
            let table = &part.table;
            let due: Vec<usize> =
                (0..part.rows()).filter(|row| self.due.contains(table.times[*row])).collect();
            if due.is_empty() {
                return Ok(());
            }
            let mut columns = Vec::with_capacity(self.columns.len());
            for name in &self.columns {
                let column = table.column(name).ok_or_else(|| {
                    StepError::refused(format!("a part of `{}` lacks `{name}`", self.name))
                        .hint("publish the group again: `lynceus features publish`")
                })?;
                let value = |row: &usize| Some(column.values[*row]).filter(|it| !it.is_nan());
                columns.push(due.iter().map(value).collect());
            }
            let labels = part.labels.as_ref().filter(|_| self.settings.labels);
            each(SampleRows {
                times: due.iter().map(|row| table.times[*row]).collect(),
                entities: due
                    .iter()
                    .map(|row| self.entity.rename(table.entity_of(*row)).to_owned())
                    .collect(),
                labels: labels.map_or_else(Vec::new, |labels| {
                    due.iter().map(|row| labels.label[*row].clone()).collect()
                }),
                columns,
            })
        });
        read.map(drop)
    }
}
