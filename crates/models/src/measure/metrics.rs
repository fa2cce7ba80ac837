//! Metrics of scored rows, with confidence intervals.

use std::collections::BTreeMap;

use contract::Span;

use crate::quality::{self, Confusion, Episodes};

/// Most and fewest resamples of an interval, and the limit of their rows.
const RESAMPLES: (usize, usize) = (200, 40);
const RESAMPLED_ROWS: usize = 4_000_000;

/// Seed of the resamples.
const SEED: u64 = 7;

/// The rows that count, in the order of time; one item a row in every vector.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counted<E> {
    /// Entity of the row.
    pub entities: Vec<E>,
    /// The score on which rows are ranked.
    pub scores: Vec<f64>,
    /// Whether there was an alarm.
    pub alarms: Vec<bool>,
    /// Whether the row is anomalous.
    pub anomalous: Vec<bool>,
}

/// Returns the metrics of labelled rows by name; `delays` has an item for each event, the seconds
/// from its start to the alarm that found it.
///
/// Where there are normal rows: `false_alarm_ratio`, `false_alarms_per_day` and
/// `false_episodes_per_day` (per entity). Where there are anomalous ones: `precision`, `recall`,
/// `f1`; `episode_precision`, the share of alarms, however long, that touch an event; and
/// `f1_point_adjusted_optimistic`, which others publish and which flatters. Where there are
/// events: `events`, `events_found` (a share: recall by event) and, where any was found,
/// `detection_delay_seconds_mean`. Where there are rows of both kinds: `roc_auc`,
/// `average_precision` and `best_f1` (by a threshold that knows the labels).
///
/// `<name>_low` and `<name>_high` hold 95 of 100 resamples: of blocks of consecutive windows as
/// long as the longest event, and of whole events for `events_found` and the delay.
pub fn figures<E: Ord + Copy>(
    rows: &Counted<E>,
    delays: &[Option<f64>],
    step: Span,
) -> BTreeMap<String, f64> {
    let mut figures = Figures::default();
    let confusion = Confusion::of(&rows.alarms, &rows.anomalous);
    let resampling = Resampling::of(rows);
    let of_confusion =
        |figure: fn(&Confusion) -> f64| (figure(&confusion), resampling.of_confusion(rows, figure));
    let normal = confusion.false_alarms + confusion.quiet;
    let anomalous = confusion.found + confusion.missed;
    let judged = rows.entities.iter().zip(&rows.alarms).zip(&rows.anomalous);
    let episodes = Episodes::of(judged.map(|((entity, alarm), odd)| (*entity, *alarm, *odd)));
    if normal > 0 {
        let days = normal as f64 * step.seconds() / 86_400.0;
        figures.add_with("false_alarm_ratio", of_confusion(Confusion::false_alarm_ratio));
        figures.add("false_alarms_per_day", confusion.false_alarms as f64 / days);
        figures.add("false_episodes_per_day", episodes.without_event as f64 / days);
    }
    if anomalous > 0 {
        figures.add_with("precision", of_confusion(Confusion::precision));
        figures.add_with("recall", of_confusion(Confusion::recall));
        figures.add_with("f1", of_confusion(Confusion::f1));
        let touching = (episodes.all - episodes.without_event) as f64;
        figures.add("episode_precision", touching / episodes.all as f64);
        let adjusted = quality::point_adjusted(&rows.entities, &rows.alarms, &rows.anomalous);
        let adjusted = Confusion::of(&adjusted, &rows.anomalous);
        figures.add("f1_point_adjusted_optimistic", adjusted.f1());
    }
    figures.add_ranking(rows, &resampling);
    figures.add_events(delays);
    figures.0
}

/// How rows are resampled.
struct Resampling {
    rows: usize,
    block: usize,
    resamples: usize,
}

impl Resampling {
    fn of<E: Ord + Copy>(rows: &Counted<E>) -> Self {
        let count = rows.alarms.len();
        let mut runs: BTreeMap<E, usize> = BTreeMap::new();
        let mut longest = 1;
        for (entity, odd) in rows.entities.iter().zip(&rows.anomalous) {
            let run = runs.entry(*entity).or_default();
            *run = if *odd { *run + 1 } else { 0 };
            longest = longest.max(*run);
        }
        // A block consists of windows: the rows of all entities at a time stay together.
        let entities = runs.len().max(1);
        let windows = count / entities;
        // A block shorter than the cube root of the number of windows does not preserve their
        // dependence; with blocks longer than a tenth there are too few of them.
        let shortest = crate::reference::whole((windows as f64).cbrt().ceil()).max(1);
        let block = longest.clamp(shortest, (windows / 10).max(shortest)) * entities;
        let resamples = RESAMPLES.0.min(RESAMPLED_ROWS / count.max(1));
        Self { rows: count, block, resamples }
    }

    fn interval(&self, figure: impl Fn(&[usize]) -> Option<f64>) -> Option<(f64, f64)> {
        let enough = self.resamples >= RESAMPLES.1;
        let interval =
            || quality::bootstrap_interval(self.rows, self.block, self.resamples, SEED, figure);
        enough.then(interval).flatten()
    }

    fn of_confusion<E>(
        &self,
        rows: &Counted<E>,
        figure: fn(&Confusion) -> f64,
    ) -> Option<(f64, f64)> {
        self.interval(|drawn| {
            let (alarms, anomalous) = (pick(&rows.alarms, drawn), pick(&rows.anomalous, drawn));
            Some(figure(&Confusion::of(&alarms, &anomalous)))
        })
    }
}

