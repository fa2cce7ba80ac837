//! `lynceus entities`, also `lynceus containers`: the class and the declared class of each entity.

use std::path::{Path, PathBuf};

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
use crate::find as documents;
use crate::run::table;

/// What to do with entities.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum EntitiesCommand {
    /// List the entities of a `task: classify` pipeline with class, probability and declared class
    #[command(after_help = "Example: lynceus containers list --mismatch")]
    List(ListArgs),
    /// Show the probability of each class for an entity, and how far it is from the class
    #[command(after_help = "Example: lynceus containers show container shop/web-0")]
    Show {
        #[command(flatten)]
        document: DocumentArgs,
        /// Name of the entity
        entity: String,
    },
}

/// Flags of `lynceus entities list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Pipeline: the name or the path of a document [default: the only one of `task: classify`]
    #[arg(value_name = "PIPELINE")]
    pipeline: Option<String>,
    /// Apply this partial document over the document; may be repeated
    #[arg(long, value_name = "FILE")]
    overlay: Vec<PathBuf>,
    /// Set a field of the document, as in `classify.unknown.max_wrong_ratio=0.01`; may be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// Use the bundled recorded sample instead of the sources
    #[arg(long)]
    sample: bool,
    /// List only entities of this class; `unknown` is accepted
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// List only entities whose class differs from the declared one
    #[arg(long)]
    mismatch: bool,
}

impl ListArgs {
    fn document(&self, folder: &Path) -> Result<DocumentArgs, StepError> {
        Ok(DocumentArgs {
            pipeline: self.pipeline.clone().map_or_else(|| only_one(folder), Ok)?,
            overlay: self.overlay.clone(),
            set: self.set.clone(),
            sample: self.sample,
        })
    }
}

/// Returns the name of the only document of a folder that is of `task: classify`.
fn only_one(folder: &Path) -> Result<String, StepError> {
    let is_of_classes = |name: &String| {
        let document = document::read(&folder.join(format!("{name}.yaml")));
        document.is_ok_and(|document| document.classification().is_some())
    };
    let mut names = documents::names(folder);
    names.retain(is_of_classes);
    let folder = folder.display();
    match names.as_slice() {
        [name] => Ok(name.clone()),
        [] => Err(StepError::usage(format!("no document in `{folder}` is of `task: classify`"))
            .hint("name the pipeline, or say with --pipelines where documents lie")),
        names => Err(StepError::usage(format!(
            "`{folder}` has several documents of `task: classify`: {}",
            names.join(", ")
        ))
        .hint("name one of them, as in lynceus containers list NAME")),
    }
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

/// An entity and the evidence for each class.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    listed: Listed,
    classes: Vec<ShownClass>,
}

#[derive(Debug, Serialize)]
struct ShownClass {
    name: String,
    /// Probability by all windows together.
    probability: f64,
    /// Distance beyond the usual range of the class, in units of the features' spreads.
    distance: f64,
}

pub(crate) fn execute(global: &Global, command: &EntitiesCommand) -> Result<(), StepError> {
    match command {
        EntitiesCommand::List(args) => list(global, args),
        EntitiesCommand::Show { document, entity } => show(global, document, entity),
    }
}

fn list(global: &Global, args: &ListArgs) -> Result<(), StepError> {
    let context = Context::new(global, &args.document(&global.pipelines)?)?;
    let store = context.store.open()?;
    let mut listed = read(store.as_ref(), &context.document)?;
    listed.retain(|it| !args.mismatch || it.class.mismatch);
    listed.retain(|it| args.class.as_ref().is_none_or(|class| it.class.name() == class));
    match global.output() {
        OutputFormat::Json => print_json(&listed),
        OutputFormat::Text => print(&text(&listed)),
    }
}

