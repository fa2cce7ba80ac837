//! The source `kubernetes`: the current pods or nodes of a cluster, from its API.
//!
//! The API has no history. Image and owner of a pod apply from its start to its end, and the labels
//! of a node from its creation on; deleted objects are not listed.

mod api;
mod images;
mod kubeconfig;
mod objects;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use contract::deadline::waits_for;
use contract::{Outcome, Span, StepError, Timestamp};
use document::http::Http;
use document::sources::Entity;
use document::sources::kubernetes::{KubernetesObjects, KubernetesSource, PodColumn, PodLabel};
use frames::samples::{SampleRows, text_number};

use crate::range::Due;
use crate::source::{Each, Opener, Opening, Source, Stop};
use api::{Api, Listed};
use images::Images;
use objects::{Metadata, Node, Pod};

/// Rows that are passed on at a time.
const BLOCK_ROWS: usize = 16 * 1024;

/// The pods of a cluster.
struct Kubernetes<'a> {
    server: &'a Http<KubernetesSource>,
    settings: &'a KubernetesSource,
    entity: &'a Entity,
    field: String,
    folder: PathBuf,
    due: Due,
    step: Span,
    is_scoring: bool,
    requests: usize,
    /// Pods or nodes that have a row.
    objects: usize,
    without_size: usize,
    warnings: Vec<String>,
}

impl Opener for Http<KubernetesSource> {
    /// Opens the source; nothing is sent yet.
    fn open<'a>(&'a self, opening: Opening<'a>) -> Result<Box<dyn Source + 'a>, StepError> {
        let settings = self;
        Ok(Box::new(Kubernetes {
            server: settings,
            settings: &settings.own,
            entity: &opening.settings.entity,
            field: opening.field("kubernetes"),
            folder: opening.folder.to_owned(),
            due: opening.due,
            step: opening.document.step,
            is_scoring: opening.is_scoring,
            requests: 0,
            objects: 0,
            without_size: 0,
            warnings: Vec::new(),
        }))
    }
}

impl Source for Kubernetes<'_> {
    fn columns(&self) -> Vec<String> {
        let columns = self.pod_columns().iter().map(|column| column.name().to_owned());
        columns.chain(self.entity.texts.keys().cloned()).collect()
    }

    fn is_labelled(&self) -> bool {
        !self.lists_nodes()
    }

    fn describes(&self) -> bool {
        true
    }

    fn rows(&mut self, each: &mut Each<'_>) -> Result<(), Stop> {
        let (field, folder) = (self.field.clone(), self.folder.clone());
        let mut api = Api::new(&field, self.server, &folder)?;
        waits_for(&format!("the source `{}`", api.shown()));
        let read = self.read(&mut api);
        self.requests = api.requests;
        let mut rows = read?;
        self.objects = rows.len();
        rows.sort_by(|a, b| (a.time, &a.entity).cmp(&(b.time, &b.entity)));
        for block in rows.chunks(BLOCK_ROWS) {
            each(self.block(block))?;
        }
        Ok(())
    }

    fn finish(&mut self, outcome: &mut Outcome) -> Result<(), StepError> {
        self.warnings.iter().for_each(|warning| outcome.warn(warning));
        if self.lists_nodes() {
            outcome.count("nodes", self.objects);
        } else {
            outcome.count("pods", self.objects);
            outcome.count("pods_without_image_size", self.without_size);
        }
        if self.objects == 0 && !self.is_scoring {
            return Err(StepError::refused(self.nothing())
                .hint("check `namespaces` and `selector` of the source"));
        }
        Ok(())
    }

    fn diagnosis(&self) -> Option<String> {
        (self.objects == 0).then(|| self.nothing())
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        [("requests", self.requests)].into()
    }
}

/// A row: the columns of a pod from a time on.
struct Row {
    time: Timestamp,
    entity: String,
    label: String,
    values: Vec<Option<f64>>,
}

