//! The table for loaded rows: one per pipeline, with a partition for each day (UTC) and a view for
//! each entity. The table and its columns are created when rows need them.

use std::collections::{BTreeMap, BTreeSet};

use contract::{Span, StepError, Timestamp};
use document::postgres::PostgresTable;
use tokio_postgres::Client;

use crate::failure::Failure;
use crate::rows::{Rows, column_name};
use crate::{literal, quoted};

const DAY: Span = Span::from_seconds(86_400);
/// Version of the layout, written into the comment of the table. A later layout gets another number
/// and a migration.
const LAYOUT: &str = "lynceus layout 1";
/// Columns of a row that are neither samples nor features.
const OWN: [&str; 7] = ["time", "entity", "score", "attack", "verdict", "label", "version"];
/// Types by column.
type Known = BTreeMap<String, String>;

/// Target of loaded rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The schema, which must exist.
    pub schema: String,
    /// The table.
    pub table: String,
    /// Whether each entity gets a view `<table>_<entity>` of its rows.
    pub views: bool,
    /// Days older than this, counted from the newest, are dropped; `None` keeps all.
    pub retention: Option<Span>,
}

/// Returns the column of a sample or a feature: its own name, or `<name>_feature` if that name is
/// reserved.
#[must_use]
pub fn value_column(name: &str) -> String {
    let is_taken = OWN.contains(&name);
    column_name(&if is_taken { format!("{name}_feature") } else { name.to_owned() })
}

impl Target {
    /// Returns the target of a document's settings, in the document of `pipeline`.
    #[must_use]
    pub fn of_table(settings: &PostgresTable<'_>, pipeline: &str) -> Self {
        Self {
            schema: settings.schema.to_owned(),
            table: settings.table.map_or_else(|| pipeline.replace('-', "_"), str::to_owned),
            views: settings.views,
            retention: settings.retention,
        }
    }

    /// Returns the table as it stands in a statement.
    pub(crate) fn name(&self) -> String {
        self.of(&self.table)
    }

    fn of(&self, table: &str) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(table))
    }

    fn partition(&self, day: Timestamp) -> String {
        column_name(&format!("{}_{}", self.table, day.date().replace('-', "")))
    }
}

/// State of a target in the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Types by column.
    columns: Known,
    /// Days that have a partition.
    days: BTreeSet<Timestamp>,
    /// Entities that have a view with all columns.
    views: BTreeSet<String>,
}

impl Layout {
    /// Returns whether rows fit without changes of the table.
    pub(crate) fn fits(&self, target: &Target, rows: &Rows) -> bool {
        let has_columns = rows
            .columns
            .iter()
            .all(|it| self.columns.get(&it.name).is_some_and(|of| *of == it.values.type_name()));
        let has_views =
            !target.views || rows.entities.iter().all(|entity| self.views.contains(entity));
        has_columns && has_views && days(rows).is_subset(&self.days)
    }

    /// Returns the last day that has a partition.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        self.days.last().copied()
    }

    /// Creates the objects that rows need in the database, one writer at a time, and drops old
    /// partitions.
    pub(crate) async fn extend(
        client: &Client,
        target: &Target,
        rows: &Rows,
    ) -> Result<Self, Failure> {
        let name = target.name();
        let lock = format!("SELECT pg_advisory_xact_lock(hashtextextended({}, 0))", literal(&name));
        client.batch_execute(&lock).await?;
        check_layout(client, target).await?;
        let mut statements = vec![
            format!(
                "CREATE TABLE IF NOT EXISTS {name} (time timestamptz NOT NULL, entity text NOT NULL, PRIMARY KEY (entity, time)) PARTITION BY RANGE (time)"
            ),
            format!("COMMENT ON TABLE {name} IS '{LAYOUT}'"),
        ];
        // Creating a table that exists needs permissions on the schema, which a later run may lack.
        let known = columns(client, target).await?;
        if !known.is_empty() {
            statements.clear();
        }
        let added = added(target, &known, rows)?;
        statements.extend(
            added
                .iter()
                .map(|(it, of)| format!("ALTER TABLE {name} ADD COLUMN {} {of}", quoted(it))),
        );
        let (mut days, too_old) = partitions(client, target, rows).await?;
        for day in &days.missing {
            statements.push(format!(
                "CREATE TABLE {} PARTITION OF {name} FOR VALUES FROM ('{} 00:00:00+00') TO ('{} 00:00:00+00')",
                target.of(&target.partition(*day)),
                day.date(),
                (*day + DAY).date()
            ));
        }
        statements.extend(too_old.iter().map(|table| format!("DROP TABLE {}", target.of(table))));
        client.batch_execute(&statements.join(";")).await?;
        days.there.append(&mut days.missing);
        let mut columns = known;
        columns.extend(added);
        let views = if target.views {
            views(client, target, &columns, rows).await?
        } else {
            BTreeSet::new()
        };
        Ok(Self { columns, days: days.there, views })
    }
}