fn pick<T: Copy>(values: &[T], drawn: &[usize]) -> Vec<T> {
    drawn.iter().map(|row| values[*row]).collect()
}

#[derive(Default)]
struct Figures(BTreeMap<String, f64>);

impl Figures {
    fn add(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.0.insert(name.to_owned(), value);
        }
    }

    fn add_with(&mut self, name: &str, (value, interval): (f64, Option<(f64, f64)>)) {
        self.add(name, value);
        if let Some((low, high)) = interval {
            self.add(&format!("{name}_low"), low);
            self.add(&format!("{name}_high"), high);
        }
    }

    fn add_ranking<E>(&mut self, rows: &Counted<E>, resampling: &Resampling) {
        type Ranking = fn(&[f64], &[bool]) -> Option<f64>;
        let rankings: [(&str, Ranking); 2] =
            [("roc_auc", quality::roc_auc), ("average_precision", quality::average_precision)];
        for (name, ranking) in rankings {
            let Some(value) = ranking(&rows.scores, &rows.anomalous) else { continue };
            let drawn = |drawn: &[usize]| {
                ranking(&pick(&rows.scores, drawn), &pick(&rows.anomalous, drawn))
            };
            self.add_with(name, (value, resampling.interval(drawn)));
        }
        if let Some((f1, _)) = quality::best_f1(&rows.scores, &rows.anomalous) {
            self.add("best_f1", f1);
        }
    }

    fn add_events(&mut self, delays: &[Option<f64>]) {
        if delays.is_empty() {
            return;
        }
        let interval = |figure: &dyn Fn(&[usize]) -> Option<f64>| {
            quality::bootstrap_interval(delays.len(), 1, RESAMPLES.0, SEED, figure)
        };
        let found = |drawn: &[usize]| {
            let found = drawn.iter().filter(|event| delays[**event].is_some()).count();
            Some(found as f64 / drawn.len() as f64)
        };
        let delay = |drawn: &[usize]| {
            let delays: Vec<f64> = drawn.iter().filter_map(|event| delays[*event]).collect();
            let sum: f64 = delays.iter().sum();
            (!delays.is_empty()).then(|| sum / delays.len() as f64)
        };
        let all: Vec<usize> = (0..delays.len()).collect();
        self.add("events", delays.len() as f64);
        self.add_with("events_found", (found(&all).unwrap_or(0.0), interval(&found)));
        if let Some(mean) = delay(&all) {
            self.add_with("detection_delay_seconds_mean", (mean, interval(&delay)));
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use super::*;

    /// 400 rows with an event of 10 rows in every hundred; the alarm of each comes late by as many
    /// rows as its number, and one alarm touches no event.
    fn counted() -> Counted<u32> {
        let anomalous: Vec<bool> = (0..400).map(|row| row % 100 >= 90).collect();
        let alarm = |row: usize| row == 20 || (row % 100 >= 90 + row / 100 && row % 100 < 98);
        Counted {
            entities: vec![0; 400],
            scores: (0..400)
                .map(|row| f64::from(u8::from(anomalous[row])) + (row * 37 % 101) as f64 / 50.0)
                .collect(),
            alarms: (0..400).map(alarm).collect(),
            anomalous,
        }
    }

    #[test]
    fn every_figure_comes_with_its_interval() {
        let delays = [Some(60.0), Some(120.0), None, Some(240.0)];
        let figures = figures(&counted(), &delays, Span::from_seconds(60));
        for name in
            ["precision", "recall", "f1", "false_alarm_ratio", "roc_auc", "average_precision"]
        {
            let [low, value, high] =
                ["_low", "", "_high"].map(|end| figures[&format!("{name}{end}")]);
            assert!(low <= value && value <= high && low < high, "{name} {low} {value} {high}");
        }
        assert_eq!(figures["events_found"], 0.75);
        assert_eq!(figures["detection_delay_seconds_mean"], 140.0);
        assert_eq!(figures["recall"], 26.0 / 40.0);
        assert_eq!(figures["episode_precision"], 0.8);
        assert_eq!(figures["f1_point_adjusted_optimistic"], 80.0 / 81.0, "it flatters");
        assert_eq!(figures["false_episodes_per_day"], 4.0, "one in six hours of normal rows");
    }

    #[test]
    fn entities_that_act_together_are_no_more_evidence_than_one() {
        let one = counted();
        let repeat =
            |values: &[bool]| values.iter().flat_map(|value| [*value; 20]).collect::<Vec<bool>>();
        let many = Counted {
            entities: (0..400).flat_map(|_| 0..20_u32).collect(),
            scores: one.scores.iter().flat_map(|score| [*score; 20]).collect(),
            alarms: repeat(&one.alarms),
            anomalous: repeat(&one.anomalous),
        };
        let width = |rows: &Counted<u32>| {
            let figures = figures(rows, &[], Span::from_seconds(60));
            figures["recall_high"] - figures["recall_low"]
        };
        let (one, many) = (width(&one), width(&many));
        assert!((0.7..1.4).contains(&(many / one)), "{many} {one}");
    }

    #[test]
    fn undefined_metrics_are_omitted() {
        let quiet = Counted {
            entities: vec![0; 50],
            scores: vec![0.0; 50],
            alarms: vec![false; 50],
            anomalous: vec![false; 50],
        };
        let figures = figures(&quiet, &[], Span::from_seconds(60));
        assert_eq!(figures["false_alarm_ratio"], 0.0);
        assert!(!figures.contains_key("roc_auc") && !figures.contains_key("events_found"));
        assert!(super::figures(&Counted::<u32>::default(), &[], Span::from_seconds(60)).is_empty());
    }
}
