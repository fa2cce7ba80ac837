//! The columns of a table or a query, and the statement that reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use contract::{StepError, Timestamp};
use document::shards::Selection;
use document::sources::Entity;
use document::sources::postgres::{PostgresSource, TimeUnit};
use postgres::{Access, Session, ToSql, Type, literal, quoted, quoted_table};

/// Columns of a reply before the samples: time, entity, label.
pub(super) const KEYS: usize = 3;
/// Reserved names of columns in tables.
const RESERVED: [&str; 6] = frames::FeatureTable::RESERVED;

/// How a source is read.
#[derive(Debug)]
pub(super) struct Query {
    /// The statement: rows after `$1` and until `$2`, in order of time.
    pub(super) sql: String,
    /// The statement for the first and the last time.
    pub(super) bounds: String,
    /// How the time is written in the database.
    pub(super) time: TimeColumn,
    /// The names of the samples.
    pub(super) samples: Vec<String>,
    /// Columns that are not samples, since they hold no numbers.
    pub(super) left_out: Vec<String>,
}

impl Query {
    /// Requests the columns from the server, and makes the statement.
    ///
    /// Errors: usage for columns that do not exist or have an unsuitable type.
    pub(super) fn find(
        field: &str,
        settings: &PostgresSource,
        entity: &Entity,
        selection: Option<&Selection>,
        session: &mut Session,
    ) -> Result<Self, StepError> {
        let from = match (&settings.table, &settings.query) {
            (Some(table), _) => quoted_table(table),
            // The line break ends a comment at the end of the query.
            (None, Some(query)) => format!("({query}\n) AS source"),
            (None, None) => return Err(StepError::bug(format!("`{field}` names no table"))),
        };
        let all = format!("SELECT * FROM {from}");
        let columns =
            session.transaction("looking at the columns", Access::Read, async |client| {
                let statement = client.prepare(&all).await?;
                let named = statement.columns().iter();
                Ok(named.map(|it| (it.name().to_owned(), base(it.type_()))).collect::<Vec<_>>())
            })?;
        let known = Known { field, columns };
        let time = TimeColumn::find(&known, settings)?;
        let keys = [&settings.entity, &settings.label].into_iter().flatten();
        for name in keys.chain(entity.texts.values()) {
            known.type_of(name)?;
        }
        let (samples, left_out) = known.samples(settings, entity)?;
        let text = |name: &Option<String>| {
            name.as_deref().map_or("''::text".to_owned(), |name| format!("{}::text", quoted(name)))
        };
        let mut selected = vec![time.selected(), text(&settings.entity), text(&settings.label)];
        for name in &samples {
            selected.push(match *known.type_of(name)? {
                Type::BOOL => format!("{}::int4::float8", quoted(name)),
                _ => format!("{}::float8", quoted(name)),
            });
        }
        selected.extend(entity.texts.values().map(|name| format!("{}::text", quoted(name))));
        let column = quoted(&settings.time);
        let of_shard = selection.map_or("true".to_owned(), condition);
        let (after, until) = (time.parameter(1), time.parameter(2));
        let sql = format!(
            "SELECT {} FROM {from} WHERE {column} > {after} AND {column} <= {until} AND {of_shard} ORDER BY {column} FETCH FIRST {} ROWS WITH TIES",
            selected.join(", "),
            settings.page_rows
        );
        let bounds = format!(
            "SELECT {} FROM (SELECT min({column}) AS first, max({column}) AS last FROM {from} WHERE {of_shard}) AS bounds",
            [time.selected_as("first"), time.selected_as("last")].join(", ")
        );
        Ok(Self { sql, bounds, time, samples, left_out })
    }
}

/// Returns the condition that a row is one of a shard.
fn condition(Selection { label, values }: &Selection) -> String {
    let values: Vec<String> = values.iter().map(|value| literal(value)).collect();
    format!("{}::text IN ({})", quoted(label), values.join(", "))
}

