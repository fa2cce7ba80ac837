//! The timetable of a scenario file.

use contract::Span;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use crate::file::{Order, ScenarioFile};

/// A step of the timetable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Start, counted from the start of the scenario.
    pub offset: Span,
    /// Index of the step in the file.
    pub step: usize,
    /// Repeat it belongs to, counted from 0.
    pub repeat: u32,
    /// Duration of the fault.
    pub duration: Span,
    /// Normal time after it.
    pub pause: Span,
}

/// The whole timetable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timetable {
    /// Normal time before the first entry.
    pub lead_in: Span,
    /// The entries in order of time; no two overlap.
    pub entries: Vec<Entry>,
    /// Total duration.
    pub total: Span,
}

/// Shortest fault of a pilot; shorter faults are not visible in any window.
const SHORTEST_PILOT_FAULT: Span = Span::from_seconds(10);

/// Makes the timetable. With `pilot`, every step runs once, and all durations are shortened by one
/// factor so that the whole takes at most that long; no fault becomes shorter than ten seconds.
pub fn make(file: &ScenarioFile, pilot: Option<Span>) -> Timetable {
    let repeats = if pilot.is_some() { 1 } else { file.repeat };
    let mut generator = ChaCha8Rng::seed_from_u64(file.seed);
    let mut order: Vec<(u32, usize)> = Vec::new();
    for repeat in 0..repeats {
        let mut steps: Vec<usize> = (0..file.steps.len()).collect();
        if file.order == Order::Shuffled {
            steps.shuffle(&mut generator);
        }
        order.extend(steps.into_iter().map(|step| (repeat, step)));
    }
    let whole = order
        .iter()
        .fold(file.lead_in, |sum, (_, step)| sum + file.steps[*step].duration + file.pause);
    let share = pilot.map_or(1.0, |pilot| (pilot.seconds() / whole.seconds()).min(1.0));
    let lead_in = shortened(file.lead_in, share);
    let pause = shortened(file.pause, share);
    let mut offset = lead_in;
    let entries = order
        .into_iter()
        .map(|(repeat, step)| {
            let full = file.steps[step].duration;
            let duration = shortened(full, share).max(SHORTEST_PILOT_FAULT.min(full));
            let entry = Entry { offset, step, repeat, duration, pause };
            offset = offset + duration + pause;
            entry
        })
        .collect();
    Timetable { lead_in, entries, total: offset }
}

#[expect(clippy::cast_possible_truncation, reason = "a share of a length is no longer than it")]
fn shortened(span: Span, share: f64) -> Span {
    Span::from_ms((span.ms() as f64 * share).round() as i64)
}
