//! The bytes of a CSV file as UTF-8 text, and its delimiter.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use contract::StepError;
use document::sources::table::{Encoding, TableSource};
use encoding_rs::{UTF_16BE, UTF_16LE, WINDOWS_1252};
use encoding_rs_io::DecodeReaderBytesBuilder;
use flate2::read::MultiGzDecoder;
use fs_err as fs;

/// Number of bytes that are read at a time; the header line is searched in the first block.
const BUFFER_BYTES: usize = 64 << 10;
/// Separators of columns that `auto` tries, the most likely first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A CSV file to be read from its header on.
pub(super) struct Text {
    pub(super) bytes: Box<dyn BufRead>,
    pub(super) delimiter: u8,
    /// Lines before the header.
    pub(super) lines_before: u64,
}

impl Text {
    /// Opens a file, plain or gzip, and decodes it.
    pub(super) fn open(path: &Path, source: &TableSource) -> Result<Self, StepError> {
        let read_error = |error: std::io::Error| StepError::reading(path, &error);
        let file = fs::File::open(path).map_err(read_error)?;
        let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
        let start = file.fill_buf().map_err(read_error)?;
        if start.starts_with(b"PAR1") {
            return Err(StepError::refused(format!("`{}` is a Parquet file", path.display()))
                .hint("its name must end with .parquet"));
        }
        let bytes: Box<dyn BufRead> = if start.starts_with(&[0x1f, 0x8b]) {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        let mut bytes = decoded(path, bytes, source.encoding)?;
        let line = first_line(bytes.fill_buf().map_err(read_error)?);
        let named = line.strip_prefix(b"sep=").map(<[u8]>::trim_ascii_end);
        let lines_before = u64::from(matches!(named, Some([_])));
        let delimiter = match (source.delimiter.replace("\\t", "\t").as_str(), named) {
            ("auto", Some([delimiter])) => *delimiter,
            ("auto", _) => likeliest(line),
            (named, _) => named.bytes().next().unwrap_or(b','),
        };
        if lines_before > 0 {
            bytes.read_until(b'\n', &mut Vec::new()).map_err(read_error)?;
        }
        Ok(Self { bytes, delimiter, lines_before })
    }
}

fn decoded(
    path: &Path,
    mut bytes: Box<dyn BufRead>,
    encoding: Encoding,
) -> Result<Box<dyn BufRead>, StepError> {
    let encoding = match encoding {
        Encoding::Utf8 => {
            let start = bytes.fill_buf().map_err(|error| StepError::reading(path, &error))?;
            if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
                let message =
                    format!("`{}` is UTF-16 text, by its first two bytes", path.display());
                return Err(StepError::refused(message)
                    .hint("`table.encoding: utf-16` reads it, or save it as UTF-8"));
            }
            if start.starts_with(&[0xef, 0xbb, 0xbf]) {
                bytes.consume(3);
            }
            return Ok(bytes);
        }
        Encoding::Utf16 => UTF_16LE,
        Encoding::Utf16Be => UTF_16BE,
        Encoding::Latin1 => WINDOWS_1252,
    };
    // A byte order mark takes precedence over the setting.
    let reader: Box<dyn Read> =
        Box::new(DecodeReaderBytesBuilder::new().encoding(Some(encoding)).build(bytes));
    Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, reader)))
}

fn first_line(start: &[u8]) -> &[u8] {
    start.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// Returns the most frequent delimiter of a header, outside of quotes.
fn likeliest(header: &[u8]) -> u8 {
    let mut counts = [0_usize; DELIMITERS.len()];
    let mut is_quoted = false;
    for byte in header {
        is_quoted ^= *byte == b'"';
        if let Some(index) = DELIMITERS.iter().position(|delimiter| delimiter == byte)
            && !is_quoted
        {
            counts[index] += 1;
        }
    }
    let most = counts.iter().max().copied().unwrap_or(0);
    DELIMITERS.into_iter().zip(counts).find(|(_, count)| *count == most).map_or(b',', |it| it.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiter_is_detected_from_header() {
        for (header, delimiter) in [
            ("a,b,c", b','),
            ("a;b;c\r", b';'),
            ("a\tb", b'\t'),
            ("a|b|c", b'|'),
            ("a", b','),
            ("", b','),
            ("\"a,b,c\";d", b';'),
            ("time;cpu, %", b','),
            ("time;cpu, %;mem", b';'),
        ] {
            assert_eq!(likeliest(header.as_bytes()), delimiter, "{header}");
        }
    }
}
