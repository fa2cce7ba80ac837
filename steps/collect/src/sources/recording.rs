//! The source `recording`: replays a server's replies; and `--record`, which keeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use contract::{StepError, artifact};
use document::sources::recording::RecordingSource;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use fs_err as fs;

use crate::range::ChunkPlan;
use crate::source::{Opener, Opening, Source};
use crate::sources::prometheus::chunk::Chunk;
use crate::sources::prometheus::column::Column;
use crate::sources::prometheus::reply::{self, LabelSet, Point, Reply};
use crate::sources::prometheus::request::{LONGEST_REPLY_BYTES, seconds};
use crate::sources::queries::{Answers, Queries};

/// A folder with recorded replies.
#[derive(Debug)]
pub(crate) struct Recording {
    files: Vec<PathBuf>,
}

impl Opener for RecordingSource {
    fn has_replies(&self) -> bool {
        true
    }

    /// Opens the source: finds the reply of each query.
    fn open<'a>(&'a self, mut opening: Opening<'a>) -> Result<Box<dyn Source + 'a>, StepError> {
        let folder = opening.take_data()?;
        let queries = &opening.settings.queries;
        let names: Vec<&str> = queries.iter().map(|query| query.name.as_str()).collect();
        Ok(Box::new(Queries::new(Recording::open(&folder, &names)?, opening)))
    }
}

impl Recording {
    fn open(folder: &Path, names: &[&str]) -> Result<Self, StepError> {
        drop(fs::read_dir(folder).map_err(|error| StepError::reading(folder, &error))?);
        let find = |query: &&str| {
            let names = [".json.gz", ".json"].map(|ending| format!("{query}{ending}"));
            let found = names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
            found.ok_or_else(|| {
                StepError::usage(format!(
                    "`{}` has no reply to query `{query}`: neither `{}` nor `{}`",
                    folder.display(),
                    names[0],
                    names[1]
                ))
                .hint("record again with `collect --record DIR`")
            })
        };
        Ok(Self { files: names.iter().map(find).collect::<Result<_, _>>()? })
    }
}

impl Answers for Recording {
    /// Replays all chunks in order, as if they were requested now.
    ///
    /// Each chunk reads the files again, so that a long recording needs no more memory than a
    /// short one; points outside the chunk are dropped at once.
    fn for_each_chunk(
        &self,
        mut plan: ChunkPlan,
        write: &mut dyn FnMut(Chunk) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        while let Some(grid) = plan.next() {
            let mut replies = Vec::with_capacity(self.files.len());
            for path in &self.files {
                let mut reply = read_reply(path)?;
                for series in &mut reply.series {
                    series.points.retain(|p| grid.covers(p.time_ms));
                    series.points.shrink_to_fit();
                }
                // A server does not mention a series that has no point in the range.
                reply.series.retain(|series| !series.points.is_empty());
                replies.push(reply);
            }
            plan.learn(replies.iter().map(|reply| reply.series.len()).max().unwrap_or(0));
            write(Chunk::whole(grid, replies))?;
        }
        Ok(())
    }
}

fn read_reply(path: &Path) -> Result<Reply, StepError> {
    let mut body = fs::read(path).map_err(|error| StepError::reading(path, &error))?;
    if body.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        let longest = LONGEST_REPLY_BYTES as u64;
        let mut unpacked = MultiGzDecoder::new(body.as_slice()).take(longest + 1);
        unpacked.read_to_end(&mut plain).map_err(|error| {
            StepError::refused(format!("cannot unpack `{}`: {error}", path.display())).hint(
                "the \
                recording is truncated or damaged: copy it again, or record again with `collect \
                --record DIR`",
            )
        })?;
        if plain.len() as u64 > longest {
            return Err(StepError::refused(format!(
                "`{}` decompresses to more than {longest} bytes",
                path.display()
            ))
            .hint("replies are never this long: record again with `collect --record DIR`"));
        }
        body = plain;
    }
    reply::parse(&body).map_err(|error| {
        StepError::refused(format!("`{}`: {error}", path.display()))
            .hint("record again with `collect --record DIR`")
    })
}

/// Keeps the replies of a server, to be written as one reply per query.
///
/// This holds all points in memory: 16 bytes each.
#[derive(Debug)]
pub(crate) struct Recorder {
    names: Vec<String>,
    kept: Vec<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    series: BTreeMap<LabelSet, Vec<Point>>,
    warnings: BTreeSet<String>,
    infos: BTreeSet<String>,
}

impl Recorder {
    /// Starts a recording that will be written to `folder`, which may contain only an earlier
    /// recording.
    pub(crate) fn new(folder: &Path, columns: &[Column]) -> Result<Self, StepError> {
        let entries = match artifact::files_below(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(StepError::writing(folder, &error)),
        };
        let is_reply = |name: &String| {
            let name = name.strip_suffix(".gz").unwrap_or(name);
            name.strip_suffix(".json").is_some_and(|name| !name.contains('/'))
        };
        if let Some(other) = entries.iter().find(|name| !is_reply(name)) {
            return Err(StepError::usage(format!(
                "`{}` holds `{other}`, which is not a recorded reply and would be deleted",
                folder.display()
            ))
            .hint("record into another folder"));
        }
        let names = columns.iter().map(|column| column.name.clone()).collect();
        Ok(Self { names, kept: columns.iter().map(|_| Kept::default()).collect() })
    }

