//! Converts raw rows to values of windows: the last value, or a rate; summed over an entity's
//! parts.

use std::collections::BTreeMap;

use contract::{Span, Timestamp};
use document::sources::influxdb::InfluxdbColumn;
use frames::columns::matches;

use super::question::CONTAINER_NAME;
use super::reply::{Cell, Series};
use crate::range::Grid;
use crate::sources::prometheus::reply::Point;

/// Rows that were changed or left out, by measurement and reason.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Odd(BTreeMap<String, usize>);

impl Odd {
    fn count(&mut self, what: &str, rows: usize) {
        if rows > 0 {
            *self.0.entry(what.to_owned()).or_default() += rows;
        }
    }

    /// Adds the counts of a chunk of a measurement.
    pub(super) fn add(&mut self, measurement: &str, other: &Self) {
        for (what, rows) in &other.0 {
            self.count(&format!("`{measurement}`: {what}"), *rows);
        }
    }

    /// Returns a sentence for each kind.
    pub(super) fn notes(&self) -> Vec<String> {
        self.0.iter().map(|(what, rows)| format!("{what} ({rows} times)")).collect()
    }
}

/// The rows of a measurement as values of windows.
#[derive(Debug)]
pub(super) struct Windows<'a> {
    grid: Grid,
    /// Number of windows of a rate.
    rate: usize,
    /// Number of lookback windows before the grid.
    back: usize,
    columns: Vec<&'a InfluxdbColumn>,
    entity_tags: &'a [String],
    /// Tag whose value is the label of an entity's rows.
    label_tag: Option<&'a str>,
    /// By entity.
    pub(super) labels: BTreeMap<String, String>,
    parts: BTreeMap<PartKey, Part>,
    pub(super) rows: usize,
    pub(super) odd: Odd,
}

/// Identifies a part of an entity.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PartKey {
    /// Number of the column.
    column: usize,
    entity: String,
    /// Values of the tags that distinguish the parts.
    tags: Vec<String>,
}

/// A part of an entity.
#[derive(Debug)]
struct Part {
    /// Time and value of the previous row.
    last: Option<(i64, f64)>,
    /// Increase of a counter since its first row.
    total: f64,
    windows: Vec<Option<Window>>,
}

/// First and last row of a window: time, and value or growth so far.
#[derive(Debug, Clone, Copy)]
struct Window {
    first: (i64, f64),
    last: (i64, f64),
}

impl<'a> Windows<'a> {
    /// Makes empty windows.
    pub(super) fn new(
        grid: Grid,
        rate_window: Span,
        columns: Vec<&'a InfluxdbColumn>,
        entity_tags: &'a [String],
    ) -> Self {
        let step = grid.step.ms().max(1);
        let rate = usize::try_from((rate_window.ms() + step - 1) / step).unwrap_or(1).max(1);
        let is_counter = columns.iter().any(|column| column.counter);
        let back = if is_counter { 2 * rate - 1 } else { 0 };
        let (labels, parts, odd) = (BTreeMap::new(), BTreeMap::new(), Odd::default());
        let label_tag = None;
        Self { grid, rate, back, columns, entity_tags, label_tag, labels, parts, rows: 0, odd }
    }

    /// Sets the tag that has the labels of entities.
    pub(super) fn with_label(mut self, tag: Option<&'a str>) -> Self {
        self.label_tag = tag;
        self
    }

    /// Returns the time after which rows are needed.
    pub(super) fn begin(&self) -> Timestamp {
        let windows = i64::try_from(self.back + 1).unwrap_or(i64::MAX);
        self.grid.first - Span::from_ms(self.grid.step.ms().saturating_mul(windows))
    }

    /// Adds rows of a series, in order of time.
    pub(super) fn add(&mut self, mut series: Series) {
        self.rows += series.values.len();
        name_pod(&mut series);
        let tag = |name: &String| series.tags.get(name).map(String::as_str).unwrap_or_default();
        let names: Vec<&str> = self.entity_tags.iter().map(tag).collect();
        if names.iter().any(|name| name.is_empty()) {
            let tags = self.entity_tags.join("`, `");
            let what = format!("rows without a value of the tags `{tags}`, which name the entity");
            self.odd.count(&what, series.values.len());
            return;
        }
        let entity = names.join("/");
        let label = self.label_tag.and_then(|name| series.tags.get(name));
        if let Some(label) = label.filter(|label| !label.is_empty()) {
            self.labels.entry(entity.clone()).or_insert_with(|| label.clone());
        }
        for index in 0..self.columns.len() {
            let column = self.columns[index];
            let is_meant = column.tags.iter().all(|(name, patterns)| matches(patterns, tag(name)));
            let at = series.columns.iter().position(|name| *name == column.field);
            if let (true, Some(at)) = (is_meant, at) {
                let part = column.parts.iter().map(|name| tag(name).to_owned()).collect();
                let key = PartKey { column: index, entity: entity.clone(), tags: part };
                self.fill(key, column, &series, at);
            }
        }
    }

