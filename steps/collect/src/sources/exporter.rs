//! The source `exporter`: scrapes endpoints itself.

mod exposition;
mod rules;
mod scrape;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use contract::{StepError, Timestamp};
use document::HttpUrl;
use document::sources::Entity;
use document::sources::exporter::ExporterSource;
use frames::samples::{SampleRows, text_number};
use fs_err as fs;

use crate::recorded;
use crate::source::{Live, LiveOpening, Opener, Opening, Raw, Recorded, Source, Taken};
use exposition::{Sample, Scrape};
use rules::Previous;

impl Opener for ExporterSource {
    /// Opens the recorded samples of the source.
    fn open<'a>(&'a self, opening: Opening<'a>) -> Result<Box<dyn Source + 'a>, StepError> {
        let columns = columns(self, &opening.settings.entity);
        let (pipeline, source) = (opening.document.name.as_str(), opening.name);
        recorded::open(pipeline, source, columns, &opening)
    }

    fn live<'a>(
        &'a self,
        opening: LiveOpening<'a>,
    ) -> Result<Option<Box<dyn Live + 'a>>, StepError> {
        let field = format!("sources.{}.exporter", opening.name);
        let entity = &opening.settings.entity;
        Ok(Some(Box::new(Exporter::new(self, entity, &field, opening.folder)?)))
    }

    fn raw<'a>(&'a self, own: Recorded<'a>) -> Option<Raw<'a>> {
        Some(Raw::Segments(own))
    }
}

/// Returns the columns of the metrics, and then those of texts.
fn columns(settings: &ExporterSource, entity: &Entity) -> Vec<String> {
    settings.metrics.iter().map(|metric| &metric.name).chain(entity.texts.keys()).cloned().collect()
}

/// Labels of an endpoint.
type Labels = BTreeMap<String, String>;

/// The current endpoints, with the last reply of each.
pub(crate) struct Exporter<'a> {
    settings: &'a ExporterSource,
    entity: &'a Entity,
    /// Folder that the file of endpoints is relative to.
    folder: PathBuf,
    client: scrape::Client,
    /// By URL.
    previous: HashMap<HttpUrl, Previous>,
}

impl<'a> Exporter<'a> {
    /// Prepares scraping; nothing is sent yet.
    pub(crate) fn new(
        settings: &'a ExporterSource,
        entity: &'a Entity,
        field: &str,
        folder: &Path,
    ) -> Result<Self, StepError> {
        let client = scrape::Client::new(settings, field, folder)?;
        let previous = HashMap::new();
        Ok(Self { settings, entity, folder: folder.to_owned(), client, previous })
    }

    /// Returns all endpoints, each once, with the labels that the file of endpoints gives them.
    fn endpoints(&self) -> Result<BTreeMap<HttpUrl, Labels>, StepError> {
        let mut urls = self.settings.endpoints.clone();
        if let Some(url) = &self.settings.service {
            urls.extend(scrape::addresses(url)?);
        }
        let mut endpoints: BTreeMap<HttpUrl, Labels> =
            urls.into_iter().map(|url| (url, Labels::new())).collect();
        let Some(file) = &self.settings.file else { return Ok(endpoints) };
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path).map_err(|error| StepError::reading(&path, &error))?;
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(url) = words.next() else { continue };
            let wrong = |what: String| {
                StepError::usage(format!("`{}`: {what}", path.display())).hint(
                    "the file has one URL a line, such as http://localhost:9100/metrics, and labels behind it, such as role=worker",
                )
            };
            let url = url.parse().map_err(|error| wrong(format!("a line {error}")))?;
            let label = |word: &str| {
                let label =
                    word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
                label.ok_or_else(|| wrong(format!("`{word}` is not a label and its value")))
            };
            let labels = words.map(label).collect::<Result<Labels, _>>()?;
            endpoints.insert(url, labels);
        }
        Ok(endpoints)
    }

    /// Returns the entity of an endpoint: a label of its info metric, or its host and port.
    fn name<'s>(&self, url: &HttpUrl, scrape: &'s Scrape) -> String {
        let labels = &self.entity.labels;
        let of = |info: &'s Sample| labels.iter().find_map(|label| info.label(label));
        let label = self.info(scrape).and_then(of);
        let name = label.map_or_else(|| scrape::host_and_port(url), str::to_owned);
        self.entity.rename(&name).to_owned()
    }

    fn info<'s>(&self, scrape: &'s Scrape) -> Option<&'s Sample> {
        scrape.samples.iter().find(|sample| sample.name == self.settings.info)
    }

    /// Returns the values of the columns of texts: of the endpoint's labels, or its info metric's.
    fn texts(&self, labels: &Labels, scrape: &Scrape) -> Vec<Option<f64>> {
        let info = self.info(scrape);
        let value = |label: &String| {
            let of_endpoint = labels.get(label).map(String::as_str);
            of_endpoint.or_else(|| info?.label(label)).and_then(text_number)
        };
        self.entity.texts.values().map(value).collect()
    }
}

impl Live for Exporter<'_> {
    fn columns(&self) -> Vec<String> {
        columns(self.settings, self.entity)
    }

    /// Scrapes all endpoints in parallel; an endpoint that fails has no row, and its cause is in
    /// `failures`.
    fn take(&mut self, time: Timestamp) -> Result<Taken, StepError> {
        let endpoints = self.endpoints()?;
        let settings = self.settings;
        let wants =
            move |name: &str| name == settings.info || rules::wants(&settings.metrics, name);
        let urls: Vec<&HttpUrl> = endpoints.keys().collect();
        let replies = self.client.scrape(&urls, &wants);
        let mut taken = Taken::default();
        let mut rows: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
        for ((url, labels), reply) in endpoints.iter().zip(replies) {
            let scrape = match reply {
                Ok(scrape) => scrape,
                Err(why) => {
                    taken.failures.push(format!("`{url}`: {why}"));
                    continue;
                }
            };
            if scrape.duplicates > 0 {
                taken.failures.push(format!(
                    "`{url}`: {} series were sent twice; the first value counts",
                    scrape.duplicates
                ));
            }
            let entity = self.name(url, &scrape);
            let previous = self.previous.entry(url.clone()).or_default();
            let mut values = rules::values(&settings.metrics, &scrape, time, previous);
            values.extend(self.texts(labels, &scrape));
            if rows.contains_key(&entity) {
                taken.failures.push(format!(
                    "`{url}`: another endpoint is the entity `{entity}` as well; this one is left out"
                ));
                continue;
            }
            rows.insert(entity, values);
        }
        self.previous.retain(|url, _| endpoints.contains_key(url));
        taken.rows = rows_of(rows, self.columns().len(), time);
        Ok(taken)
    }
}

fn rows_of(
    values: BTreeMap<String, Vec<Option<f64>>>,
    columns: usize,
    time: Timestamp,
) -> SampleRows {
    let mut rows = SampleRows { columns: vec![Vec::new(); columns], ..SampleRows::default() };
    for (entity, values) in values {
        rows.times.push(time);
        rows.entities.push(entity);
        rows.columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
    rows
}
