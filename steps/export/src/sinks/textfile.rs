//! The sink `textfile`: the Prometheus text format, for files that the textfile collector of
//! `node_exporter` reads.

use std::path::{Path, PathBuf};

use contract::{Shard, StepError, artifact};
use document::sinks::textfile::TextfileSink;

use super::{Batch, Failure, Opener, Sink};
use crate::metrics::{CLASS_METRICS, Kind, METRICS, Sample, Series};

/// A file.
#[derive(Debug)]
struct Textfile {
    path: PathBuf,
}

impl Opener for TextfileSink {
    fn open(&self, _: &str, folder: &Path) -> Result<Box<dyn Sink>, StepError> {
        Ok(Box::new(Textfile { path: folder.join(&self.path) }))
    }
}

impl Textfile {
    /// Returns the file of a shard: each writes its own file, and the collector reads all.
    fn of_shard(&self, shard: Shard) -> PathBuf {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}-{}", shard.part());
        match self.path.extension() {
            // If the stem has a dot, `with_extension` would replace the shard.
            Some(extension) => {
                self.path.with_file_name(format!("{name}.{}", extension.to_string_lossy()))
            }
            None => self.path.with_file_name(name),
        }
    }
}

impl Sink for Textfile {
    /// Replaces the file by one with the last window, and with the last drift report.
    fn publish(&mut self, batch: &Batch<'_>) -> Result<usize, Failure> {
        let series = Series { pipeline: batch.pipeline, shard: batch.store.shard() };
        let last = batch.windows.last().into_iter();
        let mut samples: Vec<Sample> = last.flat_map(|window| series.of_window(window)).collect();
        if let Some(end) = &batch.end {
            samples
                .extend(end.drift.iter().flat_map(|drift| series.of_drift(drift, end.scored_to)));
            samples.extend(series.of_run(end));
        }
        let path =
            batch.store.shard().map_or_else(|| self.path.clone(), |shard| self.of_shard(shard));
        artifact::write_file(&path, text(&samples).as_bytes()).map_err(|error| Failure {
            is_final: false,
            kind: "file".to_owned(),
            error,
        })?;
        Ok(samples.len())
    }

    fn is_snapshot(&self) -> bool {
        true
    }
}

/// Writes samples with their help and type; without timestamps, which the collector does not
/// accept.
fn text(samples: &[Sample]) -> String {
    let mut text = String::new();
    for metric in METRICS.iter().chain(&CLASS_METRICS) {
        let mut of_metric = samples.iter().filter(|it| it.metric() == metric.name).peekable();
        if of_metric.peek().is_none() {
            continue;
        }
        let kind = match metric.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        text.push_str(&format!("# HELP {0} {1}\n# TYPE {0} {kind}\n", metric.name, metric.help));
        for sample in of_metric {
            let labels = sample.labels.iter().filter(|(name, _)| **name != "__name__");
            let labels: Vec<String> =
                labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
            text.push_str(&format!("{}{{{}}} {}\n", metric.name, labels.join(","), sample.value));
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_has_a_file_of_its_own_also_where_the_name_has_dots() {
        let shard: Shard = "1/4".parse().unwrap();
        for (path, expected) in [
            ("m/lynceus.prom", "m/lynceus-shard-1.prom"),
            ("m/node.a.prom", "m/node.a-shard-1.prom"),
            ("m/plain", "m/plain-shard-1"),
        ] {
            let file = Textfile { path: path.into() };
            assert_eq!(file.of_shard(shard), Path::new(expected));
        }
    }
}