/// Returns the days of rows.
fn days(rows: &Rows) -> BTreeSet<Timestamp> {
    rows.times.iter().map(|time| time.floor(DAY)).collect()
}

/// Returns the rows that are not too old to be kept; `newest` is the last day in the database.
pub(crate) fn kept(target: &Target, rows: &Rows, newest: Option<Timestamp>) -> Vec<usize> {
    let last = newest.into_iter().chain(days(rows)).max();
    let oldest = last.zip(target.retention).map(|(last, keep)| (last - keep).floor(DAY));
    let is_kept = |row: &usize| oldest.is_none_or(|oldest| rows.times[*row] >= oldest);
    (0..rows.len()).filter(is_kept).collect()
}

/// Refuses a table that has another layout or that another program made.
async fn check_layout(client: &Client, target: &Target) -> Result<(), Failure> {
    let name = target.name();
    let sql = format!(
        "SELECT c.relkind::text, obj_description(c.oid, 'pg_class') FROM pg_class c WHERE c.oid = to_regclass({})",
        literal(&name)
    );
    let Some(row) = client.query_typed_opt(&sql, &[]).await? else { return Ok(()) };
    let (kind, comment): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    if kind == "p" && comment.as_deref() == Some(LAYOUT) {
        return Ok(());
    }
    let shown = comment.filter(|comment| comment.starts_with("lynceus layout"));
    Err(Failure::Step(match shown {
        Some(layout) => StepError::usage(format!(
            "the table {name} has `{layout}`, and this version writes `{LAYOUT}`"
        ))
        .hint("use the version of Lynceus that created it, or set another table"),
        None => StepError::usage(format!("the table {name} was not created by Lynceus"))
            .hint("set another table, to which no other program writes"),
    }))
}

/// Returns the columns beside time and entity, with their types; nothing where there is no table.
async fn columns(client: &Client, target: &Target) -> Result<Known, Failure> {
    let sql = format!(
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass({}) AND attnum > 0 AND NOT attisdropped",
        literal(&target.name())
    );
    let rows = client.query_typed(&sql, &[]).await?;
    let pairs = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    pairs.collect::<Result<Known, Failure>>()
}

/// Returns the columns of the rows that the table does not have.
fn added(target: &Target, known: &Known, rows: &Rows) -> Result<Vec<(String, String)>, StepError> {
    let mut added = Vec::new();
    for column in &rows.columns {
        let wanted = column.values.type_name();
        match known.get(&column.name) {
            None => added.push((column.name.clone(), wanted.to_owned())),
            Some(of) if of == wanted => {}
            Some(of) => {
                let (name, column) = (target.name(), &column.name);
                return Err(StepError::usage(format!(
                    "column `{column}` of {name} is of type {of}, but the new values are {wanted}"
                ))
                .hint("rename the column in the database: then a new column is created"));
            }
        }
    }
    Ok(added)
}

struct Days {
    there: BTreeSet<Timestamp>,
    missing: BTreeSet<Timestamp>,
}

/// Returns the days with a partition, those that rows need one for, and the partitions to drop.
async fn partitions(
    client: &Client,
    target: &Target,
    rows: &Rows,
) -> Result<(Days, Vec<String>), Failure> {
    let sql = format!(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass({})",
        literal(&target.name())
    );
    let mut there = BTreeMap::new();
    for row in client.query_typed(&sql, &[]).await? {
        let table: String = row.try_get(0)?;
        // A partition of another owner is not dropped.
        if let Some(day) = day_of(&table).filter(|day| target.partition(*day) == table) {
            there.insert(day, table);
        }
    }
    let needed = days(rows);
    let newest = there.keys().chain(&needed).max().copied();
    let oldest = newest.zip(target.retention).map(|(newest, keep)| (newest - keep).floor(DAY));
    let is_old = |day: &Timestamp| oldest.is_some_and(|oldest| *day < oldest);
    let missing = needed.into_iter().filter(|day| !there.contains_key(day) && !is_old(day));
    let missing = missing.collect();
    let (old, kept): (Vec<_>, Vec<_>) = there.into_iter().partition(|(day, _)| is_old(day));
    let days = Days { there: kept.into_iter().map(|(day, _)| day).collect(), missing };
    Ok((days, old.into_iter().map(|(_, table)| table).collect()))
}

