//! Tables of flows: records of connections, as flow tools write them.
//!
//! `records` finds the format (`dialect`) and the fields of each record, `flow` makes a flow of
//! them, `windows` sums up the flows of a source in a window. The file is read once for rows about
//! sources, and twice for rows about flows, which also have the sums of their source.

mod bad_rows;
mod dialect;
mod flow;
mod json;
mod records;
mod windows;

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;

use contract::{Outcome, Span, StepError, Timestamp};
use document::sources::Entity;
use document::sources::flows::FlowRows;
use document::sources::table::TableSource;
use frames::samples::SampleRows;

use self::bad_rows::BadRows;
use self::dialect::{Dialect, Field};
use self::flow::{Flow, Maker, Protocol};
use self::records::{Counts, FlowFile, OTHER, count};
use self::windows::{Blocks, Windows, flow_values};
use super::cells::Cells;
use super::sink::BLOCK_ROWS;
use super::sort::Sorter;
use crate::range::Due;
use crate::source::{Each, Opening, Source, Stop};

/// A table of flows to be read.
#[derive(Debug)]
struct Flows<'a> {
    path: PathBuf,
    file: FlowFile<'a>,
    settings: &'a TableSource,
    entity: &'a Entity,
    step: Span,
    due: Due,
    is_scoring: bool,
    scratch: PathBuf,
    /// The columns that the format can fill, with their index among all columns.
    columns: Vec<(usize, String)>,
    seen: Seen,
}

/// Statistics of a file.
#[derive(Debug, Default)]
struct Seen {
    bad: BadRows,
    counts: Counts,
    flows: usize,
    outside: usize,
}

/// Opens the source: finds the format.
pub(super) fn open<'a>(
    settings: &'a TableSource,
    mut opening: Opening<'a>,
) -> Result<Box<dyn Source + 'a>, StepError> {
    let path = opening.take_data()?;
    if super::is_parquet(&path) {
        return Err(StepError::usage(format!(
            "`{}`: a Parquet file is a table of samples, not a file of a flow tool",
            path.display()
        ))
        .hint("remove `table.format`, and set `time`, `entity` and `columns`"));
    }
    let file = FlowFile::open(&path, settings)?;
    let all = settings.flows.column_names().into_iter().map(|(name, ..)| name).enumerate();
    let has_cluster = !settings.flows.cluster.is_empty();
    let fills = |name: &str| file.dialect.is_none_or(|dialect| dialect.fills(name, has_cluster));
    let columns = all.filter(|(_, name)| fills(name)).collect();
    if let Some(dialect) = file.dialect {
        tracing::info!(format = dialect.name, "The table holds flows");
    }
    Ok(Box::new(Flows {
        path,
        file,
        settings,
        entity: &opening.settings.entity,
        step: opening.document.step,
        due: opening.due,
        is_scoring: opening.is_scoring,
        scratch: opening.work.to_owned(),
        columns,
        seen: Seen::default(),
    }))
}

impl Dialect {
    /// Returns whether the format has the fields that a column needs.
    fn fills(&self, column: &str, has_cluster: bool) -> bool {
        let any = |fields: &[Field]| fields.iter().any(|field| self.has(*field));
        let is_directed = column.contains("sent_") || column.contains("received_");
        let bytes = if is_directed {
            any(&[Field::SentBytes])
        } else {
            any(&[Field::SentBytes, Field::Bytes])
        };
        let packets = any(&[Field::SentPackets, Field::Packets]) || self.is_packets;
        let is_timed = any(&[Field::Duration]) || self.has(Field::Start) && self.has(Field::End);
        let is_of_flow = ["bytes_per_second", "packets_per_second"].contains(&column);
        let needs = [
            (column.contains("byte"), bytes),
            (column.contains("packet"), packets),
            (column.contains("duration") || is_of_flow, is_timed),
            (column.contains("cluster"), has_cluster && self.has(Field::Source)),
            (column.contains("syn_only"), any(&[Field::Flags, Field::State, Field::Syn])),
            (column.contains("failed"), any(&[Field::State, Field::Verdict])),
            (column == "source_port", self.has(Field::SourcePort)),
        ];
        needs.into_iter().all(|(needs, has)| !needs || has)
    }
}

