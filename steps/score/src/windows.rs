//! The due windows.

use contract::coverage::Coverage;
use contract::score::LateWindows;
use contract::{Span, StepError, Timestamp};
use document::sections::Score as Sections;

/// The windows that end in `(after, until]`, `step` apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Windows {
    pub(crate) after: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) step: Span,
    /// Windows after the watermark that are older than the document catches up.
    pub(crate) given_up: usize,
    /// Windows after `until` that wait because there is no data for them.
    pub(crate) silent: usize,
    /// Windows at the end that wait because they could not be collected yet.
    pub(crate) waiting: usize,
}

impl Windows {
    /// Returns the windows that a tick at `now` has to score: those after the watermark, no older
    /// than the document catches up, up to the last one for which the delay for late samples has
    /// passed. Without a watermark, only that last window is due.
    pub(crate) fn due(document: &Sections, now: Timestamp, scored_to: Option<Timestamp>) -> Self {
        let step = document.step;
        let until = (now - document.scoring.delay).floor(step);
        let oldest = (until - document.scoring.catch_up).floor(step);
        let scored_to = scored_to.map_or(until - step, |scored_to| scored_to.floor(step));
        let after = scored_to.max(oldest);
        let given_up = (after - scored_to).in_steps(step);
        Self { after, until: until.max(after), step, given_up, silent: 0, waiting: 0 }
    }

    /// Returns the windows without those that could not be collected yet.
    pub(crate) fn no_later_than(self, coverage: &Coverage) -> Self {
        let until = self.until.min(coverage.until.floor(self.step)).max(self.after);
        let waiting = match coverage.waiting {
            Some(_) => (self.until - until).in_steps(self.step),
            None => 0,
        };
        Self { until, waiting, ..self }
    }

    /// Returns the windows without those at the end that have no data, except for as many as one
    /// tick normally scores. `heard` is the end of the last window in which any entity had data.
    ///
    /// A source without data gives one `no_data` window per clock step. After a clock jump into the
    /// future there is no data yet, so the windows are scored later, when their data exists.
    ///
    /// Errors: refused if the clock is more than the catch-up after the last window, and there is
    /// no data for all that time: the clock is wrong, or there is nothing to score.
    pub(crate) fn until_silence(
        self,
        every: Span,
        heard: Option<Timestamp>,
    ) -> Result<Self, StepError> {
        if heard.is_none() && self.given_up > 0 {
            let last =
                self.after - Span::from_ms(self.step.ms().saturating_mul(whole(self.given_up)));
            return Err(StepError::refused(format!(
                "there is no data from `{}` to `{}`, and the last window was scored at `{last}`",
                self.after, self.until
            ))
            .hint("check the clock and the source; scoring resumes when the source answers"));
        }
        let rounded_up = Span::from_ms(every.ms().saturating_add(self.step.ms() - 1));
        let share = rounded_up.in_steps(self.step).max(1);
        let last = heard.unwrap_or(self.after).max(self.after)
            + Span::from_ms(self.step.ms().saturating_mul(whole(share)));
        let until = self.until.min(last);
        Ok(Self { until, silent: (self.until - until).in_steps(self.step), ..self })
    }

    /// Returns the windows that are more than one tick late at `now`.
    pub(crate) fn late(&self, document: &Sections, now: Timestamp) -> Option<LateWindows> {
        let first = self.after + self.step;
        let in_time = now - document.scoring.delay - document.scoring.every;
        let last = (in_time - Span::from_ms(1)).floor(self.step).min(self.until);
        (first <= last).then_some(LateWindows { at: now, first, last })
    }

    pub(crate) fn contains(&self, time: Timestamp) -> bool {
        time > self.after && time <= self.until
    }

    pub(crate) fn times(&self) -> impl Iterator<Item = Timestamp> {
        let Self { after, until, step, .. } = *self;
        let count = (until - after).in_steps(step);
        (1..=count).map(move |index| {
            Timestamp::from_ms(after.ms().saturating_add(step.ms().saturating_mul(whole(index))))
        })
    }
}

fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document(step_seconds: i64, delay_seconds: i64, catch_up_seconds: i64) -> Sections {
        let text = format!(
            "{{format: 1, name: w, step: {step_seconds}s, range: 1d, sources: {{main: {{prometheus: {{url: 'http://x'}}, \
             queries: [{{name: q, promql: q}}]}}}}, features: [raw], models: {{z_score: {{}}}}, \
             vote: {{combine: votes, threshold: {{quantile: {{share: 0.9}}}}}}, \
             scoring: {{delay: {delay_seconds}s, catch_up: {catch_up_seconds}s}}}}"
        );
        document::parse("test", &text).unwrap().into()
    }

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_ms(seconds * 1000)
    }

    #[test]
    fn a_window_is_due_when_its_delay_is_over() {
        let document = document(60, 30, 3600);
        let due = |now, scored_to: Option<i64>| {
            let due = Windows::due(&document, seconds(now), scored_to.map(seconds));
            due.times().map(|time| time.ms() / 1000).collect::<Vec<_>>()
        };
        assert_eq!(due(6000 + 29, Some(5880)), [5940], "the window that ends at 6000 must wait");
        assert_eq!(due(6000 + 30, Some(5880)), [5940, 6000]);
        assert_eq!(due(6030, None), [6000], "a first tick scores one window");
        assert_eq!(due(6030, Some(6000)), [0; 0]);
        assert_eq!(due(6030, Some(9000)), [0; 0], "a tick that comes late");
        assert_eq!(due(60_030, Some(0)).len(), 60, "no further back than catch_up");
    }

    #[test]
    fn windows_are_late_when_a_tick_that_was_due_did_not_come() {
        let document = document(60, 30, 3600);
        let late = |now, scored_to| {
            let due = Windows::due(&document, seconds(now), Some(seconds(scored_to)));
            let late = due.late(&document, seconds(now))?;
            Some((late.first.ms() / 1000, late.last.ms() / 1000))
        };
        assert_eq!(late(6060, 5940), None, "the one of 6000 was due at 6030, between two ticks");
        assert_eq!(late(6090, 5940), None, "at the last moment");
        assert_eq!(late(6091, 5940), Some((6000, 6000)));
        assert_eq!(late(6300, 5940), Some((6000, 6180)), "6240 could not be had before");
        assert_eq!(late(6300, 6240), None, "nothing is due");
    }

    #[test]
    fn silent_windows_at_the_end_wait_but_for_the_share_of_one_tick() {
        let document = document(60, 0, 3600);
        let until = |now, heard: Option<i64>| {
            let due = Windows::due(&document, seconds(now), Some(seconds(0)));
            let due = due.until_silence(Span::from_seconds(60), heard.map(seconds))?;
            Ok::<_, StepError>((due.until.ms() / 1000, due.silent))
        };
        assert_eq!(until(60, None).unwrap(), (60, 0), "a minute without data is reported at once");
        assert_eq!(until(600, None).unwrap(), (60, 9), "a clock that jumped ten minutes ahead");
        assert_eq!(until(600, Some(300)).unwrap(), (360, 4));
        assert_eq!(until(600, Some(600)).unwrap(), (600, 0));
        assert_eq!(until(7200, Some(7200)).unwrap(), (7200, 0), "caught up as far as allowed");
        let error = until(7200, None).unwrap_err();
        assert!(error.message.contains("was scored at `1970-01-01T00:00:00Z`"), "{error}");
    }

    proptest! {
        /// Ticks at any times, in order, together have the same due windows as a single tick at the
        /// last time.
        #[test]
        fn ticks_leave_no_gap_and_no_overlap(mut nows in prop::collection::vec(0..3000_i64, 1..20)) {
            let document = document(10, 3, 100_000);
            nows.sort_unstable();
            let mut scored_to = seconds(-20);
            let mut seen = Vec::new();
            for now in &nows {
                let due = Windows::due(&document, seconds(*now), Some(scored_to));
                seen.extend(due.times());
                scored_to = due.until;
            }
            let last = *nows.last().unwrap();
            let once: Vec<_> = Windows::due(&document, seconds(last), Some(seconds(-20))).times().collect();
            prop_assert_eq!(seen, once);
        }
    }
}