    fn fill(&mut self, key: PartKey, column: &InfluxdbColumn, series: &Series, at: usize) {
        let begin = self.begin().ms();
        let windows = self.back + self.grid.points;
        let part = self.parts.entry(key).or_insert_with(|| Part {
            last: None,
            total: 0.0,
            windows: vec![None; windows],
        });
        let (mut texts, mut negative, mut twice) = (0, 0, 0);
        for row in &series.values {
            let Some(Some(Cell::Number(time))) = row.first() else { continue };
            let value = match row.get(at) {
                Some(Some(Cell::Number(value))) => *value,
                Some(Some(Cell::Text(_) | Cell::Flag(_))) => {
                    texts += 1;
                    continue;
                }
                Some(None) | None => continue,
            };
            #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this age")]
            let time = *time as i64;
            let index = (time - begin - 1).div_euclid(self.grid.step.ms().max(1));
            let Some(index) = usize::try_from(index).ok().filter(|index| *index < windows) else {
                continue;
            };
            if column.zero_is_gap && value == 0.0 {
                continue;
            }
            if column.counter && value < 0.0 {
                negative += 1;
                continue;
            }
            twice += usize::from(!part.add(time, value, column.counter, index));
        }
        let field = &column.field;
        self.odd.count(&format!("`{field}` holds no number"), texts);
        self.odd.count(&format!("the counter `{field}` is negative: left out"), negative);
        let what = format!(
            "`{field}` has several values at one time, of which the largest counts: if they are of parts of an entity, name their tag in `parts`"
        );
        self.odd.count(&what, twice);
    }

    /// Returns the points of each column and entity: number of the column, entity, points.
    pub(super) fn points(&self) -> Vec<(usize, String, Vec<Point>)> {
        let mut sums: BTreeMap<(usize, &str), Vec<Option<f64>>> = BTreeMap::new();
        for (PartKey { column: index, entity, .. }, part) in &self.parts {
            let sum = sums
                .entry((*index, entity.as_str()))
                .or_insert_with(|| vec![None; self.grid.points]);
            for (window, sum) in sum.iter_mut().enumerate() {
                let at = self.back + window;
                let value = if self.columns[*index].counter {
                    self.rate_of(part, at)
                } else {
                    part.windows[at].map(|window| window.last.1)
                };
                *sum = match (*sum, value) {
                    (Some(sum), Some(value)) => Some(sum + value),
                    (sum, value) => sum.or(value),
                };
            }
        }
        let of = |((index, entity), sums): ((usize, &str), Vec<Option<f64>>)| {
            let points = sums.into_iter().enumerate().filter_map(|(window, value)| {
                Some(Point { time_ms: self.grid.time(window).ms(), value: value? })
            });
            (index, entity.to_owned(), points.collect::<Vec<Point>>())
        };
        sums.into_iter().map(of).filter(|(.., points)| !points.is_empty()).collect()
    }

    /// Returns the growth per second over the rate window that ends with a window. A window without
    /// a row has none, so a series that has ended has no rates.
    fn rate_of(&self, part: &Part, at: usize) -> Option<f64> {
        let last = part.windows[at]?.last;
        // The increase counts from the last row before the rate window if there is one, otherwise
        // from its first row.
        let early = &part.windows[(at + 1).saturating_sub(2 * self.rate)..=at - self.rate];
        let within = &part.windows[at + 1 - self.rate..=at];
        let before = early.iter().rev().flatten().next().map(|window| window.last);
        let first = before.or_else(|| within.iter().flatten().next().map(|window| window.first))?;
        let seconds = Span::from_ms(last.0 - first.0).seconds();
        (seconds > 0.0).then(|| (last.1 - first.1) / seconds)
    }
}

impl Part {
    /// Adds a row; returns whether its time is new.
    fn add(&mut self, time: i64, mut value: f64, is_counter: bool, index: usize) -> bool {
        let is_new = match self.last {
            // A row that is the same in every respect is not reported again.
            Some((before, known)) if time <= before => {
                if value <= known || time < before {
                    return value.to_bits() == known.to_bits() && time == before;
                }
                self.total += if is_counter { value - known } else { 0.0 };
                false
            }
            Some((_, known)) if is_counter => {
                // A counter that decreased was reset, and has increased from 0 to its value since.
                self.total += if value >= known { value - known } else { value };
                true
            }
            Some(_) | None => true,
        };
        self.last = Some((time, value));
        if is_counter {
            value = self.total;
        }
        match &mut self.windows[index] {
            Some(window) => window.last = (time, value),
            empty => *empty = Some(Window { first: (time, value), last: (time, value) }),
        }
        is_new
    }
}