impl Source for Flows<'_> {
    fn columns(&self) -> Vec<String> {
        self.columns.iter().map(|(_, name)| name.clone()).collect()
    }

    fn is_labelled(&self) -> bool {
        self.file.is_labelled
    }

    fn rows(&mut self, each: &mut Each<'_>) -> Result<(), Stop> {
        let mut cluster = Blocks::new(&self.settings.flows.cluster);
        let mut windows = Windows::default();
        self.seen = self.read(&mut |end, flow| {
            windows.add(end, flow, &mut cluster);
            Ok(())
        })?;
        match self.settings.flows.rows {
            FlowRows::Source => Ok(self.source_rows(&windows, each)?),
            FlowRows::Flow => self.flow_rows(&windows, &mut cluster, each),
        }
    }

    fn finish(&mut self, outcome: &mut Outcome) -> Result<(), StepError> {
        if let Some(warning) = self.seen.bad.warning(&self.path) {
            outcome.warn(warning);
        }
        if self.seen.flows > 0 || self.is_scoring {
            return Ok(());
        }
        let path = self.path.display();
        if self.seen.outside == 0 {
            return Err(StepError::refused(format!("`{path}` has no flow"))
                .hint("use a file with at least one flow below its header"));
        }
        Err(StepError::refused(format!(
            "all {} flows of `{path}` lie outside the range from `{}` to `{}`",
            self.seen.outside, self.due.after, self.due.end
        ))
        .hint("set another evaluation time with `--now TIME`, or a longer `range`"))
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = self.seen.counts.clone();
        counts.insert("flows", self.seen.flows);
        counts.insert("bad_rows", usize::try_from(self.seen.bad.count).unwrap_or(usize::MAX));
        counts.insert("flows_outside_range", self.seen.outside);
        counts
    }
}

impl Flows<'_> {
    /// Passes each due flow to `each`, with the end of its window.
    fn read(
        &self,
        each: &mut dyn FnMut(Timestamp, &Flow) -> Result<(), StepError>,
    ) -> Result<Seen, StepError> {
        let mut seen = Seen::default();
        let Some(dialect) = self.file.dialect else { return Ok(seen) };
        let cells = Cells::new(self.settings)?;
        let maker = Maker {
            dialect,
            cells: &cells,
            has_own_times: self.settings.time_format != document::sources::table::TimeFormat::Auto,
            sampling: f64::from(self.settings.flows.sampling),
        };
        let mut services = Blocks::new(&self.settings.flows.services);
        let mut reports = dialect.has(Field::IsFinal).then(Reports::default);
        let mut counts = Counts::new();
        let most = self.settings.flows.max_bad_rows;
        let read = self.file.read(&mut |line, fields| {
            let made = fields.and_then(|fields| {
                let get = |wanted: Field| {
                    let found = fields.iter().find(|(field, _)| *field == wanted);
                    found.map(|(_, text)| text.trim())
                };
                maker.flow(&get)
            });
            let flow = match made {
                Ok(Some(flow)) => flow,
                Ok(None) => {
                    count(&mut counts, OTHER);
                    return Ok(());
                }
                Err(message) => return seen.bad.note(&self.path, line, &message, most),
            };
            if [&flow.source, &flow.destination].iter().any(|it| services.contain(it) == Some(true))
            {
                count(&mut counts, "service_flows");
                return Ok(());
            }
            let flow = match &mut reports {
                Some(reports) => reports.since_last(flow),
                None => flow,
            };
            let end = window_end(flow.end, self.step);
            if !self.due.contains(end) {
                seen.outside += 1;
                return Ok(());
            }
            seen.flows += 1;
            each(end, &flow)
        })?;
        for (name, more) in read {
            *counts.entry(name).or_default() += more;
        }
        seen.counts = counts;
        Ok(seen)
    }

    fn empty(&self) -> SampleRows {
        SampleRows { columns: vec![Vec::new(); self.columns.len()], ..SampleRows::default() }
    }

    fn push(&self, rows: &mut SampleRows, key: RowKey, values: &[Option<f64>]) {
        rows.times.push(key.time);
        rows.entities.push(key.entity);
        rows.labels.push(key.label);
        for ((place, _), column) in self.columns.iter().zip(&mut rows.columns) {
            column.push(values.get(*place).copied().flatten());
        }
    }

    fn source_rows(&self, windows: &Windows, each: &mut Each<'_>) -> Result<(), StepError> {
        let mut rows = self.empty();
        for (end, group) in windows.groups() {
            let entity = self.entity.rename(&group.name).to_owned();
            let label = group.label(&self.settings.flows.normal);
            let key = RowKey { time: end, entity, label };
            self.push(&mut rows, key, &group.values(self.step));
            if rows.times.len() == BLOCK_ROWS {
                each(std::mem::replace(&mut rows, self.empty()))?;
            }
        }
        each(rows)
    }

    fn flow_rows(
        &self,
        windows: &Windows,
        cluster: &mut Blocks,
        each: &mut Each<'_>,
    ) -> Result<(), Stop> {
        let mut sorter = Sorter::new(&self.scratch);
        let mut rows = self.empty();
        let mut names = Names::default();
        // The sums of a source are the same for all its flows of a window.
        let mut known: HashMap<(Timestamp, String), Vec<Option<f64>>> = HashMap::new();
        self.read(&mut |end, flow| {
            let of_source = known.entry((end, flow.source.clone())).or_insert_with(|| {
                let group = windows.group(end, &flow.source);
                group.map(|group| group.values(self.step).to_vec()).unwrap_or_default()
            });
            let mut values = flow_values(flow, cluster).to_vec();
            values.extend_from_slice(of_source);
            let entity = names.name(end, flow);
            let key = RowKey { time: end, entity, label: flow.label.clone() };
            self.push(&mut rows, key, &values);
            if rows.times.len() == BLOCK_ROWS {
                sorter.add(std::mem::replace(&mut rows, self.empty()))?;
            }
            Ok(())
        })?;
        sorter.add(rows)?;
        sorter.finish(&mut |rows| Ok(each(rows)?))
    }
}