fn show(global: &Global, args: &DocumentArgs, entity: &str) -> Result<(), StepError> {
    let context = Context::new(global, args)?;
    let store = context.store.open()?;
    let (bundle, state) = known(store.as_ref(), &context.document)?;
    let listed = find(listed(&bundle, &state, &context.document), &context.document, entity)?;
    let evidence = state.evidence.get(entity);
    let probabilities = evidence.map(|it| it.probabilities(&bundle.classify().bounds));
    let names = bundle.model().classes().iter().enumerate();
    let mut classes: Vec<ShownClass> = names
        .zip(probabilities.unwrap_or_default())
        .map(|((number, name), probability)| ShownClass {
            name: name.clone(),
            probability,
            distance: evidence.map_or(f64::INFINITY, |it| it.distance(number)),
        })
        .collect();
    classes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let shown = Shown { listed, classes };
    if global.output() == OutputFormat::Json {
        return print_json(&shown);
    }
    let mut rows = vec![["class", "probability", "distance"].map(str::to_owned).to_vec()];
    rows.extend(shown.classes.iter().map(|it| {
        let numbers = [it.probability, it.distance].map(|number| format!("{number:.3}"));
        [vec![it.name.clone()], numbers.to_vec()].concat()
    }));
    print(&format!("{}\n{}", text(&[shown.listed]), table(&rows)))
}

/// Returns an entity by name.
///
/// Errors: usage for an unknown name.
pub(super) fn find(
    mut listed: Vec<Listed>,
    document: &Document,
    entity: &str,
) -> Result<Listed, StepError> {
    if let Some(place) = listed.iter().position(|it| it.entity == entity) {
        return Ok(listed.swap_remove(place));
    }
    let name = &document.name;
    let error = StepError::usage(format!("`{name}` has no entity `{entity}`"));
    Err(match document::closest(entity, listed.iter().map(|it| it.entity.as_str())) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint(format!("`lynceus entities list {name}`")),
    })
}

/// Returns the evidence of every entity, in the order of their names.
///
/// Errors: usage for a pipeline of another task, refused if nothing was scored yet.
pub(super) fn read(store: &dyn ObjectStore, document: &Document) -> Result<Vec<Listed>, StepError> {
    let (bundle, state) = known(store, document)?;
    Ok(listed(&bundle, &state, document))
}

/// Returns the state of the last scored window, and the bundle to which it belongs.
fn known(
    store: &dyn ObjectStore,
    document: &Document,
) -> Result<(ClassBundle, ClassState), StepError> {
    let name = &document.name;
    if document.classification().is_none() {
        return Err(StepError::usage(format!(
            "`{name}` is of `task: anomaly`: its entities have no classes"
        ))
        .hint(format!("`lynceus scores {name}` shows their verdicts")));
    }
    let mut mark = watermark::read(store, name)?.map(|stored| stored.value);
    let state = ClassState::take(name, mark.as_mut())?;
    if state.summary.version.is_empty() {
        return Err(StepError::refused(format!("`{name}` has no scored window yet"))
            .hint(format!("score it with `lynceus score {name}`")));
    }
    let files = Registry::new(store, name).fetch(&state.summary.version, None)?;
    Ok((ClassBundle::from_files(&files)?, state))
}

fn listed(bundle: &ClassBundle, state: &ClassState, document: &Document) -> Vec<Listed> {
    let Some(settings) = document.classification() else { return Vec::new() };
    let listed = state.evidence.iter().map(|(entity, evidence)| Listed {
        entity: entity.clone(),
        class: entity_class(bundle, settings, entity, evidence),
        last_seen: evidence.last_seen,
    });
    listed.collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_document_of_classes_is_found_and_none_or_two_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let said = |folder: &Path| only_one(folder).unwrap_err().message;
        assert!(said(folder.path()).contains("no document"));
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (from, to) in [("container", "kinds"), ("node", "node")] {
            let to = folder.path().join(format!("{to}.yaml"));
            fs_err::copy(shipped.join(format!("{from}.yaml")), to).unwrap();
        }
        assert_eq!(only_one(folder.path()).unwrap(), "kinds");
        fs_err::copy(shipped.join("container.yaml"), folder.path().join("more.yaml")).unwrap();
        assert!(said(folder.path()).ends_with("`task: classify`: kinds, more"));
    }
}
