//! Which tasks of the training plan share a pod, and the inputs and outputs of each pod.
//!
//! A pod costs Argo about ten seconds. So tasks that run one after another share a pod, as a
//! container set. With one model, all tasks share one pod. With several, the tasks before and after
//! the training of models share a pod each, and each model has its own pod, so they run in
//! parallel.

use std::path::Path;

use contract::steps::StepCommand;
use contract::{Stage, StepError};
use document::Document;
use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use plan::{Plan, RUN, Task};

use super::step::{self, MAIN, Surroundings, WORK};
use super::training::{WORK_SIZE, declared};
use super::workflow::{
    Archive, Arguments, Artifact, ContainerOfSet, ContainerSet, Parameter, S3Key, Template,
    ValueFrom,
};
use super::{LIST, SHARD, SHARD_REFERENCE, resources};

/// The flags that are parameters of a workflow and go through its entrypoint's inputs.
pub(super) const PASSED: [&str; 4] = ["now", "seed", "range", "models"];

/// Tasks of a plan, by index, that run one after another in one pod.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group(Vec<usize>);

/// Returns the pods of a training: one pod; with several models one pod for the data set, one for
/// each model, and one for selection and deployment.
pub(super) fn groups(plan: &Plan) -> Vec<Group> {
    if plan.tasks.iter().filter(|task| task.model().is_some()).count() == 1 {
        return vec![Group::whole(plan)];
    }
    let mut groups: Vec<Group> = Vec::new();
    for (index, task) in plan.tasks.iter().enumerate() {
        let joins = |group: &&mut Group| {
            task.model().is_none() && group.model(plan).is_none() && !group.0.is_empty()
        };
        match groups.last_mut().filter(joins) {
            Some(group) => group.0.push(index),
            None => groups.push(Group(vec![index])),
        }
    }
    groups
}

/// Returns a task's name as Argo allows it: letters, digits and `-`.
pub(super) fn argo_name(task: &Task) -> String {
    task.name.replace('_', "-")
}

impl Group {
    /// Returns all tasks of a plan as one pod.
    pub(super) fn whole(plan: &Plan) -> Self {
        Self((0..plan.tasks.len()).collect())
    }

