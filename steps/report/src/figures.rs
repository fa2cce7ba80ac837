//! The figures of a page: the marks of each chart.

use contract::score::entity_words;
use contract::{Span, StepError, Timestamp};
use maud::{Markup, PreEscaped, html};

use crate::axis::Axis;
use crate::chart::{Chart, Ink, Mark, Size};
use crate::contents::Contents;
use crate::curves::Curves;
use crate::envelope::Envelope;
use crate::features::{MOST_LINES, Series};
use crate::ground_truth::{Scenario, Truth};
use crate::ranking::NEVER_SEEN;
use crate::scores::{Basis, MemberHistory, ScoreHistory};
use crate::units::{self, Unit};
use crate::zone::Zone;

/// Size of a figure across the page.
const WIDE: Size = Size { width: 1080, height: 190, left: 66 };
/// The same on a medium screen.
const MIDDLE: Size = Size { width: 680, height: 180, left: 64 };
/// The same on a small screen.
const NARROW: Size = Size { width: 340, height: 170, left: 62 };
/// Size of one of many small figures.
const SMALL: Size = Size { width: 340, height: 128, left: 44 };
/// A curve.
const SQUARE: Size = Size { width: 340, height: 300, left: 44 };

/// Maximum number of entities with a row in the map of alarms.
pub const MOST_ROWS: usize = 40;

/// Common background of every figure over time.
#[derive(Debug, Clone)]
pub struct Backdrop<'a> {
    range: (Timestamp, Timestamp),
    truth: &'a Truth,
    alarms: Vec<(Timestamp, Timestamp)>,
    missing: &'a [(Timestamp, Timestamp)],
    switches: Vec<Timestamp>,
    step: Span,
    zone: &'a Zone,
}

impl<'a> Backdrop<'a> {
    /// Takes faults, alarms, missing windows and model switches from a history of scores.
    pub fn of(
        contents: &'a Contents,
        history: &'a ScoreHistory,
        range: (Timestamp, Timestamp),
    ) -> Self {
        let alarms = history.alarms().into_iter().map(|alarm| (alarm.start, alarm.end));
        Self {
            range,
            truth: history.truth(),
            alarms: alarms.collect(),
            missing: &history.missing,
            switches: history
                .versions
                .iter()
                .map(|(time, _)| *time)
                .skip(1)
                .chain(history.parts.iter().copied().skip(1))
                .collect(),
            step: history.step(),
            zone: &contents.zone,
        }
    }

    /// Takes only the faults.
    pub fn of_features(contents: &'a Contents) -> Option<Self> {
        let (history, truth) = (&contents.features, &contents.truth);
        let (first, last) = history.range?;
        Some(Self {
            range: (first - history.step, last),
            truth,
            alarms: Vec::new(),
            missing: &[],
            switches: Vec::new(),
            step: history.step,
            zone: &contents.zone,
        })
    }

    /// Returns whether the range contains a labelled fault.
    pub fn has_faults(&self) -> bool {
        !self.truth.within(self.range.0, self.range.1).scenarios().is_empty()
    }

    fn axis(&self, size: Size) -> Axis {
        Axis::of_time(self.zone, self.range.0, self.range.1, if size.width > 500 { 10 } else { 4 })
    }

    /// Returns faults and missing windows over the whole height, and alarms at the bottom.
    fn marks(&self, size: Size, y: &Axis) -> Vec<Mark> {
        let block = |from: Timestamp, to: Timestamp, low: f64, high: f64, ink| {
            Mark::Block([(from.ms() as f64, y.at(low)), (to.ms() as f64, y.at(high))], ink)
        };
        let scenarios = self.truth.scenarios();
        let mut marks: Vec<Mark> = Vec::new();
        for (from, to) in self.joined(self.missing.iter().copied(), size) {
            marks.push(block(from - self.step, to, 0.0, 1.0, Ink::Missing));
        }
        let spans = scenarios.iter().map(|scenario| (scenario.start, scenario.end));
        for (from, to) in self.joined(spans, size) {
            marks.push(block(from, to, 0.0, 1.0, Ink::Fault));
        }
        for (from, to) in self.joined(self.alarms.iter().copied(), size) {
            marks.push(block(from, to, 0.0, 0.05, Ink::Alarm));
        }
        for time in &self.switches {
            let x = time.ms() as f64;
            marks.push(Mark::Line(vec![(x, y.low()), (x, y.high())], Ink::Switch));
        }
        marks
    }

