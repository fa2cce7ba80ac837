//! `lynceus entities`: which class each entity is, and what it declares.

use contract::classify::EntityClass;
use contract::score::entity_words;
use contract::{StepError, Timestamp};
use document::Document;
use models::classify::ClassBundle;
use score::classify::{ClassState, entity_class};
use serde::Serialize;
use store::{ObjectStore, Registry, watermark};

use super::context::{Context, DocumentArgs};
use super::{Global, OutputFormat, print, print_json};
use crate::run::table;

/// What to do with entities.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum EntitiesCommand {
    /// List the entities of a `task: classify` pipeline with class, probability and declared class
    #[command(after_help = "Example: lynceus entities list container --mismatch")]
    List {
        #[command(flatten)]
        document: DocumentArgs,
        /// List only entities of this class; `unknown` is accepted
        #[arg(long, value_name = "CLASS")]
        class: Option<String>,
        /// List only entities whose class differs from the declared one
        #[arg(long)]
        mismatch: bool,
    },
}

/// An entity and its class.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    pub(super) entity: String,
    #[serde(flatten)]
    pub(super) class: EntityClass,
    /// End of its last window.
    pub(super) last_seen: Timestamp,
}

pub(crate) fn execute(global: &Global, command: &EntitiesCommand) -> Result<(), StepError> {
    let EntitiesCommand::List { document, class, mismatch } = command;
    let context = Context::new(global, document)?;
    let store = context.store.open()?;
    let mut listed = read(store.as_ref(), &context.document)?;
    listed.retain(|it| !*mismatch || it.class.mismatch);
    listed.retain(|it| class.as_ref().is_none_or(|class| it.class.name() == class));
    match global.output() {
        OutputFormat::Json => print_json(&listed),
        OutputFormat::Text => print(&text(&listed)),
    }
}

/// Returns what is known of every entity, in the order of their names.
///
/// Errors: usage for a pipeline of another task, refused where nothing was scored yet.
pub(super) fn read(store: &dyn ObjectStore, document: &Document) -> Result<Vec<Listed>, StepError> {
    let name = &document.name;
    let settings = document.classification().ok_or_else(|| {
        StepError::usage(format!("`{name}` is of `task: anomaly`: its entities have no classes"))
            .hint(format!("`lynceus scores {name}` shows their verdicts"))
    })?;
    let mut mark = watermark::read(store, name)?.map(|stored| stored.value);
    let state = ClassState::take(name, mark.as_mut())?;
    if state.summary.version.is_empty() {
        return Err(StepError::refused(format!("`{name}` has no scored window yet"))
            .hint(format!("`lynceus score {name}` does it")));
    }
    let files = Registry::new(store, name).fetch(&state.summary.version, None)?;
    let bundle = ClassBundle::from_files(&files)?;
    let listed = state.evidence.iter().map(|(entity, evidence)| Listed {
        entity: entity.clone(),
        class: entity_class(&bundle, settings, entity, evidence),
        last_seen: evidence.last_seen,
    });
    Ok(listed.collect())
}

fn text(listed: &[Listed]) -> String {
    let head = ["entity", "class", "probability", "declares", "since", "windows", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(listed.iter().map(|Listed { entity, class, .. }| {
        vec![
            entity_words(entity).to_owned(),
            class.name().to_owned(),
            format!("{:.2}", class.probability),
            class.declared.clone().unwrap_or_else(|| "-".to_owned()),
            class.since.to_string(),
            class.windows.to_string(),
            note(class),
        ]
    }));
    let mismatches = listed.iter().filter(|it| it.class.mismatch).count();
    let unknown = listed.iter().filter(|it| it.class.class.is_none()).count();
    format!(
        "{}\n{} entities, {unknown} unknown, {mismatches} not what they declare\n",
        table(&rows),
        listed.len()
    )
}

fn note(class: &EntityClass) -> String {
    let mut notes = Vec::new();
    if class.mismatch {
        notes.push("mismatch".to_owned());
    }
    notes.extend(class.unknown.map(|why| format!("{}, nearest {}", why.words(), class.nearest)));
    notes.join("; ")
}