    fn tasks<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = &'a Task> {
        self.0.iter().map(|index| &plan.tasks[*index])
    }

    /// Returns whether the pod has one container, which has the task's own paths.
    fn is_single(&self) -> bool {
        self.0.len() == 1
    }

    /// Returns the model that the pod fits; `None` if it fits none.
    pub(super) fn model<'a>(&self, plan: &'a Plan) -> Option<&'a str> {
        self.0.first().and_then(|index| plan.tasks[*index].model())
    }

    /// Returns the name of the pod's template and task: the name of its only task, or the names of
    /// its first and last task.
    pub(super) fn name(&self, plan: &Plan) -> String {
        let names: Vec<String> = self.tasks(plan).map(argo_name).collect();
        match names.as_slice() {
            [first, .., last] => format!("{first}-{last}"),
            one => one.concat(),
        }
    }

    /// Returns the flags of its tasks that are the workflow's parameters. They go through the
    /// entrypoint's inputs: a default that is itself a reference is resolved there, and not in
    /// `workflow.parameters`.
    pub(super) fn passed(&self, plan: &Plan) -> Result<Vec<&'static str>, StepError> {
        let parameters: Vec<_> =
            self.tasks(plan).map(|task| task.command.parameters()).collect::<Result<_, _>>()?;
        let takes = |name: &&str| parameters.iter().any(|of_task| of_task.contains_key(*name));
        // The keys of its outputs contain the number of the shard.
        let shard = plan.shard().map(|_| SHARD);
        Ok(PASSED.into_iter().filter(takes).chain(shard).collect())
    }

    /// Returns the names of the pods whose outputs it reads.
    pub(super) fn needs(&self, plan: &Plan, groups: &[Self]) -> Vec<String> {
        let needed: Vec<usize> = self.0.iter().flat_map(|index| plan.needs(*index)).collect();
        let is_needed =
            |group: &&Self| *group != self && group.0.iter().any(|index| needed.contains(index));
        groups.iter().filter(is_needed).map(|group| group.name(plan)).collect()
    }

    /// Returns its input artifacts, each with the task's argument (`None` for a file that already
    /// is in the store) and the template's declaration.
    pub(super) fn inputs(
        &self,
        pipeline: &str,
        plan: &Plan,
        groups: &[Self],
    ) -> Result<Vec<(Option<Artifact>, Artifact)>, StepError> {
        let writes = |task: &Task, path: &Path| {
            task.command.outputs().iter().any(|output| output.path == path)
        };
        let mut ports = Vec::new();
        for port in self.tasks(plan).flat_map(|task| task.command.inputs()) {
            let is_own = self.tasks(plan).any(|task| writes(task, port.path));
            if port.name != "document" && !is_own && !ports.contains(&port) {
                ports.push(port);
            }
        }
        let mut found = Vec::new();
        for port in &ports {
            let path = port.path.display().to_string();
            let producer = plan.tasks.iter().position(|task| writes(task, port.path));
            let repeated = ports.iter().filter(|other| other.name == port.name).count() > 1;
            let left = port.path.strip_prefix(WORK).ok().filter(|_| producer.is_none());
            // Artifacts that the pods of a shard read from the same shard have its number in the
            // key, not in the name.
            let own = plan.shard().filter(|_| left.is_some());
            let is_run = left.is_some_and(|left| left == Path::new(RUN));
            let shard = left.and_then(|left| left.iter().next()).filter(|_| own.is_none());
            let name = match (producer, shard) {
                (Some(producer), _) if repeated => {
                    format!("{}-{}", port.name, argo_name(&plan.tasks[producer]))
                }
                (None, Some(shard)) if !is_run => format!("{}-{}", port.name, shard.display()),
                _ => port.name.to_owned(),
            };
            let optional = producer.and_then(|it| plan.tasks[it].model()).map(|_| true);
            let mut declared = Artifact {
                name: name.clone(),
                path: Some(step::input_path(&path, !self.is_single())?),
                // A model that is not selected by `models` has no candidate.
                optional,
                ..Artifact::default()
            };
            let argument = producer.and_then(|producer| {
                let group = groups.iter().find(|group| group.0.contains(&producer))?;
                let (task, port) = (group.name(plan), port.name);
                let from = Some(format!("{{{{tasks.{task}.outputs.artifacts.{port}}}}}"));
                Some(Artifact { name, from, optional, ..Artifact::default() })
            });
            if argument.is_none() {
                let key = match left {
                    // All outputs of the run so far.
                    Some(_) if is_run => run_key(pipeline).trim_end_matches('/').to_owned(),
                    // Outputs of the pods of a shard, or their inputs from earlier pods.
                    Some(left) => {
                        let below = left.display().to_string();
                        let any = format!("shard-{SHARD_REFERENCE}");
                        let below = own.map_or(below.clone(), |it| below.replace(&it.part(), &any));
                        format!("{}{below}", run_key(pipeline))
                    }
                    None => format!("inputs/{pipeline}/{}", step::external(&path)?),
                };
                declared.s3 = Some(S3Key { key: as_folder(&key, port.path) });
                declared.archive = Some(Archive::default());
            }
            found.push((argument, declared));
        }
        Ok(found)
    }

    /// Makes the template of its pod.
    pub(super) fn template(
        &self,
        document: &Document,
        plan: &Plan,
        groups: &[Self],
    ) -> Result<Template, StepError> {
        let stages: Vec<Stage> = self.tasks(plan).map(|task| task.command.stage()).collect();
        let name = self.name(plan);
        let artifacts = self.inputs(&document.name, plan, groups)?;
        let inputs = Arguments {
            parameters: declared(&self.passed(plan)?),
            artifacts: artifacts.into_iter().map(|(_, declared)| declared).collect(),
        };
        let template = Template {
            metadata: Some(step::pod_labels(&name, &stages)),
            name,
            inputs: (inputs != Arguments::default()).then_some(inputs),
            outputs: Some(Arguments {
                parameters: self.tasks(plan).filter_map(list_of_shards).collect(),
                artifacts: self.outputs(document, plan),
            }),
            active_deadline_seconds: Some(IntOrString::Int(resources::STEP_DEADLINE_SECONDS)),
            retry_strategy: Some(resources::retry()),
            ..Template::default()
        };
        let mut containers = Vec::new();
        for (index, task) in self.0.iter().map(|index| (*index, &plan.tasks[*index])) {
            let surroundings = Surroundings::of_training(document, task, !self.is_single());
            let container = step::container(task, &surroundings)?;
            if self.is_single() {
                return Ok(Template { container: Some(container), ..template });
            }
            let needs = plan.needs(index).into_iter().filter(|needed| self.0.contains(needed));
            containers.push(ContainerOfSet {
                container: Container { name: self.container(index, plan), ..container },
                dependencies: needs.map(|needed| self.container(needed, plan)).collect(),
            });
        }
        let set = ContainerSet { volume_mounts: vec![step::work_mount()], containers };
        let volumes = step::volumes(document, WORK_SIZE, &stages);
        Ok(Template {
            pod_spec_patch: step::volumes_patch(&volumes, &set)?,
            container_set: Some(set),
            ..template
        })
    }

    /// Returns the name of a container of the set: its number and its task; the last is `main`.
    fn container(&self, index: usize, plan: &Plan) -> String {
        let place = self.0.iter().position(|other| *other == index).unwrap_or_default();
        if place + 1 == self.0.len() {
            return MAIN.to_owned();
        }
        format!("{}-{}", place + 1, argo_name(&plan.tasks[index]))
    }

    /// Returns the results of its tasks in the store, beginning with the outcomes.
    fn outputs(&self, document: &Document, plan: &Plan) -> Vec<Artifact> {
        let mut artifacts = Vec::new();
        for task in self.tasks(plan) {
            let folder = plan.shard().map(|_| format!("shard-{SHARD_REFERENCE}/"));
            let mut of_task = output_artifacts(document, task, &folder.unwrap_or_default());
            if !self.is_single() {
                of_task[0].name = format!("outcome-{}", argo_name(task));
            }
            artifacts.extend(of_task);
        }
        artifacts
    }
}

