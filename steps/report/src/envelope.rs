//! Many points on few pixels: the smallest and the largest of each short span of time.
//!
//! A line through one mean, or one point, of each span loses the spike of a single sample; a line
//! through both extremes does not. (Jugel and others: M4, VLDB 2014, keep the first and last point
//! as well, which matters only where a span is wider than a pixel.)

/// A point of a series: milliseconds since 1970 and a value.
pub type Point = (i64, f64);

/// The extremes of one span of time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Extremes {
    low: Point,
    high: Point,
}

impl Extremes {
    fn of(point: Point) -> Self {
        Self { low: point, high: point }
    }

    /// Adds later extremes; of equal values the earlier one is kept.
    fn add(&mut self, other: Self) {
        if other.low.1 < self.low.1 {
            self.low = other.low;
        }
        if other.high.1 > self.high.1 {
            self.high = other.high;
        }
    }
}

/// A series of any length in bounded memory.
///
/// Points come in order of time. Spans start one step wide and double whenever there would be too
/// many, so the range need not be known and at least half of the spans are in use at the end.
#[derive(Debug, Clone)]
pub struct Envelope {
    step_ms: i64,
    width_ms: i64,
    start_ms: Option<i64>,
    spans: Vec<Option<Extremes>>,
    most: usize,
}

impl Envelope {
    /// Makes an empty envelope of at most `most` spans (at least 2) for points `step_ms` apart.
    pub fn new(step_ms: i64, most: usize) -> Self {
        let step_ms = step_ms.max(1);
        Self { step_ms, width_ms: step_ms, start_ms: None, spans: Vec::new(), most: most.max(2) }
    }

    /// Adds a point; a non-finite one is a gap and adds nothing. A point before the first span is
    /// added to the first span.
    pub fn push(&mut self, time_ms: i64, value: f64) {
        if !value.is_finite() {
            return;
        }
        let start = *self.start_ms.get_or_insert(time_ms);
        let mut index = self.index(start, time_ms);
        while index >= self.most {
            self.halve();
            index = self.index(start, time_ms);
        }
        if index >= self.spans.len() {
            self.spans.resize(index + 1, None);
        }
        let point = Extremes::of((time_ms, value));
        match &mut self.spans[index] {
            Some(extremes) => extremes.add(point),
            empty => *empty = Some(point),
        }
    }

    fn index(&self, start: i64, time_ms: i64) -> usize {
        usize::try_from(time_ms.saturating_sub(start) / self.width_ms).unwrap_or(0)
    }

    fn halve(&mut self) {
        let merged = self.spans.chunks(2).map(|pair| {
            let mut pair = pair.iter().copied().flatten();
            let mut first = pair.next()?;
            pair.for_each(|second| first.add(second));
            Some(first)
        });
        self.spans = merged.collect();
        self.width_ms = self.width_ms.saturating_mul(2);
    }

    /// Returns the same series in at most `most` spans (at least 2).
    #[must_use]
    pub fn thinned(&self, most: usize) -> Self {
        let mut thinned = Self { most: most.max(2), ..self.clone() };
        while thinned.spans.len() > thinned.most {
            thinned.halve();
        }
        thinned
    }