    /// Returns the faults' numbers, if there is room for them.
    fn numbers(&self, size: Size, y: &Axis) -> Vec<Mark> {
        let (start, end) = self.range;
        let inside = self.truth.scenarios().iter();
        let inside = inside.filter(|scenario| scenario.end > start && scenario.start < end);
        if inside.clone().count() > size.width as usize / 25 {
            return Vec::new();
        }
        let note = |scenario: &Scenario| {
            let middle = scenario.start.max(start).ms().midpoint(scenario.end.min(end).ms());
            Mark::Note((middle as f64, y.high()), scenario.number.to_string())
        };
        inside.map(note).collect()
    }

    /// Joins ranges that are less than a pixel apart, and keeps those in the range.
    fn joined(
        &self,
        stretches: impl Iterator<Item = (Timestamp, Timestamp)>,
        size: Size,
    ) -> Vec<(Timestamp, Timestamp)> {
        let (start, end) = self.range;
        let pixel = Span::from_ms((end - start).ms() / i64::from(size.width));
        let mut joined: Vec<(Timestamp, Timestamp)> = Vec::new();
        for (from, to) in stretches.filter(|(from, to)| *to > start && *from < end) {
            let (from, to) = (from.max(start), to.min(end));
            match joined.last_mut() {
                Some((_, last)) if from - *last <= pixel => *last = to.max(*last),
                _ => joined.push((from, to)),
            }
        }
        joined
    }
}

/// Returns an envelope's lines as marks, each value changed by `scale`, in as many spans as a figure
/// of this size can show.
fn lines(envelope: &Envelope, size: Size, ink: Ink, scale: impl Fn(f64) -> f64) -> Vec<Mark> {
    let lines = envelope.thinned(size.width as usize).lines().into_iter();
    let points = lines.map(|line| {
        line.into_iter().map(|(time, value)| (time as f64, scale(value))).collect::<Vec<_>>()
    });
    points.map(|points| Mark::Line(without_middles(&points), ink)).collect()
}

/// Leaves out points between two points of the same value, because thresholds are mostly constant.
fn without_middles(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let level = |a: usize, b: usize| points[a].1.total_cmp(&points[b].1).is_eq();
    let middle = |index: usize| {
        index > 0 && index + 1 < points.len() && level(index - 1, index) && level(index, index + 1)
    };
    (0..points.len()).filter(|index| !middle(*index)).map(|index| points[index]).collect()
}

/// Draws a chart in all sizes; the style sheet shows the one that fits.
fn all_sizes(draw: impl Fn(Size) -> Chart, alternative: &str) -> Result<Markup, StepError> {
    let sizes = [("wide", WIDE), ("middle", MIDDLE), ("narrow", NARROW)];
    let drawn = sizes.map(|(class, size)| draw(size).svg(class, alternative));
    let drawn = drawn.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(html! { @for drawing in drawn { (PreEscaped(drawing)) } })
}

/// Draws the verdict's own score over time.
pub fn verdict(
    history: &ScoreHistory,
    backdrop: &Backdrop<'_>,
    alternative: &str,
) -> Result<Markup, StepError> {
    all_sizes(|size| verdict_chart(history, backdrop, size), alternative)
}

/// Draws the verdict's score as a separate figure, across a page.
pub fn verdict_alone(
    history: &ScoreHistory,
    backdrop: &Backdrop<'_>,
    alternative: &str,
) -> Result<String, StepError> {
    verdict_chart(history, backdrop, WIDE).svg("picture", alternative)
}