/// Returns the output parameter with the list of shards, for a task that writes the list.
pub(super) fn list_of_shards(task: &Task) -> Option<Parameter> {
    let StepCommand::Collect(args) = &task.command else { return None };
    let path = args.numbers.as_ref()?.display().to_string();
    Some(Parameter {
        name: LIST.to_owned(),
        value_from: Some(ValueFrom { path }),
        global_name: Some(LIST.to_owned()),
        ..Parameter::default()
    })
}

/// Returns a key that ends with `/` for a folder: without it Argo treats the folder as a file.
fn as_folder(key: &str, path: &Path) -> String {
    let slash = if path.extension().is_none() { "/" } else { "" };
    format!("{key}{slash}")
}

/// Returns the key of the folder of a run.
pub(super) fn run_key(pipeline: &str) -> String {
    format!("runs/{pipeline}/{{{{workflow.uid}}}}/")
}

/// Returns the outputs of a task in the store, under the same keys as in the folder of a local run.
///
/// The outcome and reports come first: Argo uploads in this order, also after a failure.
pub(super) fn output_artifacts(document: &Document, task: &Task, folder: &str) -> Vec<Artifact> {
    // The record of a run is in the folder of its tasks.
    let below = |path: &Path| match path.strip_prefix(WORK).unwrap_or(path).to_str() {
        Some("record") | None => String::new(),
        Some(below) => as_folder(below, path),
    };
    let artifact = |name: &str, path: &Path| Artifact {
        name: name.to_owned(),
        path: Some(path.display().to_string()),
        s3: Some(S3Key { key: format!("{}{folder}{}", run_key(&document.name), below(path)) }),
        archive: Some(Archive::default()),
        ..Artifact::default()
    };
    let mut ports = task.command.outputs();
    let is_report = |path: &Path| path.extension().is_some_and(|extension| extension == "json");
    ports.sort_by_key(|port| !is_report(port.path));
    let outcome = step::outcome(task);
    let mut artifacts = vec![artifact("outcome", Path::new(&outcome))];
    artifacts.extend(ports.iter().map(|port| artifact(port.name, port.path)));
    artifacts
}
