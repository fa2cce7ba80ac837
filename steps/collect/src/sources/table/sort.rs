//! Sorts rows by time in bounded memory: an external merge sort (Knuth, The Art of Computer
//! Programming 3, section 5.4).
//!
//! Rows are collected into runs that fit into memory, each run is sorted and written to an unlinked
//! file, and the runs are merged. Rows of one time keep the order of the table.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{BufReader, BufWriter, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use contract::{StepError, Timestamp};
use frames::samples::SampleRows;
use fs_err as fs;

use super::sink::BLOCK_ROWS;
use crate::source::Stop;

/// Number of cells of a run, which is in memory while it is collected: 64 MiB.
const RUN_CELLS: usize = 8 << 20;
/// Cells of a row in addition to its samples: time, entity, label, and overhead.
const KEY_CELLS: usize = 7;
/// The bits of a gap in a file: a `NaN` that arithmetic never produces.
const GAP_BITS: u64 = 0x7ff8_6761_7000_0001;

/// Accepts rows in any order, and returns them in order of time.
#[derive(Debug)]
pub(super) struct Sorter {
    /// Folder in which the files of the runs are created.
    folder: PathBuf,
    names: Names,
    /// The run that is being collected: a row has its time, its entity and label, and its samples.
    rows: Vec<Row>,
    columns: usize,
    runs: Vec<fs::File>,
    run_cells: usize,
}

/// Texts by number, so that each is in memory once.
#[derive(Debug, Default)]
struct Names {
    texts: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Names {
    fn number(&mut self, text: String) -> u32 {
        if let Some(number) = self.numbers.get(&text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    fn text(&self, number: u32) -> String {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        self.texts.get(index).cloned().unwrap_or_default()
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    time: Timestamp,
    entity: u32,
    label: u32,
    values: Vec<u64>,
}

impl Sorter {
    /// Makes a sorter with its files in a folder.
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            names: Names::default(),
            rows: Vec::new(),
            columns: 0,
            runs: Vec::new(),
            run_cells: RUN_CELLS,
        }
    }

    /// Adds rows.
    pub(super) fn add(&mut self, rows: SampleRows) -> Result<(), StepError> {
        self.columns = rows.columns.len();
        let texts = rows.entities.into_iter().zip(rows.labels);
        for (index, (time, (entity, label))) in rows.times.into_iter().zip(texts).enumerate() {
            let bits = |column: &Vec<Option<f64>>| column[index].map_or(GAP_BITS, f64::to_bits);
            let values = rows.columns.iter().map(bits).collect();
            let (entity, label) = (self.names.number(entity), self.names.number(label));
            self.rows.push(Row { time, entity, label, values });
        }
        if self.cells() >= self.run_cells {
            self.end_run()?;
        }
        Ok(())
    }

    /// Returns how many cells are in memory.
    fn cells(&self) -> usize {
        self.rows.len() * (self.columns + KEY_CELLS)
    }

    fn end_run(&mut self) -> Result<(), StepError> {
        self.rows.sort_by_key(|row| row.time);
        let path = self.folder.join(format!(".run.{}.partial", self.runs.len()));
        let failed = |error: std::io::Error| StepError::writing(&path, &error);
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&path).map_err(failed)?;
        // An unlinked file is removed by the system when this process ends for any reason.
        fs::remove_file(&path).map_err(failed)?;
        let mut writer = BufWriter::new(file);
        for row in self.rows.drain(..) {
            row.write(&mut writer).map_err(failed)?;
        }
        let mut file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
        file.rewind().map_err(failed)?;
        self.runs.push(file);
        Ok(())
    }

    /// Passes all rows to `each`, in order of time.
    pub(super) fn finish(
        mut self,
        each: &mut dyn FnMut(SampleRows) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if self.runs.is_empty() {
            self.rows.sort_by_key(|row| row.time);
            let rows = std::mem::take(&mut self.rows);
            for rows in rows.chunks(BLOCK_ROWS) {
                each(self.block(rows))?;
            }
            return Ok(());
        }
        self.end_run()?;
        let mut readers: Vec<BufReader<fs::File>> =
            std::mem::take(&mut self.runs).into_iter().map(BufReader::new).collect();
        let mut heads = BinaryHeap::new();
        for (run, reader) in readers.iter_mut().enumerate() {
            heads.extend(Head::read(run, reader, self.columns)?.map(Reverse));
        }
        let mut block = Vec::with_capacity(BLOCK_ROWS);
        while let Some(Reverse(Head { run, row })) = heads.pop() {
            block.push(row);
            if block.len() == BLOCK_ROWS {
                each(self.block(&block))?;
                block.clear();
            }
            heads.extend(Head::read(run, &mut readers[run], self.columns)?.map(Reverse));
        }
        each(self.block(&block))
    }

    fn block(&self, rows: &[Row]) -> SampleRows {
        let value = |bits: u64| (bits != GAP_BITS).then(|| f64::from_bits(bits));
        SampleRows {
            times: rows.iter().map(|row| row.time).collect(),
            entities: rows.iter().map(|row| self.names.text(row.entity)).collect(),
            labels: rows.iter().map(|row| self.names.text(row.label)).collect(),
            columns: (0..self.columns)
                .map(|column| rows.iter().map(|row| value(row.values[column])).collect())
                .collect(),
        }
    }
}

/// The next row of a run.
#[derive(Debug)]
struct Head {
    run: usize,
    row: Row,
}

impl Head {
    fn read(
        run: usize,
        reader: &mut BufReader<fs::File>,
        columns: usize,
    ) -> Result<Option<Self>, StepError> {
        let row = Row::read(reader, columns).map_err(|error| {
            StepError::unavailable(format!("cannot read sorted rows again: {error}"))
                .hint("check that the disk of the temporary folder exists and is not full")
        })?;
        Ok(row.map(|row| Self { run, row }))
    }