    /// Returns whether no point was added.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Returns the smallest and the largest value; `None` without points.
    pub fn bounds(&self) -> Option<(f64, f64)> {
        let all = self.spans.iter().flatten();
        all.map(|span| (span.low.1, span.high.1)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// Returns the lines to draw, in order of time: each holds the extremes of consecutive spans,
    /// and ends where points are missing.
    pub fn lines(&self) -> Vec<Vec<Point>> {
        let mut lines: Vec<Vec<Point>> = Vec::new();
        for (connected, span) in self.connected() {
            let falling = span.low.0 > span.high.0;
            let points = if falling { [span.high, span.low] } else { [span.low, span.high] };
            let points = if span.low == span.high { &points[..1] } else { &points[..] };
            match lines.last_mut() {
                Some(line) if connected => line.extend(points),
                _ => lines.push(points.to_vec()),
            }
        }
        lines
    }

    /// Returns the outlines to fill, in order of time: time, smallest and largest value of
    /// consecutive spans; each ends where points are missing.
    pub fn bands(&self) -> Vec<Vec<(i64, f64, f64)>> {
        let mut bands: Vec<Vec<(i64, f64, f64)>> = Vec::new();
        for (connected, span) in self.connected() {
            let item = (span.low.0.midpoint(span.high.0), span.low.1, span.high.1);
            match bands.last_mut() {
                Some(band) if connected => band.push(item),
                _ => bands.push(vec![item]),
            }
        }
        bands
    }

    /// Returns the spans that hold points, each with whether it continues the one before.
    fn connected(&self) -> impl Iterator<Item = (bool, Extremes)> {
        let mut before: Option<(usize, i64)> = None;
        let spans =
            self.spans.iter().enumerate().filter_map(|(index, span)| Some((index, (*span)?)));
        spans.map(move |(index, span)| {
            let first = span.low.0.min(span.high.0);
            let last = span.low.0.max(span.high.0);
            // With times off the grid a span may be empty although no data is missing.
            let connected = before.is_some_and(|(earlier, time)| {
                index - earlier <= 1 || 2 * (first - time) <= 3 * self.step_ms
            });
            before = Some((index, last));
            (connected, span)
        })
    }
}

#[cfg(test)]
#[expect(
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "small whole numbers, and values that are to be the same"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(values: &[f64], most: usize) -> Envelope {
        let mut envelope = Envelope::new(1000, most);
        values.iter().zip(0..).for_each(|(value, index)| envelope.push(index * 1000, *value));
        envelope
    }

    #[test]
    fn a_missing_window_ends_the_line() {
        let nan = f64::NAN;
        assert_eq!(filled(&[1.0, 2.0, nan, 3.0], 100).lines().len(), 2);
        assert_eq!(filled(&[1.0, 2.0, 3.0], 100).lines(), [[(0, 1.0), (1000, 2.0), (2000, 3.0)]]);
        assert_eq!(filled(&[nan, f64::INFINITY], 100).lines().len(), 0);
        assert_eq!(filled(&[], 100).bounds(), None);
    }

    #[test]
    fn a_long_gap_is_seen_however_wide_the_spans_are() {
        let mut values = vec![1.0; 10_000];
        values[4000..6000].fill(f64::NAN);
        assert_eq!(filled(&values, 64).lines().len(), 2);
    }

    proptest! {
        #[test]
        fn a_spike_of_one_sample_never_disappears(
            length in 1..2000_usize,
            at in 0.0..1.0_f64,
            height in prop_oneof![Just(5.0), Just(-5.0)],
            most in 2..300_usize,
            thinner in 2..300_usize,
        ) {
            let at = (at * length as f64) as usize;
            let values: Vec<f64> = (0..length)
                .map(|index| if index == at { height } else { (index as f64 * 0.7).sin() })
                .collect();
            let drawn = filled(&values, most).thinned(thinner);
            let spike = (at as i64 * 1000, height);
            prop_assert!(drawn.lines().concat().contains(&spike));
            let seen = drawn.bands().concat();
            prop_assert!(seen.iter().any(|(_, low, high)| *low == height || *high == height));
        }

        #[test]
        fn only_points_that_were_there_are_drawn_in_order_and_few(
            values in prop::collection::vec(prop_oneof![9 => -1e9..1e9_f64, 1 => Just(f64::NAN)], 0..2000),
            most in 2..200_usize,
        ) {
            let envelope = filled(&values, most);
            let drawn = envelope.lines().concat();
            prop_assert!(drawn.len() <= 2 * most);
            prop_assert!(drawn.is_sorted_by_key(|(time, _)| *time));
            for (time, value) in &drawn {
                prop_assert_eq!(values[(time / 1000) as usize], *value);
            }
            let finite = values.iter().copied().filter(|value| value.is_finite());
            let bounds = finite.fold(None, |bounds: Option<(f64, f64)>, value| {
                Some(bounds.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
            });
            prop_assert_eq!(envelope.bounds(), bounds);
        }
    }
}
