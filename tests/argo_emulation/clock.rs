//! Emulates `CronWorkflows` in Argo's controller: which scheduled times start a workflow while others
//! still run, and after the controller was down; and which pods of a workflow are kept.

use anyhow::{Result, bail};
use serde_json::Value;

use super::text::{list, text};

/// Result of a scheduled time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tick {
    Started,
    /// `Forbid`: another workflow still runs.
    Skipped,
    /// The controller restarted after `startingDeadlineSeconds`.
    Missed,
}

/// A `CronWorkflow` in the controller. Times are seconds.
pub(super) struct Clock<'a> {
    spec: &'a Value,
    /// End times of the running workflows.
    active: Vec<u64>,
    /// How many workflows `Replace` has stopped early.
    stopped: usize,
}

impl<'a> Clock<'a> {
    pub(super) fn new(cron: &'a Value) -> Self {
        Self { spec: &cron["spec"], active: Vec::new(), stopped: 0 }
    }

    /// Processes a scheduled time, possibly late, with a workflow of this duration.
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

/// Returns the pods that are kept, with their logs, according to `podGC` and the results of the
/// pods and of the workflow.
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

/// What Argo adds to each pod: its start, until the first container runs, and the time until the
/// controller notices the pod's end (its default requeue time is 10 s). Seconds, as measured.
const START_SECONDS: u64 = 5;
const REQUEUE_SECONDS: u64 = 10;

/// Returns the seconds that a template's pod takes if the step with the longest deadline hangs;
/// later steps do not run.
fn hung_pod_seconds(template: &Value) -> Result<u64> {
    let set = list(&template["containerSet"]["containers"]).iter();
    let mut longest = 0;
    for container in set.chain(template.get("container")) {
        let arguments = list(&container["args"]);
        let Some(at) = arguments.iter().position(|it| it == "--deadline") else { continue };
        let deadline: contract::Span =
            text(&arguments[at + 1])?.parse().map_err(anyhow::Error::msg)?;
        longest = longest.max(u64::try_from(deadline.ms())? / 1000);
    }
    Ok(START_SECONDS + longest + REQUEUE_SECONDS)
}

/// Returns the seconds of a tick in which a step hangs, and every pod that follows the failure.
fn hung_tick_seconds(spec: &Value) -> Result<u64> {
    let named = |name: &Value| list(&spec["templates"]).iter().find(|it| it["name"] == *name);
    let of = |name: &Value| hung_pod_seconds(named(name).unwrap_or(&Value::Null));
    let last = named(&spec["onExit"]).map_or(&Value::Null, |it| &it["dag"]["tasks"]);
    let last: Vec<u64> =
        list(last).iter().map(|task| of(&task["template"])).collect::<Result<_>>()?;
    let is_side_by_side = spec["parallelism"].as_u64().is_none_or(|most| most >= last.len() as u64);
    let ending = if is_side_by_side { last.iter().max().copied() } else { Some(last.iter().sum()) };
    Ok(of(&spec["entrypoint"])? + ending.unwrap_or(0))
}

#[test]
fn tick_in_which_everything_hangs_ends_before_the_next_one_starts() -> Result<()> {
    let sink = "exports.mimir.remote_write.url=http://mimir.observability.svc:9009/api/v1/push";
    for sets in [vec![], vec![sink]] {
        let objects = super::manifests(&[&super::LIVE[..], &sets].concat())?;
        let cron = super::text::find(&objects, "CronWorkflow", "lynceus-cluster-score")?;
        let spec = &cron["spec"]["workflowSpec"];
        let seconds = hung_tick_seconds(spec)?;
        assert!((40..=60).contains(&seconds), "{sets:?}: {seconds} s");
        let mut slow = spec.clone();
        slow["parallelism"] = 1.into();
        assert_eq!(hung_tick_seconds(&slow)? > 60, !sets.is_empty(), "two pods in turn");
    }
    Ok(())
}

/// The generated `CronWorkflows`.
fn clocks() -> Result<Vec<Value>> {
    let mut objects = super::manifests(&super::LIVE)?;
    objects.retain(|object| object["kind"] == "CronWorkflow");
    Ok(objects)
}

/// Processes six minutes, with workflows of these durations.
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
fn running_tick_skips_the_next_ones() -> Result<()> {
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
fn succeeded_pods_are_removed_at_once() -> Result<()> {
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
