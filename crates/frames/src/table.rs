//! Rows of time, entity and numbers, stored by column.

use contract::Timestamp;

/// One column of numbers; a gap is `NaN`.
#[derive(Debug, Clone)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// One value per row.
    pub values: Vec<f64>,
}

/// Rows of time, entity and numbers, stored by column; every vector has one item per row.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// End of each row's window.
    pub times: Vec<Timestamp>,
    /// Index of each row's entity in `entities`.
    pub entity: Vec<u32>,
    /// The names of the entities, each once.
    pub entities: Vec<String>,
    /// The columns, in order.
    pub columns: Vec<Column>,
}

impl Table {
    /// Makes a table without rows.
    pub fn empty<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let columns =
            names.into_iter().map(|name| Column { name: name.to_owned(), values: Vec::new() });
        Self { columns: columns.collect(), ..Self::default() }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// Returns the name of a row's entity.
    pub fn entity_of(&self, row: usize) -> &str {
        &self.entities[self.entity[row] as usize]
    }

    /// Returns a column by name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Returns the index of an entity's name, adding it if it is new.
    pub fn entity_index(&mut self, name: &str) -> u32 {
        let found = self.entities.iter().position(|known| known == name);
        let index = found.unwrap_or_else(|| {
            self.entities.push(name.to_owned());
            self.entities.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    /// Returns the rows whose numbers are in `rows`, in that order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let columns = self.columns.iter().map(|column| Column {
            name: column.name.clone(),
            values: rows.iter().map(|&row| column.values[row]).collect(),
        });
        Self {
            times: rows.iter().map(|&row| self.times[row]).collect(),
            entity: rows.iter().map(|&row| self.entity[row]).collect(),
            entities: self.entities.clone(),
            columns: columns.collect(),
        }
    }
}