/// Returns the type below a domain.
fn base(of: &Type) -> Type {
    match of.kind() {
        postgres::Kind::Domain(inner) => base(inner),
        _ => of.clone(),
    }
}

struct Known<'a> {
    field: &'a str,
    columns: Vec<(String, Type)>,
}

impl Known<'_> {
    fn type_of(&self, name: &str) -> Result<&Type, StepError> {
        let found = self.columns.iter().find(|(column, _)| column == name);
        found.map(|(_, of)| of).ok_or_else(|| {
            let error = StepError::usage(format!("`{}` has no column `{name}`", self.field));
            let names = self.columns.iter().map(|(name, _)| name.as_str());
            match document::closest(name, names.clone()) {
                Some(meant) => error.hint(format!("did you mean `{meant}`?")),
                None => {
                    error.hint(format!("its columns: {}", names.collect::<Vec<_>>().join(", ")))
                }
            }
        })
    }

    /// Returns the samples, and the columns that hold no numbers.
    fn samples(
        &self,
        settings: &PostgresSource,
        entity: &Entity,
    ) -> Result<(Vec<String>, Vec<String>), StepError> {
        let keys = [Some(&settings.time), settings.entity.as_ref(), settings.label.as_ref()];
        let texts = entity.texts.values();
        let keys: Vec<&String> = keys.into_iter().flatten().chain(texts).collect();
        let is_key = |name: &String| keys.contains(&name);
        let (mut samples, mut left_out) = (Vec::new(), Vec::new());
        if settings.columns.is_empty() {
            for (name, of) in self.columns.iter().filter(|(name, _)| !is_key(name)) {
                let chosen = if is_number(of) { &mut samples } else { &mut left_out };
                chosen.push(name.clone());
            }
        }
        for name in &settings.columns {
            let of = self.type_of(name)?;
            if !is_number(of) {
                return Err(StepError::usage(format!(
                    "`{}`: column `{name}` is of type {of}, which is not a number",
                    self.field
                ))
                .hint("convert it to a number in `query`"));
            }
            samples.push(name.clone());
        }
        if samples.is_empty() {
            return Err(StepError::usage(format!("`{}` has no numeric column", self.field))
                .hint("select at least one column of a numeric type"));
        }
        let mut names = samples.iter().enumerate();
        let twice = names.clone().find(|(index, name)| samples[..*index].contains(name));
        if let Some((_, name)) = twice {
            return Err(StepError::usage(format!("`{}` has two columns `{name}`", self.field))
                .hint("give one of them another name in `query`"));
        }
        match names.find(|(_, name)| RESERVED.contains(&name.as_str())) {
            None => Ok((samples, left_out)),
            Some((_, name)) => Err(StepError::usage(format!(
                "`{}`: column `{name}` cannot be a sample: the name is reserved",
                self.field
            ))
            .hint("give it another name in `query`, or list the samples in `columns`")),
        }
    }
}

fn is_number(of: &Type) -> bool {
    [Type::BOOL, Type::INT2, Type::INT4, Type::INT8, Type::FLOAT4, Type::FLOAT8, Type::NUMERIC]
        .contains(of)
}

/// How the time is written in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimeColumn {
    /// Its name, quoted for a statement.
    column: String,
    unit: TimeUnit,
    kind: Written,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Written {
    /// A timestamp with time zone.
    Instant,
    /// A timestamp without time zone, or a date, in this zone (quoted for a statement).
    Local(String),
    /// A whole number.
    Number,
}

/// A time in the unit in which it is exchanged: microseconds for timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawTime {
    value: i64,
    unit: TimeUnit,
    is_number: bool,
}

/// The parameter of a statement.
#[derive(Debug)]
pub(super) enum Parameter {
    Time(SystemTime),
    Number(i64),
}