/// Whose row it is, of which window, and its label.
struct RowKey {
    time: Timestamp,
    entity: String,
    label: String,
}

/// Returns the end of the window that a time belongs to.
fn window_end(time: Timestamp, step: Span) -> Timestamp {
    let floor = time.floor(step);
    if floor == time { floor } else { floor + step }
}

/// Gives flows of one window different names.
#[derive(Debug, Default)]
struct Names {
    /// Flows of a name and window, by their hash.
    seen: HashMap<u64, u32>,
}

impl Names {
    fn name(&mut self, end: Timestamp, flow: &Flow) -> String {
        let port = |port: Option<u16>| port.map(|port| format!(":{port}")).unwrap_or_default();
        let protocol = match flow.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Icmp => "icmp",
            Protocol::Other => "other",
        };
        let (source, destination) = (flow.entity(), &flow.destination);
        let (from, to) = (port(flow.source_port), port(flow.destination_port));
        let name = format!("{source}{from}>{destination}{to}/{protocol}");
        let mut hasher = DefaultHasher::new();
        (end, &name).hash(&mut hasher);
        let number = self.seen.entry(hasher.finish()).or_default();
        *number += 1;
        if *number == 1 { name } else { format!("{name}#{number}") }
    }
}

/// The last report on each open flow: reports have totals since the flow began.
#[derive(Debug, Default)]
struct Reports {
    last: HashMap<String, [f64; 7]>,
}

impl Reports {
    /// Returns a flow with the differences since the previous report.
    fn since_last(&mut self, mut flow: Flow) -> Flow {
        let Some(id) = flow.id.take() else { return flow };
        let mut last = self.last.get(&id).copied().unwrap_or_default();
        let values = [
            &mut flow.bytes,
            &mut flow.sent_bytes,
            &mut flow.received_bytes,
            &mut flow.packets,
            &mut flow.sent_packets,
            &mut flow.received_packets,
            &mut flow.duration_seconds,
        ];
        for (value, last) in values.into_iter().zip(&mut last) {
            if let Some(value) = value {
                let total = value.max(*last);
                *value = total - *last;
                *last = total;
            }
        }
        self.last.insert(id, last);
        flow
    }
}
