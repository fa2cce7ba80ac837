//! Lines of files: plain or gzip, with a limited length, and unwrapped from a container runtime's
//! log.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use contract::StepError;
use flate2::read::MultiGzDecoder;
use fs_err as fs;

/// Maximum number of bytes of a line; a longer one is not an event.
pub(super) const LONGEST_LINE: usize = 4 << 20;
const BUFFER: usize = 256 << 10;

/// A line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether the file ends within the line, or the line is too long.
    pub(super) is_cut: bool,
}

/// The lines of several files, one file after the other.
pub(super) struct Lines {
    files: VecDeque<PathBuf>,
    current: Option<Box<dyn BufRead + Send>>,
    path: PathBuf,
    number: usize,
    buffer: Vec<u8>,
    wrapped: Wrapped,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Lines {
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        Self {
            files: files.into(),
            current: None,
            path: PathBuf::new(),
            number: 0,
            buffer: Vec::new(),
            wrapped: Wrapped::default(),
        }
    }

    /// Returns the file of the last line, and the line's number from 1 on.
    pub(super) fn place(&self) -> (&Path, usize) {
        (&self.path, self.number)
    }

    /// Returns the next line that is not empty; `None` after the last one.
    ///
    /// Errors: refused for a file that cannot be read or unpacked.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, StepError> {
        loop {
            let Some(reader) = &mut self.current else {
                let Some(path) = self.files.pop_front() else { return Ok(None) };
                self.current = Some(open(&path)?);
                (self.path, self.number) = (path, 0);
                continue;
            };
            let read = read_line(reader.as_mut(), &mut self.buffer);
            let ended = match read.map_err(|error| unreadable(&self.path, &error))? {
                Reading::End => {
                    self.current = None;
                    continue;
                }
                Reading::Line => true,
                Reading::Cut => false,
            };
            self.number += 1;
            if self.wrapped.take(&mut self.buffer) {
                return Ok(Some(Line { bytes: self.buffer.trim_ascii(), is_cut: !ended }));
            }
        }
    }
}

fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, StepError> {
    let path = if path.as_os_str() == "-" { Path::new("/dev/stdin") } else { path };
    let file = fs::File::open(path).map_err(|error| StepError::reading(path, &error))?;
    let mut plain = BufReader::with_capacity(BUFFER, file);
    let start = plain.fill_buf().map_err(|error| unreadable(path, &error))?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(plain))));
    }
    Ok(Box::new(plain))
}

fn unreadable(path: &Path, error: &std::io::Error) -> StepError {
    StepError::refused(format!("cannot read `{}`: {error}", path.display())).hint(
        "check that the file is complete: a truncated or damaged compressed file cannot be \
               read",
    )
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// A line with its end.
    Line,
    /// A line whose end is missing, or too far away.
    Cut,
    /// Nothing: there is no more.
    End,
}

/// Reads a line into `buffer`, without its end; the rest of an overlong line is skipped.
pub(super) fn read_line(
    reader: &mut (impl BufRead + ?Sized),
    buffer: &mut Vec<u8>,
) -> std::io::Result<Reading> {
    buffer.clear();
    let limit = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
    if (&mut *reader).take(limit).read_until(b'\n', buffer)? == 0 {
        return Ok(Reading::End);
    }
    if buffer.last() == Some(&b'\n') {
        buffer.pop();
        return Ok(Reading::Line);
    }
    if buffer.len() >= LONGEST_LINE {
        reader.skip_until(b'\n')?;
    }
    Ok(Reading::Cut)
}

/// Unwraps lines of CRI runtimes: `TIME STREAM F TEXT`, and `P` instead of `F` for all but the last
/// piece of a long one.
#[derive(Debug, Default)]
pub(super) struct Wrapped {
    pieces: Vec<u8>,
}

impl Wrapped {
    /// Unwraps `line`; returns whether it is a complete line that is not empty.
    pub(super) fn take(&mut self, line: &mut Vec<u8>) -> bool {
        let Some((text, is_last)) = unwrapped(line) else { return !line.trim_ascii().is_empty() };
        if self.pieces.len() + text.len() > LONGEST_LINE {
            self.pieces.clear();
        }
        self.pieces.extend_from_slice(text);
        if is_last {
            std::mem::swap(&mut self.pieces, line);
            self.pieces.clear();
        }
        is_last && !line.trim_ascii().is_empty()
    }
}

/// Returns the text of a line of a CRI log, and whether it is the last piece of its line.
fn unwrapped(line: &[u8]) -> Option<(&[u8], bool)> {
    // An event begins with a brace, a time with a digit.
    if !line.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let (_, stream, tag, text) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_last = match tag.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    [&b"stdout"[..], b"stderr"].contains(&stream).then_some((text, is_last))
}