fn verdict_chart(history: &ScoreHistory, backdrop: &Backdrop<'_>, size: Size) -> Chart {
    let verdict = &history.verdict;
    let (low, high) = verdict.score.bounds().unwrap_or((0.0, 1.0));
    let (_, threshold) = verdict.threshold.bounds().unwrap_or((0.0, 1.0));
    // A fault may score a hundred times the threshold; on a linear scale the threshold would be at
    // the bottom.
    let steep = verdict.basis != Basis::Votes
        && low > -threshold.abs().max(1.0)
        && high > 12.0 * threshold.abs().max(1.0);
    let scale = |value: f64| if steep { (1.0 + value.max(0.0)).log10() } else { value };
    let y = if steep {
        logarithmic(high)
    } else {
        Axis::of_values(low.min(0.0), high.max(threshold), &Unit::of("", 1.0), 4)
    };
    let mut marks = backdrop.marks(size, &y);
    marks.extend(lines(&verdict.score, size, Ink::Series(0), scale));
    marks.extend(lines(&verdict.threshold, size, Ink::Threshold, scale));
    marks.extend(backdrop.numbers(size, &y));
    Chart { size, x: backdrop.axis(size), y, marks }
}

/// An axis of `log10(1 + value)` from 0 on.
fn logarithmic(high: f64) -> Axis {
    let ticks = [0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4, 1e5, 1e6];
    let place = |value: f64| (1.0 + value).log10();
    let ticks = ticks.into_iter().filter(|tick| *tick <= high);
    let ticks = ticks.map(|tick| (place(tick), units::number(tick)));
    Axis::new(0.0, place(high) * 1.1, ticks.collect())
}

/// Draws how rare one model's score is over time.
pub fn member(
    member: &MemberHistory,
    backdrop: &Backdrop<'_>,
    alternative: &str,
) -> Result<Markup, StepError> {
    let ticks = [(0.0, "usual"), (1.0, "1 in 10"), (2.0, "1 in 100"), (3.0, "1 in 1000")];
    let ticks = ticks.into_iter().chain([(NEVER_SEEN, "never")]);
    let ticks: Vec<_> = ticks.map(|(at, text)| (at, text.to_owned())).collect();
    let draw = |size: Size| {
        let y = Axis::new(0.0, NEVER_SEEN * 1.1, ticks.clone());
        let mut marks = backdrop.marks(size, &y);
        marks.extend(lines(&member.rarity, size, Ink::Series(0), |value| value));
        marks.extend(lines(&member.threshold, size, Ink::Threshold, |value| value));
        marks.extend(backdrop.numbers(size, &y));
        Chart { size, x: backdrop.axis(size), y, marks }
    };
    all_sizes(draw, alternative)
}

