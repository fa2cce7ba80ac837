//! `lynceus features publish`: publishes the feature rows of a run, or of a table, as daily parts
//! of a group.

use std::collections::BTreeSet;
use std::path::Path;

use contract::catalog::{GroupVersion, Origin};
use contract::{Span, StepError, Timestamp, artifact};
use frames::FeatureTable;
use fs_err as fs;
use serde::Serialize;
use store::Catalog;
use store::catalog::Rows;

use super::super::context::StorePlace;
use super::super::{Global, OutputFormat, print, print_json, runs, say};
use super::bare::{self, BareTable};
use super::parts::{day, part, statistics};
use crate::run::{RunRecord, table};

pub(super) const DAY: Span = Span::from_seconds(86_400);

/// Flags of `lynceus features publish`.
#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// Name of the pipeline
    #[arg(value_name = "PIPELINE", required_unless_present = "table")]
    pipeline: Option<String>,
    #[command(flatten)]
    pub(super) table: BareTable,
    /// Publish into this group: lower-case letters, digits and `_`
    #[arg(long, value_name = "GROUP")]
    pub(super) group: String,
    /// Name of the run, its beginning, `previous`, or `last`
    #[arg(long, value_name = "RUN", default_value = "last")]
    run: String,
    /// Also publish days that the rows cover partly; a published day is final
    #[arg(long)]
    partial: bool,
    /// Start a new version although the latest one has the same features
    #[arg(long, value_name = "WHY")]
    pub(super) new_version: Option<String>,
    #[command(flatten)]
    about: About,
}

impl PublishArgs {
    /// Returns the publication that the flags describe; `work` is a folder for temporary files.
    pub(super) fn publishing<'a>(
        &'a self,
        catalog: Catalog<'a>,
        origin: Origin,
        work: &'a Path,
    ) -> Publishing<'a> {
        Publishing {
            catalog,
            group: &self.group,
            origin,
            about: self.about.clone(),
            new_version: self.new_version.as_deref(),
            partial: self.partial,
            only: None,
            version: None,
            work,
        }
    }
}

/// Description of the group in a new version.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct About {
    /// Purpose of a new version [default: that of the previous version]
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// Contact for a new version [default: that of the previous version]
    #[arg(long, value_name = "NAME", default_value = "")]
    owner: String,
    /// Give a new version a tag; may be repeated [default: those of the previous version]
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
}

/// Settings of a publication.
pub(super) struct Publishing<'a> {
    pub(super) catalog: Catalog<'a>,
    pub(super) group: &'a str,
    pub(super) origin: Origin,
    pub(super) about: About,
    /// Why a new version is started although the latest one has the same features.
    pub(super) new_version: Option<&'a str>,
    pub(super) partial: bool,
    /// The days to publish; `None` for all.
    pub(super) only: Option<BTreeSet<String>>,
    /// Publish only into this version.
    pub(super) version: Option<&'a GroupVersion>,
    /// Folder for temporary files.
    pub(super) work: &'a Path,
}

/// Result for a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Its rows were published now.
    Published,
    /// The store already has the same rows.
    Same,
    /// The store has other rows, which are kept.
    Other,
    /// The run's rows do not cover the whole day, so they were not published.
    Partial,
    /// The source has no rows for the day.
    Empty,
    /// The day is missing, and was only listed.
    Missing,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Same => "same",
            Self::Other => "other rows stay",
            Self::Partial => "partial",
            Self::Empty => "no rows",
            Self::Missing => "missing",
        }
    }
}

/// A day and its result.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Day {
    pub(super) date: String,
    pub(super) state: State,
    pub(super) rows: usize,
}

/// Result of a publication.
#[derive(Debug, Serialize)]
pub(super) struct Published {
    pub(super) group: String,
    pub(super) version: u32,
    /// Why the version was started, if it was started now.
    pub(super) begun: Option<String>,
    pub(super) days: Vec<Day>,
}

impl Published {
    pub(super) fn print(&self, global: &Global) -> Result<(), StepError> {
        if global.output() == OutputFormat::Json {
            return print_json(self);
        }
        let mut rows = vec![["date", "state", "rows"].map(str::to_owned).to_vec()];
        rows.extend(
            self.days.iter().map(|day| {
                vec![day.date.clone(), day.state.name().to_owned(), day.rows.to_string()]
            }),
        );
        let begun = self.begun.as_ref().map(|why| format!(", begun now: {why}"));
        let begun = begun.unwrap_or_default();
        print(&format!("group   {} version {}{begun}\n{}", self.group, self.version, table(&rows)))
    }
}

