//! Rows to load, column by column, and their binary form for `COPY`.

use contract::Timestamp;
use contract::artifact;

/// Bytes of a name that `PostgreSQL` keeps.
const LONGEST_NAME: usize = 63;
/// Header of a binary `COPY`: signature, flags, length of the header's extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Trailer of a binary `COPY`.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// Milliseconds from 1970 to 2000, from which `PostgreSQL` counts.
const EPOCH_MS: i64 = 946_684_800_000;

/// Rows keyed by entity and time; every vector has one item a row.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Time of each row.
    pub times: Vec<Timestamp>,
    /// Entity of each row.
    pub entities: Vec<String>,
    /// The other columns.
    pub columns: Vec<Column>,
}

/// A column of rows.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name in the database.
    pub name: String,
    /// A value for each row; `None` and `NaN` are gaps.
    pub values: Values,
}

/// The values of a column.
#[derive(Debug, Clone)]
pub enum Values {
    /// `double precision`.
    Numbers(Vec<Option<f64>>),
    /// `boolean`.
    Flags(Vec<Option<bool>>),
    /// `text`.
    Texts(Vec<Option<String>>),
}

impl Values {
    /// Returns the name of the type in the database.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Numbers(_) => "double precision",
            Self::Flags(_) => "boolean",
            Self::Texts(_) => "text",
        }
    }

    fn write(&self, row: usize, bytes: &mut Vec<u8>) {
        match self {
            Self::Numbers(values) => {
                let value = values.get(row).copied().flatten().filter(|value| !value.is_nan());
                field(bytes, value.map(f64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
            }
            Self::Flags(values) => {
                let value = values.get(row).copied().flatten().map(|value| [u8::from(value)]);
                field(bytes, value.as_ref().map(<[u8; 1]>::as_slice));
            }
            Self::Texts(values) => {
                field(bytes, values.get(row).and_then(|text| text.as_deref()).map(str::as_bytes));
            }
        }
    }
}

impl Rows {
    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Returns all texts.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &String> {
        let columns = self.columns.iter().filter_map(|column| match &column.values {
            Values::Texts(texts) => Some(texts.iter().flatten()),
            Values::Numbers(_) | Values::Flags(_) => None,
        });
        self.entities.iter().chain(columns.flatten())
    }

    /// Writes the rows in pieces of about this many bytes, each passed on when it is full: a
    /// complete binary `COPY` of time, entity and the columns.
    pub(crate) fn pieces<'a>(&'a self, rows: &'a [usize], bytes: usize) -> Pieces<'a> {
        Pieces { all: self, rows: rows.iter(), bytes, state: State::Begin }
    }

    fn write(&self, row: usize, bytes: &mut Vec<u8>) {
        let fields = i16::try_from(self.columns.len() + 2).unwrap_or(i16::MAX);
        bytes.extend(fields.to_be_bytes());
        let time = self.times.get(row).map_or(0, |time| time.ms());
        let micros = time.saturating_sub(EPOCH_MS).saturating_mul(1000);
        field(bytes, Some(&micros.to_be_bytes()));
        field(bytes, Some(self.entities.get(row).map_or(&[], |entity| entity.as_bytes())));
        for column in &self.columns {
            column.values.write(row, bytes);
        }
    }
}

/// Writes a field: its length, -1 for none, and its bytes.
fn field(bytes: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => {
            let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(value);
        }
        None => bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    Rows,
    Ended,
}

/// The pieces of a binary `COPY`.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    all: &'a Rows,
    rows: std::slice::Iter<'a, usize>,
    bytes: usize,
    state: State,
}

impl Iterator for Pieces<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.state == State::Ended {
            return None;
        }
        let mut piece = Vec::with_capacity(self.bytes + self.bytes / 8);
        if self.state == State::Begin {
            piece.extend_from_slice(HEADER);
            self.state = State::Rows;
        }
        while piece.len() < self.bytes {
            let Some(row) = self.rows.next() else {
                piece.extend_from_slice(&TRAILER);
                self.state = State::Ended;
                break;
            };
            self.all.write(*row, &mut piece);
        }
        Some(piece)
    }
}

/// Returns a name that `PostgreSQL` does not truncate: a longer one is shortened here, with a part
/// of its SHA-256 at the end so that it stays unique.
#[must_use]
pub fn column_name(name: &str) -> String {
    if name.len() <= LONGEST_NAME {
        return name.to_owned();
    }
    let hash = artifact::sha256(name.as_bytes());
    let end = (0..=50).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    format!("{}_{}", &name[..end], &hash[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_valid_copy_bytes_at_any_piece_size() {
        let rows = Rows {
            times: vec![Timestamp::from_ms(EPOCH_MS + 1), Timestamp::from_ms(0)],
            entities: vec!["n1".to_owned(), String::new()],
            columns: vec![
                Column { name: "a".into(), values: Values::Numbers(vec![Some(1.0), None]) },
                Column { name: "b".into(), values: Values::Flags(vec![Some(true), None]) },
                Column { name: "c".into(), values: Values::Texts(vec![Some("x".into()), None]) },
            ],
        };
        let mut expected = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        expected.extend(b"\0\x05\0\0\0\x08\0\0\0\0\0\0\x03\xe8\0\0\0\x02n1");
        expected.extend(b"\0\0\0\x08\x3f\xf0\0\0\0\0\0\0\0\0\0\x01\x01\0\0\0\x01x");
        expected.extend(b"\0\x05\0\0\0\x08");
        expected.extend((-946_684_800_000_000_i64).to_be_bytes());
        expected.extend(b"\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
        for bytes in [1, 40, 1000] {
            let pieces: Vec<Vec<u8>> = rows.pieces(&[0, 1], bytes).collect();
            assert_eq!(pieces.concat(), expected, "{bytes}");
        }
        assert_eq!(rows.pieces(&[], 10).collect::<Vec<_>>().concat().len(), 21);
    }

    #[test]
    fn a_long_name_is_cut_without_becoming_another() {
        let long = "e\u{301}".repeat(40);
        let names = [long.clone() + "a", long + "b", "load_1m".to_owned()];
        let cut = names.each_ref().map(|name| column_name(name));
        assert_eq!(cut[2], "load_1m");
        assert!(cut.iter().all(|name| name.len() <= LONGEST_NAME) && cut[0] != cut[1], "{cut:?}");
    }
}