/// Returns the files of a path, rotated ones before the live one, as lists that are each in order
/// of time: one list for each live file in a folder.
pub(super) fn sets(path: &Path) -> Result<Vec<Vec<PathBuf>>, StepError> {
    if !path.is_dir() {
        return Ok(vec![vec![path.to_owned()]]);
    }
    let names =
        contract::artifact::files_below(path).map_err(|error| StepError::reading(path, &error))?;
    let mut keyed: Vec<(String, bool, String)> = names
        .into_iter()
        .filter_map(|name| set_of(&name).map(|(set, live)| (set, live, name)))
        .collect();
    // The live file has no time in its name and is the last one.
    keyed.sort();
    if keyed.is_empty() {
        return Err(StepError::usage(format!("`{}` contains no event file", path.display())).hint(
            "the names of event files end with .log, .json or .jsonl, optionally followed by \
                   .gz",
        ));
    }
    let mut sets: Vec<Vec<PathBuf>> = Vec::new();
    let mut last = None;
    for (set, _, name) in keyed {
        if last.as_ref() != Some(&set) {
            sets.push(Vec::new());
        }
        if let Some(files) = sets.last_mut() {
            files.push(path.join(name));
        }
        last = Some(set);
    }
    Ok(sets)
}

/// Returns the name of the live file without its ending, and whether the file is the live one;
/// `None` for a file that holds no events. Rotated ones are called `NAME-2006-01-02T15-04-05.000`.
fn set_of(name: &str) -> Option<(String, bool)> {
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    let stem = [".log", ".json", ".jsonl"].iter().find_map(|ending| plain.strip_suffix(ending))?;
    Some(match rotated(stem) {
        Some(set) => (set.to_owned(), false),
        None => (stem.to_owned(), true),
    })
}

/// Returns the part before the time in the name of a rotated file.
pub(super) fn rotated(stem: &str) -> Option<&str> {
    const PATTERN: &[u8] = b"-dddd-dd-ddTdd-dd-dd.ddd";
    let at = stem.len().checked_sub(PATTERN.len())?;
    let (set, time) = stem.split_at_checked(at)?;
    let fits = time.bytes().zip(PATTERN).all(|(byte, pattern)| match pattern {
        b'd' => byte.is_ascii_digit(),
        other => byte == *other,
    });
    fits.then_some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<(String, bool, usize)> {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("events.log");
        contract::artifact::write_file(&path, bytes).unwrap();
        let mut lines = Lines::new(vec![path]);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let (text, is_cut) = (String::from_utf8(line.bytes.to_vec()).unwrap(), line.is_cut);
            found.push((text, is_cut, lines.place().1));
        }
        found
    }

    fn line(text: &str, number: usize) -> (String, bool, usize) {
        (text.to_owned(), false, number)
    }

    #[test]
    fn empty_lines_are_skipped_and_a_cut_line_is_reported() {
        let found = lines(b"{1}\n\n  \r\n{2}\r\n{3");
        let cut = ("{3".to_owned(), true, 5);
        assert_eq!(found, [line("{1}", 1), line("{2}", 4), cut]);
    }

    #[test]
    fn pieces_of_a_container_log_are_one_line() {
        let found = lines(
            b"2026-11-29T10:00:00.1Z stdout F {1}\n2026-11-29T10:00:00.2Z stdout P {2\n\
              2026-11-29T10:00:00.3Z stdout F  2}\n2026-11-29T10:00:00.4Z stdout F\n",
        );
        assert_eq!(found[..2], [line("{1}", 1), line("{2 2}", 3)]);
    }

    #[test]
    fn a_line_that_never_ends_is_cut_and_the_next_one_is_read() {
        let mut bytes = vec![b'x'; LONGEST_LINE + 100];
        bytes.extend_from_slice(b"\n{1}\n");
        let found = lines(&bytes);
        assert_eq!((found[0].0.len(), found[0].1), (LONGEST_LINE, true));
        assert_eq!(found[1], line("{1}", 2));
    }

    #[test]
    fn a_folder_is_read_set_by_set_with_the_live_file_last() {
        let temp = tempfile::tempdir().unwrap();
        for name in [
            "a/tetragon.log",
            "a/tetragon-2026-11-29T10-00-00.000.log.gz",
            "a/tetragon-2026-11-29T09-00-00.000.log.gz",
            "b/tetragon.log",
            "notes.txt",
        ] {
            fs::create_dir_all(temp.path().join(name).parent().unwrap()).unwrap();
            contract::artifact::write_file(&temp.path().join(name), b"").unwrap();
        }
        let sets = sets(temp.path()).unwrap();
        let names: Vec<Vec<String>> = sets
            .iter()
            .map(|files| {
                let of =
                    |path: &PathBuf| path.strip_prefix(temp.path()).unwrap().display().to_string();
                files.iter().map(of).collect()
            })
            .collect();
        assert_eq!(
            names,
            [
                vec![
                    "a/tetragon-2026-11-29T09-00-00.000.log.gz",
                    "a/tetragon-2026-11-29T10-00-00.000.log.gz",
                    "a/tetragon.log",
                ],
                vec!["b/tetragon.log"],
            ]
        );
    }

    #[test]
    fn a_damaged_gzip_file_is_refused_with_its_name() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("t.log.gz");
        contract::artifact::write_file(&path, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2]).unwrap();
        let mut lines = Lines::new(vec![path]);
        let error = lines.next().unwrap_err();
        assert!(error.message.contains("t.log.gz"), "{error}");
        assert_eq!(error.kind, contract::ErrorKind::Refused);
    }
}
