//! The order in which objects are applied to a cluster: a `CronWorkflow` must come after its
//! template. Argo ignores one that comes before, reports this only in its log, and tries again
//! after 20 minutes.

use super::objects::Objects;
use super::{Finding, Report};
use crate::cluster::{given, name_of};

/// Argo CD's annotation of the order in which objects are applied, and its default.
const SYNC_WAVE: &str = "argocd.argoproj.io/sync-wave";

pub(super) fn check(objects: &Objects, findings: &mut Vec<Finding>) {
    for (place, cron) in &objects.cron_workflows {
        let Some(reference) = &cron.spec.workflow_spec.workflow_template_ref else { continue };
        let mut report = Report { place, findings };
        let name = &reference.name;
        let is_later = objects.workflow_templates.iter().any(|(other, template)| {
            name_of(&template.metadata) == name
                && other.file == place.file
                && other.line > place.line
        });
        if is_later {
            let message = format!(
                "the CronWorkflow comes before its WorkflowTemplate `{name}`: Argo would ignore it \
                 for up to 20 minutes (sortOptions: {{order: fifo}})"
            );
            report.say("order", message);
        }
        let wave = given(cron.metadata.annotations.as_ref()).get(SYNC_WAVE);
        if wave.and_then(|wave| wave.parse::<i32>().ok()).is_none_or(|wave| wave < 1) {
            let message =
                format!("Argo CD may apply the CronWorkflow before `{name}`: set {SYNC_WAVE} to 1");
            report.say("order", message);
        }
    }
    for (place, kustomization) in &objects.kustomizations {
        if kustomization.sort_options.as_ref().is_none_or(|options| options.order != "fifo") {
            Report { place, findings }.say(
                "order",
                "kustomize would put CronWorkflows before their templates: sortOptions has to be \
                 {order: fifo}",
            );
        }
    }
}