/// Draws when each entity was anomalous or without data: one row per entity, the most anomalous on
/// top.
pub fn alarm_map(
    history: &ScoreHistory,
    backdrop: &Backdrop<'_>,
    alternative: &str,
) -> Result<Markup, StepError> {
    let mut entities: Vec<_> =
        history.entities.iter().filter(|entity| entity.anomalous + entity.no_data > 0).collect();
    entities.sort_by(|a, b| {
        (b.anomalous, b.no_data).cmp(&(a.anomalous, a.no_data)).then_with(|| a.name.cmp(&b.name))
    });
    entities.truncate(MOST_ROWS);
    let rows = entities.len();
    let draw = |size: Size| {
        let left = if size.width > 500 { 170 } else { 110 };
        let height = 30 + 16 * u32::try_from(rows).unwrap_or(0);
        let size = Size { height, left, ..size };
        let row = |index: usize| (rows - 1 - index) as f64;
        let name = |name: &str| shortened(name, left as usize / 6);
        let ticks = (0..).zip(&entities).map(|(index, e)| (row(index) + 0.5, name(&e.name)));
        let y = Axis::new(0.0, rows as f64, ticks.collect());
        let mut marks = Vec::new();
        for (index, entity) in entities.iter().enumerate() {
            let mut add = |stretches: Vec<(Timestamp, Timestamp)>, ink| {
                for (from, to) in backdrop.joined(stretches.into_iter(), size) {
                    let low = (from.ms() as f64, row(index) + 0.12);
                    marks.push(Mark::Block([low, (to.ms() as f64, row(index) + 0.88)], ink));
                }
            };
            add(entity.silent.clone(), Ink::Missing);
            add(entity.alarms.iter().map(|alarm| (alarm.start, alarm.end)).collect(), Ink::Alarm);
        }
        let faults = Backdrop { alarms: Vec::new(), ..backdrop.clone() };
        let mut all = faults.marks(size, &y);
        all.extend(marks);
        all.extend(backdrop.numbers(size, &y));
        Chart { size, x: backdrop.axis(size), y, marks: all }
    };
    all_sizes(draw, alternative)
}

/// Keeps the end of a long name, because names of pods differ there.
fn shortened(name: &str, length: usize) -> String {
    let name = entity_words(name);
    let count = name.chars().count();
    if count <= length {
        return name.to_owned();
    }
    let end: String = name.chars().skip(count + 1 - length.max(1)).collect();
    format!("…{end}")
}

/// Draws one feature over time: a line for each entity, or a band if they are many.
pub fn feature(
    series: &Series,
    entities: usize,
    backdrop: &Backdrop<'_>,
    alternative: &str,
) -> Result<Markup, StepError> {
    let bounds = series.lines.iter().filter_map(Envelope::bounds);
    let (low, high) = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or((0.0, 1.0));
    let unit = Unit::of(&series.column.unit, low.abs().max(high.abs()));
    let size = SMALL;
    let y = Axis::of_values(low, high, &unit, 3);
    let mut marks = backdrop.marks(size, &y);
    if entities > MOST_LINES {
        let bands = series.lines.iter().flat_map(|all| all.thinned(size.width as usize).bands());
        for band in bands {
            let points = band.iter().map(|(time, low, high)| (*time as f64, *low, *high)).collect();
            marks.push(Mark::Area(points, Ink::Band));
        }
    } else {
        for (index, line) in series.lines.iter().enumerate() {
            marks.extend(lines(line, size, Ink::Series(index), |value| value));
        }
    }
    marks.extend(backdrop.numbers(size, &y));
    let chart = Chart { size, x: backdrop.axis(size), y, marks };
    Ok(PreEscaped(chart.svg("small", alternative)?))
}

/// Draws ROC curves, or precision over recall, each with its bounds behind it.
pub fn curves(curves: &[Curves], roc: bool, alternative: &str) -> Result<Markup, StepError> {
    let axis = || {
        let ticks = [0.0, 0.25, 0.5, 0.75, 1.0];
        let label = |tick: f64| format!("{:.0} %", tick * 100.0);
        Axis::new(-0.01, 1.02, ticks.into_iter().map(|tick| (tick, label(tick))).collect())
    };
    let mut marks = Vec::new();
    if roc {
        marks.push(Mark::Line(vec![(0.0, 0.0), (1.0, 1.0)], Ink::Grid));
    }
    let each = || curves.iter().map(|all| if roc { &all.roc } else { &all.precision_recall });
    for (index, curve) in each().enumerate().filter(|(_, curve)| !curve.band.is_empty()) {
        marks.push(Mark::Area(curve.band.clone(), Ink::Bounds(index)));
    }
    for (index, curve) in each().enumerate() {
        marks.push(Mark::Line(curve.points.clone(), Ink::Series(index)));
    }
    let chart = Chart { size: SQUARE, x: axis(), y: axis(), marks };
    Ok(PreEscaped(chart.svg("small curves", alternative)?))
}