impl TimeColumn {
    fn find(known: &Known<'_>, settings: &PostgresSource) -> Result<Self, StepError> {
        let name = &settings.time;
        let column = quoted(name);
        let of = known.type_of(name)?;
        let wrong = |what: &str| {
            StepError::usage(format!("`{}`: {what}", known.field))
                .hint("set `time_unit` for whole numbers, or convert the column in `query`")
        };
        let kind = match *of {
            Type::TIMESTAMPTZ => Written::Instant,
            Type::TIMESTAMP | Type::DATE => {
                Written::Local(literal(settings.time_zone.as_deref().unwrap_or("UTC")))
            }
            Type::INT2 | Type::INT4 | Type::INT8 => Written::Number,
            _ => {
                let what = format!("column `{name}` is of type {of}, which is not a time");
                return Err(wrong(&what).hint(
                    "convert it to a number in `query`, as with \
                     to_timestamp",
                ));
            }
        };
        let unit = match (&kind, settings.time_unit) {
            (Written::Number, Some(unit)) => unit,
            (Written::Number, None) => {
                return Err(wrong(&format!("column `{name}` is a number without a unit"))
                    .hint("set `time_unit: seconds`, `milliseconds` or `microseconds`"));
            }
            (_, None) => TimeUnit::Microseconds,
            (_, Some(_)) => {
                return Err(wrong(&format!("`time_unit` is set, and column `{name}` is a {of}")));
            }
        };
        Ok(Self { column, unit, kind })
    }

    fn selected(&self) -> String {
        self.selected_as(&self.column)
    }

    fn selected_as(&self, column: &str) -> String {
        match &self.kind {
            Written::Instant => format!("(extract(epoch FROM {column}) * 1000000)::int8"),
            Written::Local(zone) => format!(
                "(extract(epoch FROM ({column}::timestamp AT TIME ZONE {zone})) * 1000000)::int8"
            ),
            Written::Number => format!("{column}::int8"),
        }
    }

    fn parameter(&self, number: u8) -> String {
        match &self.kind {
            Written::Instant | Written::Number => format!("${number}"),
            Written::Local(zone) => format!("(${number} AT TIME ZONE {zone})"),
        }
    }

    /// Returns a time in its exchange form, without fractions of a unit.
    pub(super) fn raw(&self, time: Timestamp) -> RawTime {
        self.with(match self.unit {
            TimeUnit::Seconds => time.ms().div_euclid(1000),
            TimeUnit::Milliseconds => time.ms(),
            TimeUnit::Microseconds => time.ms().saturating_mul(1000),
        })
    }

    /// Makes a time from a value of the database.
    pub(super) fn with(&self, value: i64) -> RawTime {
        RawTime { value, unit: self.unit, is_number: self.kind == Written::Number }
    }
}

impl RawTime {
    /// Returns the time in milliseconds, rounded up: a row belongs to the window that ends next.
    pub(super) fn time(self) -> Timestamp {
        Timestamp::from_ms(match self.unit {
            TimeUnit::Seconds => self.value.saturating_mul(1000),
            TimeUnit::Milliseconds => self.value,
            TimeUnit::Microseconds => {
                self.value.div_euclid(1000) + i64::from(self.value.rem_euclid(1000) > 0)
            }
        })
    }

    pub(super) fn parameter(self) -> Parameter {
        if self.is_number {
            return Parameter::Number(self.value);
        }
        let size = Duration::from_micros(self.value.unsigned_abs());
        let time = if self.value < 0 { UNIX_EPOCH - size } else { UNIX_EPOCH + size };
        Parameter::Time(time)
    }
}

impl Parameter {
    pub(super) fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Time(time) => (time, Type::TIMESTAMPTZ),
            Self::Number(number) => (number, Type::INT8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(raw: i64, unit: TimeUnit) -> i64 {
        RawTime { value: raw, unit, is_number: false }.time().ms()
    }

    #[test]
    fn a_part_of_a_millisecond_belongs_to_the_next_one() {
        assert_eq!(time(1_000, TimeUnit::Microseconds), 1);
        assert_eq!(time(1_001, TimeUnit::Microseconds), 2);
        assert_eq!(time(-1_001, TimeUnit::Microseconds), -1);
        assert_eq!(time(3, TimeUnit::Seconds), 3_000);
    }
}
