//! `lynceus features show`: the features of a group, its days, and its users.

use contract::catalog::{GroupVersion, Part};
use contract::{StepError, units};
use serde::Serialize;
use store::Catalog;

use super::super::context::StorePlace;
use super::super::{Global, OutputFormat, print, print_json};
use super::uses::{self, Use};
use super::{GroupArgs, backfill};
use crate::run::table;

/// A version with its days and its users.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    version: GroupVersion,
    /// URL of the parts, for other programs.
    url: String,
    parts: Vec<Part>,
    /// Missing days between the first and the last.
    missing: Vec<String>,
    uses: Vec<Use>,
}

pub(super) fn execute(
    global: &Global,
    place: &StorePlace,
    catalog: Catalog<'_>,
    args: &GroupArgs,
) -> Result<(), StepError> {
    let version = args.find(catalog)?;
    let parts = catalog.parts(&version.group, version.version)?;
    let mut uses = uses::of(global, place, Some(&version.group))?;
    uses.retain(|it| it.version == version.version);
    let shown = Shown {
        url: catalog.url(&version.group, version.version),
        missing: backfill::gaps(&parts),
        version,
        parts,
        uses,
    };
    match global.output() {
        OutputFormat::Json => print_json(&shown),
        OutputFormat::Text => print(&text(&shown)),
    }
}

fn text(shown: &Shown) -> String {
    let Shown { version, url, parts, missing, uses } = shown;
    let contract = &version.contract;
    let origin = &version.origin;
    let mut facts = vec![
        ["group", &version.group].map(str::to_owned).to_vec(),
        vec!["version".to_owned(), format!("{} ({})", version.version, version.why)],
        vec!["made by".to_owned(), format!("{} run {}", origin.pipeline, origin.run)],
        vec!["step".to_owned(), contract.step.to_string()],
        vec!["contract".to_owned(), version.contract_sha256.clone()],
        vec!["parts".to_owned(), url.clone()],
    ];
    let tags = version.tags.join(", ");
    let said = [("about", &version.description), ("owner", &version.owner), ("tags", &tags)];
    let said = said.into_iter().filter(|(_, text)| !text.is_empty());
    facts.extend(said.map(|(name, text)| vec![name.to_owned(), text.clone()]));
    let mut columns = vec![["feature", "unit", "formula"].map(str::to_owned).to_vec()];
    columns.extend(
        contract
            .columns
            .iter()
            .map(|it| vec![it.name.clone(), it.unit.clone(), it.formula.clone()]),
    );
    let head = ["date", "rows", "entities", "size", "whole", "sha256", "run"];
    let mut days = vec![head.map(str::to_owned).to_vec()];
    days.extend(parts.iter().map(|part| {
        let origin = part.origin.as_ref();
        vec![
            part.date.clone(),
            part.rows.to_string(),
            part.entities.to_string(),
            units::bytes(part.size_bytes),
            if part.is_whole { "yes" } else { "no" }.to_owned(),
            part.sha256.chars().take(12).collect(),
            origin.map_or_else(String::new, |it| format!("{}/{}", it.pipeline, it.run)),
        ]
    }));
    let mut text = format!("{}\n{}\n{}", table(&facts), table(&columns), table(&days));
    if !missing.is_empty() {
        text.push_str(&format!("\nmissing days: {}\n", missing.join(", ")));
    }
    if !uses.is_empty() {
        text.push_str(&format!("\n{}", uses::text(uses)));
    }
    text
}