    fn key(&self) -> (Timestamp, usize) {
        // Rows of one time from an earlier run come first in the table.
        (self.row.time, self.run)
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Row {
    fn write(&self, file: &mut impl std::io::Write) -> std::io::Result<()> {
        file.write_all(&self.time.ms().to_le_bytes())?;
        file.write_all(&self.entity.to_le_bytes())?;
        file.write_all(&self.label.to_le_bytes())?;
        self.values.iter().try_for_each(|bits| file.write_all(&bits.to_le_bytes()))
    }

    fn read(file: &mut BufReader<fs::File>, columns: usize) -> std::io::Result<Option<Self>> {
        let mut long = [0; 8];
        match file.read_exact(&mut long) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let time = Timestamp::from_ms(i64::from_le_bytes(long));
        let mut short = [0; 4];
        file.read_exact(&mut short)?;
        let entity = u32::from_le_bytes(short);
        file.read_exact(&mut short)?;
        let label = u32::from_le_bytes(short);
        let mut values = Vec::with_capacity(columns);
        for _ in 0..columns {
            file.read_exact(&mut long)?;
            values.push(u64::from_le_bytes(long));
        }
        Ok(Some(Self { time, entity, label, values }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(times: &[i64]) -> SampleRows {
        let mut rows = SampleRows { columns: vec![Vec::new(); 2], ..SampleRows::default() };
        for (number, time) in times.iter().enumerate() {
            rows.times.push(Timestamp::from_ms(*time));
            rows.entities.push(format!("e{}", number % 3));
            rows.labels.push(String::new());
            rows.columns[0].push(Some(number as f64));
            rows.columns[1].push(match number % 3 {
                0 => None,
                1 => Some(f64::NAN),
                _ => Some(f64::NEG_INFINITY),
            });
        }
        rows
    }

    #[test]
    fn sorter_holds_no_more_than_a_run_however_many_rows_come() {
        let (temp, run_cells) = (tempfile::tempdir().unwrap(), 1000);
        let mut sorter = Sorter { run_cells, ..Sorter::new(temp.path()) };
        let block = rows(&(0..50).rev().collect::<Vec<_>>());
        let (block_cells, mut most) = (50 * (2 + KEY_CELLS), 0);
        for _ in 0..400 {
            sorter.add(block.clone()).unwrap();
            most = most.max(sorter.cells());
        }
        assert!(most < run_cells && run_cells < most + block_cells, "{most}");
        let (mut count, mut longest, mut last) = (0, 0, i64::MIN);
        let merged = sorter.finish(&mut |rows| {
            assert!(rows.times.is_sorted() && rows.times.first().is_none_or(|it| it.ms() >= last));
            last = rows.times.last().map_or(last, |time| time.ms());
            longest = longest.max(rows.times.len());
            count += rows.times.len();
            Ok(())
        });
        assert!(merged.is_ok());
        assert_eq!(count, 400 * 50);
        assert!(longest <= BLOCK_ROWS, "{longest}");
    }

    proptest! {
        #[test]
        fn rows_are_sorted_alike_in_memory_and_in_runs(
            times in proptest::collection::vec(-20_i64..20, 0..200), run_cells in 1_usize..200,
        ) {
            let temp = tempfile::tempdir().unwrap();
            let sorted = |run_cells: usize| {
                let mut sorter = Sorter { run_cells, ..Sorter::new(temp.path()) };
                // In blocks, as a table is read.
                let all = rows(&times);
                for from in (0..times.len()).step_by(7) {
                    let to = (from + 7).min(times.len());
                    sorter.add(SampleRows {
                        times: all.times[from..to].to_vec(),
                        entities: all.entities[from..to].to_vec(),
                        labels: all.labels[from..to].to_vec(),
                        columns: all.columns.iter().map(|it| it[from..to].to_vec()).collect(),
                    }).unwrap();
                }
                let mut out = Vec::new();
                sorter.finish(&mut |rows| {
                    for (row, time) in rows.times.iter().enumerate() {
                        let values: Vec<Option<u64>> =
                            rows.columns.iter().map(|it| it[row].map(f64::to_bits)).collect();
                        out.push((time.ms(), rows.entities[row].clone(), values));
                    }
                    Ok(())
                }).unwrap();
                out
            };
            let expected = sorted(usize::MAX);
            prop_assert_eq!(expected.len(), times.len());
            prop_assert!(expected.is_sorted_by_key(|(time, ..)| *time));
            prop_assert_eq!(sorted(run_cells), expected);
            prop_assert_eq!(fs_err::read_dir(temp.path()).unwrap().count(), 0);
        }
    }
}