/// Adds the tags of the pod to a series of Docker's that names a container of Kubernetes:
/// `k8s_<container>_<pod>_<namespace>_<uid>_<attempt>`, whose parts hold no `_`.
fn name_pod(series: &mut Series) {
    let Some(name) = series.tags.get(CONTAINER_NAME) else { return };
    let words: Vec<String> = name.split('_').map(str::to_owned).collect();
    if let [kind, container, pod, namespace, _, attempt] = words.as_slice()
        && kind == "k8s"
    {
        // A restarted container is a separate part with a new counter.
        let part = format!("{container}_{attempt}");
        for (tag, value) in [("pod_name", pod), ("namespace", namespace), (CONTAINER_NAME, &part)] {
            let known = series.tags.entry(tag.to_owned()).or_default();
            if known.is_empty() || tag == CONTAINER_NAME {
                known.clone_from(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: i64 = 10_000;

    fn column(counter: bool) -> InfluxdbColumn {
        InfluxdbColumn {
            name: "c".to_owned(),
            measurement: "m".to_owned(),
            field: "x".to_owned(),
            parts: vec!["volume".to_owned()],
            counter,
            ..InfluxdbColumn::default()
        }
    }

    fn series(tags: &[(&str, &str)], rows: &[(i64, f64)]) -> Series {
        let rows: Vec<serde_json::Value> = rows
            .iter()
            .map(|(seconds, value)| serde_json::json!([seconds * 1000, value]))
            .collect();
        let tags: BTreeMap<&str, &str> = tags.iter().copied().collect();
        serde_json::from_value(
            serde_json::json!({"tags": tags, "columns": ["time", "x"], "values": rows}),
        )
        .unwrap()
    }

    /// Returns the values of an entity's windows, which end at 100 s, 110 s, ...
    fn values(column: &InfluxdbColumn, all: Vec<Series>) -> (Vec<(i64, f64)>, Vec<String>) {
        let grid =
            Grid { first: Timestamp::from_ms(100_000), points: 4, step: Span::from_ms(STEP) };
        let tags = ["pod_name".to_owned()];
        let mut windows = Windows::new(grid, Span::from_seconds(20), vec![column], &tags);
        all.into_iter().for_each(|series| windows.add(series));
        let points = windows.points();
        assert!(points.len() <= 1 && points.iter().all(|(_, entity, _)| entity == "p"));
        let points = points.into_iter().flat_map(|(.., points)| points);
        (points.map(|it| (it.time_ms / 1000, it.value)).collect(), windows.odd.notes())
    }

    #[test]
    fn a_window_has_the_last_value_in_it_and_the_sum_of_the_parts() {
        let one = [("pod_name", "p"), ("volume", "a")];
        let two = [("pod_name", "p"), ("volume", "b")];
        let (values, notes) = values(
            &column(false),
            vec![
                series(&one, &[(90, 9.0), (91, 1.0), (100, 2.0), (101, 3.0), (131, 9.0)]),
                series(&two, &[(95, 10.0), (125, 20.0)]),
            ],
        );
        assert_eq!(values, [(100, 12.0), (110, 3.0), (130, 20.0)]);
        assert_eq!(notes, Vec::<String>::new());
    }

    #[test]
    fn a_counter_is_a_rate_with_resets_and_ends_with_its_rows() {
        let tags = [("pod_name", "p")];
        let rows = [(80, 100.0), (90, 200.0), (100, 300.0), (110, 20.0)];
        let (values, _) = values(&column(true), vec![series(&tags, &rows)]);
        assert_eq!(values, [(100, 10.0), (110, 6.0)], "from 90 s on: 100 and 20 in 20 s");
    }

    #[test]
    fn a_counter_of_one_row_or_of_negative_rows_has_no_rate() {
        let tags = [("pod_name", "p")];
        assert_eq!(values(&column(true), vec![series(&tags, &[(100, 5.0)])]).0, []);
        let (rates, notes) =
            values(&column(true), vec![series(&tags, &[(100, -5.0), (110, -4.0)])]);
        assert_eq!(rates, []);
        assert_eq!(notes, ["the counter `x` is negative: left out (2 times)"]);
    }

    #[test]
    fn rows_of_two_collectors_count_once_and_differences_are_warned_about() {
        let tags = [("pod_name", "p")];
        let (gauges, notes) = values(
            &column(false),
            vec![series(&tags, &[(100, 5.0), (100, 5.0), (110, 6.0), (110, 7.0)])],
        );
        assert_eq!(gauges, [(100, 5.0), (110, 7.0)]);
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("`parts` (1 times)"), "{notes:?}");
        let rows = [(90, 100.0), (90, 100.0), (100, 200.0), (100, 210.0), (100, 190.0)];
        let (rates, _) = values(&column(true), vec![series(&tags, &rows)]);
        assert_eq!(rates, [(100, 11.0)]);
    }

    #[test]
    fn docker_names_of_kubernetes_containers_name_the_pod() {
        let mut column = InfluxdbColumn { zero_is_gap: true, ..column(false) };
        column.tags.insert("device".to_owned(), vec!["total".to_owned()]);
        let name = ("container_name", "k8s_app_p_shop_0f-1_2");
        let (values, notes) = values(
            &column,
            vec![
                series(&[name, ("device", "total")], &[(100, 5.0), (110, 0.0)]),
                series(&[name, ("device", "8:0")], &[(100, 5.0)]),
                series(&[("container_name", "plain"), ("device", "total")], &[(100, 7.0)]),
            ],
        );
        assert_eq!(values, [(100, 5.0)]);
        assert_eq!(
            notes,
            ["rows without a value of the tags `pod_name`, which name the entity (1 times)"]
        );
    }
}