pub(super) fn execute(
    global: &Global,
    place: &StorePlace,
    catalog: Catalog<'_>,
    args: &PublishArgs,
) -> Result<(), StepError> {
    let published = match &args.pipeline {
        Some(pipeline) => of_run(place, catalog, args, pipeline)?,
        None => bare::publish(place, catalog, args)?,
    };
    published.print(global)?;
    let count = |state| published.days.iter().filter(|day| day.state == state).count();
    if count(State::Other) > 0 {
        say(&format!(
            "{} days were published before with other rows, which stay; --new-version WHY begins a version with these",
            count(State::Other)
        ));
    }
    Ok(())
}

/// Publishes the feature rows of a run.
fn of_run(
    place: &StorePlace,
    catalog: Catalog<'_>,
    args: &PublishArgs,
    pipeline: &str,
) -> Result<Published, StepError> {
    let (folder, record) = runs::find(place, pipeline, &args.run)?;
    place.bring_run(&folder)?;
    let work = folder.join(".publish");
    runs::with_features(&folder, |features| {
        let published = args.publishing(catalog, origin(&record), &work).publish(features)?;
        published.ok_or_else(|| no_rows(features))
    })
}

/// Makes the error for a feature table without a row to publish.
pub(super) fn no_rows(features: &Path) -> StepError {
    StepError::refused(format!("`{}` has no row with a complete lookback", features.display()))
        .hint("use a longer `range`")
}

fn origin(record: &RunRecord) -> Origin {
    Origin {
        pipeline: record.pipeline.clone(),
        run: record.run.clone(),
        now: record.now,
        document_sha256: record.document_sha256.clone(),
    }
}

/// Time range of the rows that may be published.
#[derive(Debug, Clone, Copy)]
struct Covered {
    first: Timestamp,
    last: Timestamp,
    step: Span,
}

impl Covered {
    /// Returns whether the range contains the whole day, from its first step to its last.
    fn is_whole(self, day: Timestamp) -> bool {
        self.first < day + self.step && self.last + self.step >= day + DAY
    }
}