impl Kubernetes<'_> {
    fn nothing(&self) -> String {
        if self.lists_nodes() {
            return format!("`{}`: the cluster lists no node", self.field);
        }
        format!("`{}`: no pod with the given namespaces and labels is running", self.field)
    }

    fn lists_nodes(&self) -> bool {
        self.settings.objects == KubernetesObjects::Nodes
    }

    fn pod_columns(&self) -> &[PodColumn] {
        if self.lists_nodes() { &[] } else { &self.settings.columns }
    }

    /// Returns the rows of the nodes: their labels as texts.
    fn read_nodes(&self, api: &mut Api<'_>) -> Result<Vec<Row>, StepError> {
        let nodes: Vec<Node> = api.list(&Listed::nodes(self.settings))?;
        let row = |node: &Node| {
            Some(Row {
                time: self.time(node.metadata.created().unwrap_or(self.due.after))?,
                entity: self.entity.rename(&node.metadata.name).to_owned(),
                label: String::new(),
                values: self.texts(&node.metadata),
            })
        };
        Ok(nodes.iter().filter_map(row).collect())
    }

    /// Returns the values of the columns of texts: of an object's labels. The value of a label
    /// without a value, such as `node-role.kubernetes.io/control-plane`, is its name.
    fn texts(&self, metadata: &Metadata) -> Vec<Option<f64>> {
        let value = |label: &String| {
            let text = metadata.labels.get(label)?;
            text_number(text).or_else(|| text_number(label))
        };
        self.entity.texts.values().map(value).collect()
    }

    /// Returns the end of the first window in which an object existed; `None` for an object that
    /// was created later.
    fn time(&self, since: Timestamp) -> Option<Timestamp> {
        let floor = since.floor(self.step);
        let own = if floor == since { since } else { floor + self.step };
        let time = own.max(self.due.after.floor(self.step) + self.step);
        (time <= self.due.end).then_some(time)
    }

    fn read(&mut self, api: &mut Api<'_>) -> Result<Vec<Row>, StepError> {
        if self.lists_nodes() {
            return self.read_nodes(api);
        }
        let wants_size = self.settings.columns.contains(&PodColumn::ImageSizeBytes);
        let nodes: Vec<Node> =
            if wants_size { api.list(&Listed::nodes(self.settings))? } else { Vec::new() };
        let images = Images::of(&nodes);
        let mut pods: Vec<Pod> = Vec::new();
        for listed in Listed::pods(self.settings) {
            pods.append(&mut api.list(&listed)?);
        }
        let mut names = BTreeSet::new();
        let (mut rows, mut twice) = (Vec::new(), 0);
        self.without_size = 0;
        for pod in &pods {
            let Some(started) = pod.started() else { continue };
            let Some(row) = self.row(pod, started, &images) else { continue };
            if !names.insert(row.entity.clone()) {
                twice += 1;
                continue;
            }
            rows.push(row);
        }
        self.warnings.clear();
        if twice > 0 {
            self.warnings.push(format!(
                "{twice} pods have the name of another: `sources.*.entity` makes them one; the first counts"
            ));
        }
        if self.without_size > 0 {
            self.warnings.push(format!(
                "{} of {} pods have no image size: a node lists its 50 largest images only",
                self.without_size,
                rows.len()
            ));
        }
        Ok(rows)
    }

    /// Returns the row of a pod at the first window in which it existed; `None` for a pod that
    /// started later.
    fn row(&mut self, pod: &Pod, started: Timestamp, images: &Images) -> Option<Row> {
        let time = self.time(started)?;
        let name = format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
        let value = |column: &PodColumn| match column {
            PodColumn::ImageSizeBytes => pod.main().and_then(|main| images.size(pod, main)),
            PodColumn::Containers => Some(pod.spec.containers.len() as f64),
            PodColumn::Restarts => Some(pod.restarts()),
        };
        let mut values: Vec<Option<f64>> = self.settings.columns.iter().map(value).collect();
        let sizes = self.settings.columns.iter().zip(&values);
        let is_without = |(column, value): (&PodColumn, &Option<f64>)| {
            *column == PodColumn::ImageSizeBytes && value.is_none()
        };
        self.without_size += usize::from(sizes.into_iter().any(is_without));
        values.extend(self.texts(&pod.metadata));
        let label = match &self.settings.label {
            PodLabel::Image => pod.main().map(|main| main.image.clone()),
            PodLabel::Owner => pod.owner(),
            PodLabel::PodLabel(label) => pod.metadata.labels.get(label).cloned(),
        };
        Some(Row {
            time,
            entity: self.entity.rename(&name).to_owned(),
            label: label.unwrap_or_default(),
            values,
        })
    }

    fn block(&self, rows: &[Row]) -> SampleRows {
        SampleRows {
            times: rows.iter().map(|row| row.time).collect(),
            entities: rows.iter().map(|row| row.entity.clone()).collect(),
            labels: rows.iter().map(|row| row.label.clone()).collect(),
            columns: (0..self.columns().len())
                .map(|column| rows.iter().map(|row| row.values[column]).collect())
                .collect(),
        }
    }
}
