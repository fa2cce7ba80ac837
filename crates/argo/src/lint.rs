//! Finds errors in manifests that a cluster would reject or run wrongly, without a cluster.
//!
//! The published schemas of Argo Workflows and Kubernetes define the fields of every object
//! (`schema`). For the objects of Lynceus, which its labels mark, other rules are checked too: every
//! reference resolves, flags parse, ports match, and Pod Security `restricted` admits the pods.

mod agent;
mod cluster;
mod commands;
mod graph;
mod network;
mod objects;
mod order;
mod patches;
mod references;
mod schema;
mod secrets;
mod security;
mod serving;
mod settings;
mod values;
mod volumes;
mod wiring;

use std::net::SocketAddr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Volume, VolumeMount};
use serde::Serialize;

use super::PIPELINE;
use super::cluster::given;
use super::step::MAIN;
use super::workflow::{Template, WorkflowSpec};
use objects::{Held, Objects};

/// An error in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// Line and column, from 1, if the error is at one place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<(u64, u64)>,
    /// The object, as `kind/name`, and the part of it that is wrong.
    pub object: String,
    /// The violated rule, in one word.
    pub rule: &'static str,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        if !self.object.is_empty() {
            write!(f, " {}:", self.object)?;
        }
        write!(f, " {} [{}]", self.message, self.rule)
    }
}

/// A file to check: its name and its text.
#[derive(Debug, Clone)]
pub struct File {
    /// The name, for messages.
    pub name: String,
    /// The text.
    pub text: String,
}

/// What the flags of a long-running program say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The address at which it answers.
    pub address: SocketAddr,
    /// The file with the token that its clients must have.
    pub token_file: Option<PathBuf>,
}

/// Reads the flags of a program, without its name.
pub type ReadFlags = fn(&[String]) -> Result<Service, clap::Error>;

/// The command lines of the long-running programs, which other crates define.
#[derive(Debug, Clone, Copy)]
pub struct Programs {
    /// Reads the flags of `agent`.
    pub agent: ReadFlags,
    /// Reads the flags of `serve`.
    pub serve: ReadFlags,
}

/// Returns whether a text is a manifest rather than a pipeline document.
pub fn is_manifest(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("apiVersion:") || line.starts_with("kind:"))
}

/// Checks manifests, each by itself and all together. References to a kind of which no object was
/// given are not checked.
pub fn check(files: &[File], programs: &Programs) -> Vec<Finding> {
    let mut findings = Vec::new();
    let objects = Objects::read(files, &mut findings);
    for held in objects.workflows() {
        let mut report = Report { place: held.place, findings: &mut findings };
        workflow(&held, &objects, &mut report);
    }
    for (place, cron) in &objects.cron_workflows {
        let mut report = Report { place, findings: &mut findings };
        settings::cron(cron, &mut report);
        references::cron(cron, &objects, &mut report);
    }
    settings::mutexes(&objects, &mut findings);
    order::check(&objects, &mut findings);
    patches::check(&objects, &mut findings);
    cluster::check(&objects, &mut findings);
    network::check(&objects, &mut findings);
    serving::check(&objects, programs, &mut findings);
    agent::check(&objects, programs, &mut findings);
    findings
}

fn workflow(held: &Held<'_>, objects: &Objects, report: &mut Report<'_>) {
    let spec = held.spec;
    let document = objects.document(spec).map(|document| document.name);
    let pipeline = document.or_else(|| given(held.metadata.labels.as_ref()).get(PIPELINE).cloned());
    settings::workflow(spec, report);
    graph::workflow(spec, report);
    references::workflow(spec, held.is_clock, report);
    security::workflow(spec, report);
    volumes::workflow(spec, report);
    values::pods(spec, report);
    wiring::workflow(spec, pipeline.as_deref(), report);
    secrets::named(spec, pipeline.as_deref(), objects, report);
    for template in &spec.templates {
        settings::template(spec, template, report);
        security::template(template, report);
        commands::template(spec, template, objects, report);
    }
    cluster::workflow(spec, objects, report);
}

/// Position of an object in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) object: String,
    /// Lines of the file before the object.
    pub(super) line: usize,
}

/// Collects the findings of one object.
pub(super) struct Report<'a> {
    place: &'a Place,
    findings: &'a mut Vec<Finding>,
}

impl Report<'_> {
    fn say(&mut self, rule: &'static str, message: impl Into<String>) {
        self.findings.push(Finding {
            file: self.place.file.clone(),
            place: None,
            object: self.place.object.clone(),
            rule,
            message: message.into(),
        });
    }
}

fn template_named<'a>(spec: &'a WorkflowSpec, name: &str) -> Option<&'a Template> {
    spec.templates.iter().find(|template| template.name == name)
}

/// A container of a template, with the volumes of its workflow.
#[derive(Clone, Copy)]
struct Mounted<'a> {
    spec: &'a WorkflowSpec,
    template: &'a Template,
    container: &'a Container,
}

impl<'a> Mounted<'a> {
    /// Returns its name with that of its template.
    fn owner(self) -> String {
        owner(self.template, self.container)
    }

    /// Returns its mounts, and those of all containers of its pod.
    fn mounts(self) -> impl Iterator<Item = &'a VolumeMount> {
        let shared = self.template.container_set.iter().flat_map(|set| &set.volume_mounts);
        self.container.volume_mounts.iter().flatten().chain(shared)
    }

    /// Returns its mounts, each with its volume.
    fn volumes(self) -> impl Iterator<Item = (&'a VolumeMount, &'a Volume)> {
        self.mounts().filter_map(move |mount| {
            let volume = self.spec.volumes.iter().find(|volume| volume.name == mount.name)?;
            Some((mount, volume))
        })
    }
}

/// Returns the name of a container, with that of its template.
fn owner(template: &Template, container: &Container) -> String {
    let name = if container.name.is_empty() { MAIN } else { &container.name };
    format!("{}/{name}", template.name)
}

/// Returns the containers of a template, with their names.
fn containers(template: &Template) -> Vec<(&str, &Container)> {
    let one = template.container.iter().map(|container| (MAIN, container));
    let set = template.container_set.iter().flat_map(|set| &set.containers);
    let set = set.map(|of_set| &of_set.container);
    one.chain(set.map(|container| (container.name.as_str(), container))).collect()
}
