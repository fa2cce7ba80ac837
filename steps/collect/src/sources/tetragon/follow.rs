//! Follows the live file on its node, through rotations.
//!
//! A start reads the rotated files as well: windows that were recorded before are not recorded
//! again, and those that were open when the recorder ended are computed again from their events.

use std::io::BufReader;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use contract::{Span, StepError, Timestamp};
use document::sources::Entity;
use document::sources::tetragon::TetragonSource;
use frames::samples::SampleRows;
use fs_err as fs;

use super::Tally;
use super::event;
use super::lines::{LONGEST_LINE, Lines, Reading, Wrapped, read_line, rotated};
use super::rules::Rules;
use super::windows::Windows;
use crate::source::{Live, Taken};

/// Events further in the future than this come from a wrong clock.
const MOST_AHEAD: Span = Span::from_seconds(60);

/// The live file as it grows.
#[derive(Debug)]
pub(crate) struct Follower<'a> {
    settings: &'a TetragonSource,
    rules: Rules<'a>,
    windows: Windows,
    tail: Tail,
    tally: Tally,
}

impl<'a> Follower<'a> {
    /// Prepares following; nothing is read yet.
    pub(crate) fn new(
        settings: &'a TetragonSource,
        entity: &'a Entity,
        folder: &Path,
        step: Span,
    ) -> Self {
        Self {
            settings,
            rules: Rules::new(settings, entity),
            windows: Windows::new(settings, step),
            tail: Tail::new(folder.join(&settings.path)),
            tally: Tally::default(),
        }
    }
}

impl Live for Follower<'_> {
    fn columns(&self) -> Vec<String> {
        self.settings.named_columns().into_iter().map(|(name, _)| name).collect()
    }

    /// Returns the rows of the windows that can get no more events.
    fn take(&mut self, time: Timestamp) -> Result<Taken, StepError> {
        let Self { rules, windows, tail, tally, .. } = self;
        let before = (windows.seen.late, tally.broken);
        let (mut ahead, mut without_time) = (0_usize, 0_usize);
        let path = tail.path.clone();
        tail.read(&mut |line| {
            // The line number is not tracked for a file that is followed.
            match tally.note(event::parse(line, rules), false, &path, 0) {
                Ok(Some(event)) if event.time > time + MOST_AHEAD => ahead += 1,
                Ok(Some(event)) => windows.add(event),
                Ok(None) => {}
                Err(_) => without_time += 1,
            }
        })?;
        let mut taken = Taken::default();
        let width = self.columns().len();
        taken.rows = SampleRows { columns: vec![Vec::new(); width], ..SampleRows::default() };
        self.windows.close(time - self.settings.lateness, &mut taken.rows);
        for (count, what) in [
            (self.windows.seen.late - before.0, "events came later than `lateness`"),
            (self.tally.broken - before.1, "lines are not events"),
            (ahead, "events are of the future: which clock is wrong?"),
            (without_time, "events have no `time`"),
        ] {
            if count > 0 {
                let path = self.tail.path.display();
                taken.failures.push(format!("`{path}`: {count} {what}"));
            }
        }
        Ok(taken)
    }
}

/// New lines of a file and of its rotated files since the last reading.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    open: Option<Open>,
    /// Name of the newest rotated file that was read.
    newest: Option<String>,
}

/// The file that was the live file at the last reading.
#[derive(Debug)]
struct Open {
    reader: BufReader<fs::File>,
    inode: u64,
    bytes: u64,
    /// Beginning of a line whose end is not written yet.
    begun: Vec<u8>,
    wrapped: Wrapped,
}

impl Open {
    fn new(path: &Path) -> std::io::Result<Self> {
        let file = fs::File::open(path)?;
        let inode = file.metadata()?.ino();
        let (begun, wrapped) = (Vec::new(), Wrapped::default());
        Ok(Self {
            reader: BufReader::with_capacity(1 << 18, file),
            inode,
            bytes: 0,
            begun,
            wrapped,
        })
    }