impl Publishing<'_> {
    /// Publishes the rows of a feature table, day by day; rows whose lookback begins before the
    /// samples are left out. Returns `None` if no row is left.
    ///
    /// Errors: refused for other features than those of `version`, or a run that covers no day.
    pub(super) fn publish(&self, features: &Path) -> Result<Option<Published>, StepError> {
        fs::create_dir_all(self.work).map_err(|e| StepError::writing(self.work, &e))?;
        let published = self.publish_days(features);
        // The temporary files are no longer needed.
        drop(fs::remove_dir_all(self.work));
        published
    }

    fn publish_days(&self, features: &Path) -> Result<Option<Published>, StepError> {
        let keys = FeatureTable::read_keys(features)?;
        let ready = || (0..keys.rows()).filter(|row| !keys.warm_up[*row]);
        let times = || ready().map(|row| keys.table.times[row]);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(None) };
        let covered = Covered { first, last, step: keys.contract.step };
        // No version is started if there is no day to publish.
        let is_due = |time: Timestamp| self.partial || covered.is_whole(time.floor(DAY));
        if self.version.is_none() && !times().any(is_due) {
            return Err(StepError::refused("the rows cover no day whole")
                .hint("use a longer `range`, or publish incomplete days with --partial"));
        }
        let (version, begun) = self.version(&keys)?;
        let mut days = Vec::new();
        let mut open: Option<FeatureTable> = None;
        FeatureTable::read_parts(features, |part| {
            let ready = (0..part.rows()).filter(|row| !part.warm_up[*row]).collect::<Vec<_>>();
            let day_of = |row: &usize| part.table.times[*row].floor(DAY);
            for rows in ready.chunk_by(|a, b| day_of(a) == day_of(b)) {
                let more = part.select(rows);
                let is_same = open.as_ref().is_some_and(|open| day(open) == day(&more));
                if let Some(open) = open.as_mut().filter(|_| is_same) {
                    open.extend(more);
                } else if let Some(done) = open.replace(more) {
                    days.push(self.day(&version, covered, &done)?);
                }
            }
            Ok(())
        })?;
        days.extend(open.map(|it| self.day(&version, covered, &it)).transpose()?);
        days.retain(|day| self.only.as_ref().is_none_or(|only| only.contains(&day.date)));
        Ok(Some(Published { group: version.group, version: version.version, begun, days }))
    }

    /// Returns the version to which the rows belong, and why it was started if it was started now.
    fn version(&self, table: &FeatureTable) -> Result<(GroupVersion, Option<String>), StepError> {
        let (contract, labelled) = (&table.contract, table.labels.is_some());
        if let Some(version) = self.version {
            let difference = version.contract.first_difference(contract).or_else(|| {
                (version.labelled != labelled).then(|| "only one version has labels".to_owned())
            });
            return match difference {
                None => Ok((version.clone(), None)),
                Some(difference) => Err(StepError::refused(format!(
                    "the rows have other features than `{}` version {}: {difference}",
                    version.group, version.version
                ))
                .hint(
                    "`lynceus features publish --new-version WHY` starts a new version with them",
                )),
            };
        }
        loop {
            let (same, latest) = self.catalog.with_contract(self.group, contract, labelled)?;
            if let Some(same) = same.filter(|_| self.new_version.is_none()) {
                return Ok((same, None));
            }
            let version = self.begin(table, latest.as_ref())?;
            // If another process was faster, its version may have the same features.
            if self.catalog.create(&version)? {
                let why = version.why.clone();
                return Ok((version, Some(why)));
            }
        }
    }

    fn begin(
        &self,
        table: &FeatureTable,
        latest: Option<&GroupVersion>,
    ) -> Result<GroupVersion, StepError> {
        let (contract, about) = (table.contract.clone(), self.about.clone());
        let why = match (self.new_version, latest) {
            (Some(why), _) => why.to_owned(),
            (None, None) => "the first version".to_owned(),
            (None, Some(latest)) => latest
                .contract
                .first_difference(&contract)
                .unwrap_or_else(|| "only one version has labels".to_owned()),
        };
        let or = |said: String, before: Option<&String>| {
            if said.is_empty() { before.cloned().unwrap_or_default() } else { said }
        };
        let before = latest;
        Ok(GroupVersion {
            format: GroupVersion::FORMAT,
            group: self.group.to_owned(),
            version: before.map_or(1, |latest| latest.version.saturating_add(1)),
            contract_sha256: contract.sha256()?,
            contract,
            labelled: table.labels.is_some(),
            description: or(about.description, before.map(|it| &it.description)),
            owner: or(about.owner, before.map(|it| &it.owner)),
            tags: match latest {
                Some(latest) if about.tag.is_empty() => latest.tags.clone(),
                _ => about.tag,
            },
            why,
            origin: self.origin.clone(),
        })
    }

    /// Publishes the rows of a day.
    fn day(
        &self,
        version: &GroupVersion,
        covered: Covered,
        rows: &FeatureTable,
    ) -> Result<Day, StepError> {
        let day = day(rows);
        let date = day.date();
        let of = |state| Ok(Day { date: date.clone(), state, rows: rows.rows() });
        let is_whole = covered.is_whole(day);
        let is_wanted = self.only.as_ref().is_none_or(|only| only.contains(&date));
        if !is_wanted || !(is_whole || self.partial) {
            return of(State::Partial);
        }
        let path = self.work.join("part.parquet");
        rows.write(&path)?;
        let bytes = fs::read(&path).map_err(|e| StepError::reading(&path, &e))?;
        let (group, version) = (version.group.as_str(), version.version);
        let there = self.catalog.part(group, version, &date)?;
        if let Some(there) = there {
            let is_same = there.sha256 == artifact::sha256(&bytes);
            return of(if is_same { State::Same } else { State::Other });
        }
        match self.catalog.put_rows(group, version, &date, &bytes)? {
            Rows::There => {
                let origin = Some(self.origin.clone());
                let part = part(rows, &date, &bytes, is_whole, origin)?;
                self.catalog.put_part(group, version, &part, &statistics(rows))?;
                of(State::Published)
            }
            // An earlier publication was killed after it wrote its rows. They are the day's rows.
            Rows::Other(bytes) => {
                fs::write(&path, &bytes).map_err(|e| StepError::writing(&path, &e))?;
                let rows = FeatureTable::read(&path)?;
                let part = part(&rows, &date, &bytes, false, None)?;
                self.catalog.put_part(group, version, &part, &statistics(&rows))?;
                of(State::Other)
            }
        }
    }
}