/// Returns the day at the end of a partition's name.
fn day_of(table: &str) -> Option<Timestamp> {
    let (_, day) = table.rsplit_once('_')?;
    let is_day = day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit());
    let day = is_day.then(|| format!("{}-{}-{}T00:00:00Z", &day[..4], &day[4..6], &day[6..]));
    day?.parse().ok()
}

/// Creates the views of the rows' entities, and replaces all views if they lack a column.
async fn views(
    client: &Client,
    target: &Target,
    columns: &Known,
    rows: &Rows,
) -> Result<BTreeSet<String>, Failure> {
    let prefix = "rows of lynceus entity ";
    let sql = format!(
        "SELECT obj_description(c.oid, 'pg_class'), (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'v' AND n.nspname = {} AND obj_description(c.oid, 'pg_class') LIKE {}",
        literal(&target.schema),
        literal(&format!("{prefix}{}/%", target.table))
    );
    let prefix = format!("{prefix}{}/", target.table);
    let all =
        i64::try_from(columns.keys().filter(|it| !is_key(it)).count() + 2).unwrap_or(i64::MAX);
    let mut there = BTreeMap::new();
    for row in client.query_typed(&sql, &[]).await? {
        let (comment, count): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        if let Some(entity) = comment.strip_prefix(&prefix) {
            there.insert(entity.to_owned(), count == all);
        }
    }
    let entities: BTreeSet<&String> = rows.entities.iter().chain(there.keys()).collect();
    let mut statements = Vec::new();
    for entity in entities.iter().filter(|entity| there.get(**entity) != Some(&true)) {
        let view = target.of(&column_name(&format!("{}_{entity}", target.table)));
        statements.push(format!(
            "CREATE OR REPLACE VIEW {view} AS SELECT * FROM {} WHERE entity = {}",
            target.name(),
            literal(entity)
        ));
        let comment = literal(&format!("{prefix}{entity}"));
        statements.push(format!("COMMENT ON VIEW {view} IS {comment}"));
    }
    let views = entities.into_iter().cloned().collect();
    client.batch_execute(&statements.join(";")).await?;
    Ok(views)
}

fn is_key(column: &str) -> bool {
    ["time", "entity"].contains(&column)
}

/// Makes the statement that takes rows from a stage.
pub(crate) fn merge(target: &Target, stage: &str, rows: &Rows) -> String {
    let name = target.name();
    let columns: Vec<String> = rows.columns.iter().map(|column| quoted(&column.name)).collect();
    let listed = listed(rows);
    let insert = format!(
        "INSERT INTO {name} AS old ({listed}) SELECT {listed} FROM {stage} ON CONFLICT (entity, time)"
    );
    if columns.is_empty() {
        return format!("{insert} DO NOTHING");
    }
    // A missing value, such as a feature of an earlier run, does not overwrite a value.
    let value = |column: &String| format!("COALESCE(excluded.{column}, old.{column})");
    let set: Vec<String> = columns.iter().map(|it| format!("{it} = {}", value(it))).collect();
    let changes: Vec<String> =
        columns.iter().map(|it| format!("old.{it} IS DISTINCT FROM {}", value(it))).collect();
    format!("{insert} DO UPDATE SET {} WHERE {}", set.join(", "), changes.join(" OR "))
}

/// Makes the statement that loads rows into a table.
pub(crate) fn copy(into: &str, rows: &Rows) -> String {
    format!("COPY {into} ({}) FROM STDIN (FORMAT binary)", listed(rows))
}

/// Returns all columns, in the order in which rows are sent.
fn listed(rows: &Rows) -> String {
    let keys = ["time", "entity"].map(str::to_owned).into_iter();
    let others = rows.columns.iter().map(|column| quoted(&column.name));
    keys.chain(others).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_of_a_value_is_never_one_of_the_rows_own() {
        assert_eq!(value_column("load_1m"), "load_1m");
        assert_eq!(value_column("score"), "score_feature");
    }

    #[test]
    fn the_day_of_a_partition_is_the_end_of_its_name() {
        let target = Target {
            schema: "s".to_owned(),
            table: "node".to_owned(),
            views: false,
            retention: None,
        };
        let day: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        assert_eq!(target.partition(day), "node_20261121");
        assert_eq!(day_of("node_20261121"), Some(day));
        assert_eq!((day_of("node"), day_of("node_2026112x")), (None, None));
    }
}