    /// Passes on the lines up to the current end of the file; an incomplete line waits.
    fn read(&mut self, each: &mut dyn FnMut(&[u8])) -> std::io::Result<()> {
        let mut piece = Vec::new();
        loop {
            let read = read_line(&mut self.reader, &mut piece)?;
            self.bytes +=
                u64::try_from(piece.len()).unwrap_or(0) + u64::from(read == Reading::Line);
            self.begun.append(&mut piece);
            if self.begun.len() > LONGEST_LINE {
                self.begun.clear();
            }
            if read != Reading::Line {
                return Ok(());
            }
            let mut line = std::mem::take(&mut self.begun);
            if self.wrapped.take(&mut line) {
                each(line.trim_ascii());
            }
        }
    }
}

impl Tail {
    fn new(path: PathBuf) -> Self {
        Self { path, open: None, newest: None }
    }

    /// Passes on all new lines, oldest first.
    fn read(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<(), StepError> {
        let failed = |path: &Path, error: &std::io::Error| StepError::reading(path, error);
        loop {
            if let Some(open) = &mut self.open {
                open.read(each).map_err(|error| failed(&self.path, &error))?;
            }
            let now = match fs::metadata(&self.path) {
                Ok(now) => now,
                // During a rotation the file may not exist for a moment.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(failed(&self.path, &error)),
            };
            let before = self.open.as_ref().map(|open| (open.inode, open.bytes));
            if before.is_some_and(|(inode, bytes)| inode == now.ino() && bytes <= now.len()) {
                return Ok(());
            }
            let next = match Open::new(&self.path) {
                Ok(next) => next,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(&self.path, &error)),
            };
            // Lines that were written between the last reading and the rotation.
            if let Some(open) = &mut self.open {
                open.read(each).map_err(|error| failed(&self.path, &error))?;
            }
            self.read_missed(next.inode, each)?;
            self.open = Some(next);
        }
    }

    /// Reads the rotated files between the last read one and the live one. A damaged file is read
    /// as far as possible, and does not prevent reading the others; it is reported once.
    fn read_missed(&mut self, next: u64, each: &mut dyn FnMut(&[u8])) -> Result<(), StepError> {
        let mut missed = self.rotated()?;
        let newest = missed.iter().rev().find(|it| it.2 != next).map(|it| it.1.clone());
        missed.retain(|(_, name, inode)| {
            *inode != next && self.newest.as_ref().is_none_or(|newest| stem(name) > stem(newest))
        });
        if let Some(open) = &self.open {
            // The file that was read until now has the same inode, or was compressed and is the
            // oldest one.
            match missed.iter().position(|(.., inode)| *inode == open.inode) {
                Some(index) => drop(missed.drain(..=index)),
                None if missed.is_empty() => {}
                None => drop(missed.remove(0)),
            }
        }
        self.newest = newest.or(self.newest.take());
        let mut read = Ok(());
        for (path, ..) in missed {
            let mut lines = Lines::new(vec![path]);
            let mut of_file = || -> Result<(), StepError> {
                while let Some(line) = lines.next()? {
                    each(line.bytes);
                }
                Ok(())
            };
            read = read.and(of_file());
        }
        read
    }

    /// Returns the rotated files, oldest first: path, name and inode.
    fn rotated(&self) -> Result<Vec<(PathBuf, String, u64)>, StepError> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let live = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (live, ending) = live.rsplit_once('.').unwrap_or((&live, ""));
        let entries = fs::read_dir(folder).map_err(|error| StepError::reading(folder, &error))?;
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| StepError::reading(folder, &error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let plain = stem(&name);
            let set = plain.strip_suffix(ending).and_then(|it| rotated(it.strip_suffix('.')?));
            // Tetragon may delete an old file meanwhile.
            if let (true, Ok(data)) = (set == Some(live), entry.metadata()) {
                files.push((entry.path(), name, data.ino()));
            }
        }
        // While a file is being compressed, the plain and the compressed file both exist; the plain
        // one sorts first.
        files.sort_by(|a, b| a.1.cmp(&b.1));
        files.dedup_by(|a, b| stem(&a.1) == stem(&b.1));
        Ok(files)
    }
}

