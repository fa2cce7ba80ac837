//! A clock as Argo's controller keeps it: which of its scheduled times start a workflow, while others
//! still run and after the controller was away; and which pods are left of a workflow.

use anyhow::{Result, bail};
use serde_json::Value;

use super::text::{list, text};

/// What becomes of a scheduled time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tick {
    Started,
    /// `Forbid`: a workflow of the clock still runs.
    Skipped,
    /// The controller came back after `startingDeadlineSeconds`.
    Missed,
}

/// A `CronWorkflow` in the controller. Times are seconds.
pub(super) struct Clock<'a> {
    spec: &'a Value,
    /// When the workflows end that run.
    active: Vec<u64>,
    /// How many workflows `Replace` has ended before their time.
    stopped: usize,
}

impl<'a> Clock<'a> {
    pub(super) fn new(cron: &'a Value) -> Self {
        Self { spec: &cron["spec"], active: Vec::new(), stopped: 0 }
    }

    /// Comes to a scheduled time, perhaps late, with a workflow that would take so long.
    pub(super) fn tick(&mut self, scheduled: u64, now: u64, lasts: u64) -> Result<Tick> {
        self.active.retain(|end| *end > now);
        let deadline = self.spec["startingDeadlineSeconds"].as_u64().unwrap_or(0);
        if now > scheduled && now - scheduled > deadline {
            return Ok(Tick::Missed);
        }
        match self.spec["concurrencyPolicy"].as_str().unwrap_or("Allow") {
            "Allow" => {}
            "Forbid" if self.active.is_empty() => {}
            "Forbid" => return Ok(Tick::Skipped),
            "Replace" => self.stopped += std::mem::take(&mut self.active).len(),
            other => bail!("concurrencyPolicy: `{other}`"),
        }
        self.active.push(now + lasts);
        Ok(Tick::Started)
    }
}

/// Returns the pods of which anything is left, and so their logs: by `podGC`, of pods that ended well or
/// not, while the workflow runs or after it has ended well or not.
pub(super) fn left<'p>(
    spec: &Value,
    pods: &'p [(String, bool)],
    workflow: Option<bool>,
) -> Result<Vec<&'p str>> {
    let is_left = |is_well: bool| -> Result<bool> {
        Ok(match spec["podGC"]["strategy"].as_str() {
            None => true,
            Some("OnPodCompletion") => false,
            Some("OnPodSuccess") => !is_well,
            Some("OnWorkflowCompletion") => workflow.is_none(),
            Some("OnWorkflowSuccess") => workflow != Some(true),
            Some(other) => bail!("podGC: `{other}`"),
        })
    };
    let mut names = Vec::new();
    for (name, is_well) in pods {
        if is_left(*is_well)? {
            names.push(name.as_str());
        }
    }
    Ok(names)
}

/// The generated clocks.
fn clocks() -> Result<Vec<Value>> {
    let mut objects = super::manifests(&super::LIVE)?;
    objects.retain(|object| object["kind"] == "CronWorkflow");
    Ok(objects)
}

/// Comes to a minute's time six times, with workflows that take so long.
fn minutes(cron: &Value, lasts: [u64; 6]) -> Result<(Vec<Tick>, usize, usize)> {
    let mut clock = Clock::new(cron);
    let (mut ticks, mut most) = (Vec::new(), 0);
    for (minute, lasts) in (0..).zip(lasts) {
        ticks.push(clock.tick(minute * 60, minute * 60, lasts)?);
        most = most.max(clock.active.len());
    }
    Ok((ticks, most, clock.stopped))
}

#[test]
fn tick_that_still_runs_makes_the_next_ones_be_skipped() -> Result<()> {
    use Tick::{Skipped, Started};
    let clocks = clocks()?;
    assert_eq!(clocks.len(), 3, "first training, training, scoring");
    let lasts = [10, 150, 10, 10, 10, 10];
    for cron in &clocks {
        let (ticks, most, stopped) = minutes(cron, lasts)?;
        let expected = [Started, Started, Skipped, Skipped, Started, Started];
        assert_eq!((ticks.as_slice(), most, stopped), (&expected[..], 1, 0));
    }
    // Without the policy two workflows would write one state.
    let mut other = clocks[0].clone();
    other["spec"]["concurrencyPolicy"] = "Allow".into();
    assert_eq!(minutes(&other, lasts)?.1, 2);
    other["spec"]["concurrencyPolicy"] = "Replace".into();
    assert_eq!(minutes(&other, lasts)?.2, 1, "a workflow is ended half-way");
    other["spec"]["concurrencyPolicy"] = "forbid".into();
    assert!(minutes(&other, lasts).is_err());
    Ok(())
}

#[test]
fn tick_of_a_controller_that_was_away_runs_within_its_deadline_alone() -> Result<()> {
    for cron in clocks()? {
        let name = text(&cron["metadata"]["name"])?;
        let deadline = cron["spec"]["startingDeadlineSeconds"].as_u64().unwrap_or(0);
        assert!(deadline > 0, "{name}: a tick that comes a second late would never run");
        let mut clock = Clock::new(&cron);
        assert_eq!(clock.tick(0, deadline + 1, 1)?, Tick::Missed, "{name}");
        assert_eq!(clock.tick(0, deadline, 1)?, Tick::Started, "{name}");
        if list(&cron["spec"]["schedules"]) == ["* * * * *"] {
            assert!(deadline < 60, "{name}: two ticks would wait for one another");
        }
    }
    Ok(())
}

#[test]
fn pods_that_ended_well_are_gone_at_once() -> Result<()> {
    let pods = [("collect".to_owned(), true), ("validate".to_owned(), false)];
    let mut specs: Vec<Value> =
        clocks()?.into_iter().map(|cron| cron["spec"]["workflowSpec"].clone()).collect();
    specs.retain(|spec| spec["workflowTemplateRef"].is_null());
    assert!(!specs.is_empty());
    for spec in &specs {
        for workflow in [None, Some(false)] {
            assert_eq!(left(spec, &pods, workflow)?, ["validate"], "why it failed can be read");
        }
    }
    let of = |strategy: &str, workflow| {
        left(&serde_json::json!({"podGC": {"strategy": strategy}}), &pods, workflow)
            .map(|names| names.len())
    };
    assert_eq!(left(&Value::Null, &pods, Some(true))?.len(), 2);
    assert_eq!(of("OnPodCompletion", None)?, 0);
    assert_eq!(
        (of("OnWorkflowCompletion", None)?, of("OnWorkflowCompletion", Some(false))?),
        (2, 0)
    );
    assert_eq!(
        (of("OnWorkflowSuccess", Some(false))?, of("OnWorkflowSuccess", Some(true))?),
        (2, 0)
    );
    assert!(of("OnPodSucces", None).is_err());
    Ok(())
}
