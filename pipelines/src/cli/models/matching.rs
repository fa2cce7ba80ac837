//! `lynceus models match`: finds the model of an entity's class, so that the detector of the class
//! can score a new entity without history.

use contract::{StepError, Timestamp};
use serde::Serialize;
use store::{ObjectStore, Registry};

use super::super::context::{Context, DocumentArgs};
use super::super::{Global, OutputFormat, entities, print, print_json};

/// Flags of `lynceus models match`.
#[derive(Debug, clap::Args)]
pub(crate) struct MatchArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// The entity, such as a pod
    entity: String,
    /// Look in this pipeline's registry, where an alias has the name of each class
    #[arg(long = "for", value_name = "PIPELINE")]
    watched_by: String,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Match {
    entity: String,
    class: String,
    probability: f64,
    pipeline: String,
    version: String,
    since: Timestamp,
}

pub(crate) fn execute(
    global: &Global,
    store: &dyn ObjectStore,
    args: &MatchArgs,
) -> Result<(), StepError> {
    let context = Context::new(global, &args.document)?;
    let listed = entities::read(store, &context.document)?;
    let found = entities::find(listed, &context.document, &args.entity)?;
    let class = found.class.class.as_ref().ok_or_else(|| {
        let why = found.class.unknown.map_or("no class fits", contract::classify::Unknown::words);
        StepError::refused(format!("the class of `{}` is unknown: {why}", args.entity))
            .hint(format!("the nearest class is `{}`", found.class.nearest))
    })?;
    let pipeline = &args.watched_by;
    let alias = Registry::new(store, pipeline).alias(class)?.ok_or_else(|| {
        StepError::refused(format!("no model of `{pipeline}` has the alias `{class}`")).hint(
            format!(
                "point it at a version: lynceus models promote {pipeline} VERSION --alias \
                     {class}"
            ),
        )
    })?;
    let matched = Match {
        entity: args.entity.clone(),
        class: class.clone(),
        probability: found.class.probability,
        pipeline: pipeline.clone(),
        version: alias.version,
        since: alias.since,
    };
    match global.output() {
        OutputFormat::Json => print_json(&matched),
        OutputFormat::Text => print(&format!(
            "{} is {} (probability {:.2})\nmodel   {} since {}\nnext    lynceus score {} --set deployment.alias={}\n",
            matched.entity,
            matched.class,
            matched.probability,
            matched.version,
            matched.since,
            matched.pipeline,
            matched.class
        )),
    }
}