    /// Keeps a chunk's replies.
    pub(crate) fn keep(&mut self, chunk: &Chunk) {
        for (kept, reply) in self.kept.iter_mut().zip(&chunk.replies) {
            for series in &reply.series {
                let points = kept.series.entry(series.labels.clone()).or_default();
                points.extend_from_slice(&series.points);
            }
            kept.warnings.extend(reply.warnings.iter().cloned());
            kept.infos.extend(reply.infos.iter().cloned());
        }
    }

    /// Writes the folder atomically.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), StepError> {
        artifact::write_folder(folder, |partial| {
            for (name, kept) in self.names.iter().zip(&self.kept) {
                let path = partial.join(format!("{name}.json.gz"));
                let mut packed = GzEncoder::new(Vec::new(), Compression::default());
                let written = packed.write_all(kept.body()?.as_bytes());
                let bytes = written.and_then(|()| packed.finish());
                let bytes = bytes.map_err(|error| StepError::writing(&path, &error))?;
                artifact::write_file(&path, &bytes)?;
            }
            Ok(())
        })
    }
}

impl Kept {
    /// Returns the reply in Prometheus' format, byte for byte.
    fn body(&self) -> Result<String, StepError> {
        let mut body =
            String::from(r#"{"status":"success","data":{"resultType":"matrix","result":["#);
        for (index, (labels, points)) in self.series.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            body.extend([comma, r#"{"metric":"#, &json(labels)?, r#","values":["#]);
            for (index, point) in points.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                let (time, value) = (seconds(point.time_ms), GoFloat(point.value));
                // Writing to a String cannot fail.
                write!(body, r#"{comma}[{time},"{value}"]"#).unwrap_or_default();
            }
            body.push_str("]}");
        }
        body.push_str("]}");
        for (name, texts) in [("warnings", &self.warnings), ("infos", &self.infos)] {
            if !texts.is_empty() {
                body.extend([r#",""#, name, r#"":"#, &json(texts)?]);
            }
        }
        body.push('}');
        Ok(body)
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StepError> {
    serde_json::to_string(value).map_err(|e| StepError::bug(format!("cannot write JSON: {e}")))
}

/// A number as Go's `strconv.FormatFloat(v, 'f', -1, 64)` writes it: the fewest digits that parse
/// to the same number, without exponent.
struct GoFloat(f64);

impl std::fmt::Display for GoFloat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            value if value == f64::INFINITY => f.write_str("+Inf"),
            value if value == f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sources::prometheus::reply::Series;

    fn kept(series: Series) -> Kept {
        let mut kept = Kept::default();
        kept.series.insert(series.labels, series.points);
        kept
    }

    #[test]
    fn a_reply_is_written_as_prometheus_writes_it() {
        let values =
            [(1000, 1.0), (2500, f64::NAN), (3000, f64::NEG_INFINITY), (4000, 1e21), (5000, 1e-7)];
        let body = kept(Series::new(&[("a", "x\"y")], &values)).body().unwrap();
        assert_eq!(
            body,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"x\"y"},"values":[[1,"1"],[2.500,"NaN"],[3,"-Inf"],[4,"1000000000000000000000"],[5,"0.0000001"]]}]}}"#
        );
    }

    #[test]
    fn a_folder_with_anything_else_in_it_is_not_recorded_into() {
        let temp = tempfile::tempdir().unwrap();
        artifact::write_file(&temp.path().join("a.json"), b"{}").unwrap();
        Recorder::new(temp.path(), &[]).unwrap();
        artifact::write_file(&temp.path().join("thesis.txt"), b"").unwrap();
        let error = Recorder::new(temp.path(), &[]).unwrap_err();
        assert!(error.message.contains("thesis.txt"));
    }

    proptest! {
        #[test]
        fn recorded_reply_is_read_back_unchanged(
            times in proptest::collection::btree_set(-1_000_000_000_i64..4_000_000_000_000, 1..50),
            values in proptest::collection::vec(any::<f64>(), 50),
        ) {
            let points: Vec<(i64, f64)> = times.into_iter().zip(values).collect();
            let series = Series::new(&[("node", "a")], &points);
            let reply = reply::parse(kept(series).body().unwrap().as_bytes()).unwrap();
            for (point, (time_ms, value)) in reply.series[0].points.iter().zip(&points) {
                prop_assert_eq!(point.time_ms, *time_ms);
                prop_assert!(point.value.is_nan() == value.is_nan());
                prop_assert!(value.is_nan() || point.value.to_bits() == value.to_bits());
            }
        }
    }
}
