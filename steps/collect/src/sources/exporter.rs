//! The source `exporter`: scrapes endpoints itself.

mod exposition;
mod rules;
mod scrape;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use contract::{StepError, Timestamp};
use document::HttpUrl;
use document::sources::{Entity, ExporterSource};
use frames::samples::SampleRows;
use fs_err as fs;

use crate::recorded;
use crate::source::{Live, Opening, Source, Taken};
use exposition::Scrape;
use rules::Previous;

/// Opens what was recorded of the source.
pub(crate) fn open<'a>(
    settings: &'a ExporterSource,
    opening: &Opening<'a>,
) -> Result<Box<dyn Source + 'a>, StepError> {
    let columns = settings.metrics.iter().map(|metric| metric.name.clone()).collect();
    let (pipeline, source) = (opening.document.name.as_str(), opening.name);
    recorded::open(pipeline, source, columns, opening)
}

/// The endpoints as they are now, and what each said the last time.
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
        (field, folder): (&str, &Path),
    ) -> Result<Self, StepError> {
        let client = scrape::Client::new(settings, field, folder)?;
        let previous = HashMap::new();
        Ok(Self { settings, entity, folder: folder.to_owned(), client, previous })
    }

    /// Returns the URLs of all endpoints, each once.
    fn endpoints(&self) -> Result<Vec<HttpUrl>, StepError> {
        let mut endpoints = self.settings.endpoints.clone();
        if let Some(url) = &self.settings.service {
            endpoints.extend(scrape::addresses(url)?);
        }
        if let Some(file) = &self.settings.file {
            let path = self.folder.join(file);
            let text =
                fs::read_to_string(&path).map_err(|error| StepError::reading(&path, &error))?;
            let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            for line in lines.filter(|line| !line.is_empty()) {
                endpoints.push(line.parse().map_err(|error| {
                    StepError::usage(format!("`{}`: a line {error}", path.display()))
                        .hint("the file has one URL a line, such as http://localhost:9100/metrics")
                })?);
            }
        }
        endpoints.sort();
        endpoints.dedup();
        Ok(endpoints)
    }

    /// Returns the entity of an endpoint: a label of its info metric, or its host and port.
    fn name(&self, url: &HttpUrl, scrape: &Scrape) -> String {
        let info = scrape.samples.iter().find(|sample| sample.name == self.settings.info);
        let label =
            info.and_then(|info| self.entity.labels.iter().find_map(|label| info.label(label)));
        let name = label.map_or_else(|| scrape::host_and_port(url), str::to_owned);
        self.entity.rename(&name).to_owned()
    }
}

impl Live for Exporter<'_> {
    fn columns(&self) -> Vec<String> {
        self.settings.metrics.iter().map(|metric| metric.name.clone()).collect()
    }

    /// Scrapes all endpoints at once; one that fails has no row, and says why in `failures`.
    fn take(&mut self, time: Timestamp) -> Result<Taken, StepError> {
        let endpoints = self.endpoints()?;
        let settings = self.settings;
        let wants =
            move |name: &str| name == settings.info || rules::wants(&settings.metrics, name);
        let replies = self.client.scrape(&endpoints, &wants);
        let mut taken = Taken::default();
        let mut rows: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
        for (url, reply) in endpoints.iter().zip(replies) {
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
            let values = rules::values(&settings.metrics, &scrape, time, previous);
            if rows.contains_key(&entity) {
                taken.failures.push(format!(
                    "`{url}`: another endpoint is the entity `{entity}` as well; this one is left out"
                ));
                continue;
            }
            rows.insert(entity, values);
        }
        self.previous.retain(|url, _| endpoints.contains(url));
        taken.rows = rows_of(rows, self.settings.metrics.len(), time);
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