/// Returns the name of a file before it was compressed.
fn stem(name: &str) -> &str {
    name.strip_suffix(".gz").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    struct Node {
        temp: tempfile::TempDir,
        tail: Tail,
        written: usize,
        rotations: usize,
    }

    impl Node {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let tail = Tail::new(temp.path().join("tetragon.log"));
            Self { temp, tail, written: 0, rotations: 0 }
        }

        fn append(&self, text: &str) {
            let path = self.temp.path().join("tetragon.log");
            let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn write(&mut self, lines: usize) {
            for _ in 0..lines {
                self.append(&format!("{}\n", self.written));
                self.written += 1;
            }
        }

        /// Renames the live file as Tetragon does; compresses it if requested.
        fn rotate(&mut self, compress: bool) {
            let live = self.temp.path().join("tetragon.log");
            let name = format!("tetragon-2026-11-29T10-00-{:02}.000.log", self.rotations);
            self.rotations += 1;
            let to = self.temp.path().join(name);
            fs::rename(&live, &to).unwrap();
            if compress {
                let packed = to.with_extension("log.gz");
                let file = fs::File::create(&packed).unwrap();
                let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                packer.write_all(&fs::read(&to).unwrap()).unwrap();
                packer.finish().unwrap();
                fs::remove_file(&to).unwrap();
            }
        }

        fn read(&mut self) -> Vec<String> {
            let mut found = Vec::new();
            let mut each = |line: &[u8]| found.push(String::from_utf8(line.to_vec()).unwrap());
            self.tail.read(&mut each).unwrap();
            found
        }
    }

    fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|number| number.to_string()).collect()
    }

    #[test]
    fn lines_are_read_once_and_one_that_is_not_whole_waits() {
        let mut node = Node::new();
        assert_eq!(node.read(), numbers(0..0), "there is no file yet");
        node.write(3);
        assert_eq!(node.read(), numbers(0..3));
        node.append("beg");
        assert_eq!(node.read(), numbers(0..0));
        node.append("un\n");
        assert_eq!(node.read(), ["begun"]);
    }

    #[test]
    fn nothing_is_lost_or_doubled_by_rotations_between_two_readings() {
        for compress in [false, true] {
            let mut node = Node::new();
            node.write(2);
            node.rotate(compress);
            node.write(2);
            // At the start, rotated files are read.
            assert_eq!(node.read(), numbers(0..4));
            node.write(1);
            node.rotate(compress);
            node.write(1);
            assert_eq!(node.read(), numbers(4..6), "rotated once");
            node.write(1);
            node.rotate(compress);
            node.write(3);
            node.rotate(compress);
            node.write(2);
            assert_eq!(node.read(), numbers(6..12), "rotated twice");
            node.rotate(compress);
            assert_eq!(node.read(), numbers(0..0), "there is no live file for a moment");
            node.write(1);
            assert_eq!(node.read(), numbers(12..13));
        }
    }

    #[test]
    fn damaged_file_is_an_error_once_and_keeps_no_other_from_being_read() {
        let mut node = Node::new();
        for _ in 0..3 {
            node.write(2);
            node.rotate(true);
        }
        node.write(1);
        let damaged = node.temp.path().join("tetragon-2026-11-29T10-00-01.000.log.gz");
        let bytes = fs::read(&damaged).unwrap();
        // Only the gzip header, without any content.
        contract::artifact::write_file(&damaged, &bytes[..12]).unwrap();
        let mut found = Vec::new();
        let mut each = |line: &[u8]| found.push(String::from_utf8(line.to_vec()).unwrap());
        let error = node.tail.read(&mut each).unwrap_err();
        assert!(error.message.contains("10-00-01.000.log.gz"), "{error}");
        found.extend(node.read());
        let expected: Vec<usize> = vec![0, 1, 4, 5, 6];
        assert_eq!(found, expected.iter().map(ToString::to_string).collect::<Vec<_>>());
        node.write(1);
        assert_eq!(node.read(), numbers(7..8));
    }

    #[test]
    fn a_file_that_was_emptied_is_read_from_its_start() {
        let mut node = Node::new();
        node.write(4);
        assert_eq!(node.read().len(), 4);
        let path = node.temp.path().join("tetragon.log");
        fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        node.append("9\n");
        assert_eq!(node.read(), ["9"]);
    }
}
